"""`make test-cron`: the crontab on a bare Debian, set up by the commands in its head word for word, under its cron.

The system is made of Debian's packages in a temporary folder, as `make test-debian` makes its own; the sandbox is on
this machine's loopback. Two things differ from what the head leaves: the table runs every minute instead of seven past,
and in the link's place is a script that runs the program and reports its exit code. Two copies of the table stand below
it, with folders of their own: one with a page that cannot be read, and one without its keys. Two minutes are waited
for; between them people change.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import Importer, expected_ids, imported_ids
from crontab_table import CRONTAB, FOLDERS, HOURLY, KEYS, PROGRAM, SETTINGS, Laid, lay, replaced
from on_another_debian import clone, environment_inside, inside, pip_here
from on_another_debian import lay as lay_debian
from privileges import FailedError, Results, attempt, command, make_debian, need, prerequisite, say
from readme import setup_commands

from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

PATIENCE = 150  # seconds: cron looks once a minute, and may have looked just before
REPORTS = "/run/reports"
REPORTING = f"""\
#!/bin/sh
/opt/mcimport/bin/mcimport "$@"
code=$?
echo "$MCIMPORT_DB $code" >{REPORTS}
exit $code
"""


@dataclass(frozen=True)
class Debian:
    """A Debian in a folder, and what of this machine is seen in it."""

    root: Path
    seen: tuple[Path, ...]
    variables: dict[str, str]

    def __call__(self, script: str) -> str:
        """Runs a script in the clone as root; returns its output. Raises FailedError with its last words."""
        words = inside(self.root, f"/bin/sh -euc {shlex.quote(script)} 2>&1", self.seen)
        environment = environment_inside(self.variables)
        result = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise FailedError(f"`{script}` ended with {result.returncode}\n{result.stdout[-1_500:]}{result.stderr}")
        return result.stdout

    @contextmanager
    def cron(self) -> Iterator[None]:
        """Its daemon, which ends with this."""
        words = inside(self.root, "cron -f", self.seen)
        with subprocess.Popen(words, env=environment_inside({}), stdin=subprocess.DEVNULL) as daemon:
            try:
                yield
            finally:
                daemon.kill()  # `unshare` heeds nothing less; what it started ends with it

    @property
    def user(self) -> int:
        """The number of the user whom the head makes."""
        passwd = (self.root / "etc" / "passwd").read_text(encoding="utf-8")
        (number,) = re.findall(r"^mcimport:[^:]*:(\d+):", passwd, re.MULTILINE)
        return int(number)


@dataclass(frozen=True)
class Copy:
    """One copy of the table, with its sandbox and its folders, which begin at the Debian's root or below it."""

    root: Path
    sandbox: Sandbox
    laid: Laid

    @property
    def table(self) -> str:
        text = CRONTAB.read_text(encoding="utf-8")
        return replaced(text, {HOURLY: "* * * * *"} | {path: self.inside(Path(new)) for path, new in self.paths})

    @property
    def paths(self) -> list[tuple[str, str]]:
        return list(self.laid.paths.items())

    def inside(self, path: Path) -> str:
        """A path as the Debian sees it."""
        return f"/{path.relative_to(self.root)}"

    @property
    def name(self) -> str:
        """By which its runs are reported."""
        return self.inside(self.laid.state)

    @property
    def log(self) -> str:
        return self.laid.log.read_text(encoding="utf-8") if self.laid.log.exists() else ""

    @property
    def everybody_is_there(self) -> bool:
        importer = Importer(self.sandbox, self.laid.folder)
        return imported_ids(importer) == expected_ids(importer) != set()


class Reports:
    """The exit codes that come through a named pipe, a line each."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        path.chmod(0o666)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # for writing, too: so it never ends
        self._rest = ""

    def wait_for(self, *copies: Copy) -> list[int]:
        """The next exit code of each; raises FailedError when cron takes too long."""
        codes: dict[str, int] = {}
        while not codes.keys() >= {copy.name for copy in copies}:
            if not select.select([self._pipe], [], [], PATIENCE)[0]:
                raise FailedError(f"cron started nothing in {PATIENCE} seconds")
            *lines, self._rest = (self._rest + os.read(self._pipe, 4_096).decode()).split("\n")
            for line in lines:
                name, code = line.split()
                codes.setdefault(name, int(code))
        return [codes[copy.name] for copy in copies]

    def close(self) -> None:
        os.close(self._pipe)


def bare_debian(folder: Path) -> Debian:
    """With a clone of the project, whom this machine trusts, and how its pip finds packages."""
    release = os.environ.get("DEBIAN") or "trixie"
    root = folder / "root"
    say(f"making a bare Debian {release} in a temporary folder")
    with prerequisite():
        make_debian(release, ["ca-certificates"], root)
        clone(root)
        found = pip_here(command(sys.executable, "-m", "pip", "config", "list"), os.environ)
        debian = Debian(root, tuple(lay_debian(root, found)), found.variables)
        debian("apt-get update")  # whether packages are to be had here
    return debian


def settings_for(sandbox: Sandbox) -> tuple[str, tuple[str, str]]:
    """The text of mcimport.toml, and both keys."""
    urls = {"mailchimp_url": sandbox.mailchimp_url, "ometria_url": sandbox.ometria_url}
    return SETTINGS.format(list_key=sandbox.list_key, **urls), (sandbox.mailchimp_key, sandbox.ometria_key)


def set_up(debian: Debian, sandbox: Sandbox) -> tuple[Copy, str]:
    """Types the head's commands, fills in what they leave to fill in, and looks by hand; returns what `check` says."""
    program, table, by_hand = setup_commands()
    init, check = by_hand.splitlines()
    say("typing the commands in the crontab's head")
    debian(f"{program}\n{table}\n{init}")
    copy = Copy(debian.root, sandbox, Laid(debian.root))
    settings, keys = settings_for(sandbox)
    copy.laid.config.write_text(settings, encoding="utf-8")  # as root: in a file that is there, its owner stays
    lines = [f"{name}={key}\n" for name, key in zip(KEYS, keys, strict=True)]
    copy.laid.environment.write_text("".join(lines), encoding="utf-8")
    return copy, debian(check)


def copy_of_the_table(debian: Debian, name: str, sandbox: Sandbox) -> Copy:
    copy = Copy(debian.root, sandbox, lay(debian.root / name, *settings_for(sandbox)))
    debian(f"chown --recursive mcimport:mcimport /{name}")
    return copy


def every_minute(debian: Debian, *copies: Copy) -> None:
    """Installs the tables in place of the one that the head's last command installed, and the link's script."""
    link = debian.root / PROGRAM.lstrip("/")
    link.unlink()
    link.write_text(REPORTING, encoding="utf-8")
    link.chmod(0o755)
    (debian.root / "table").write_text("".join(copy.table for copy in copies), encoding="utf-8")
    debian("crontab -u mcimport /table")


def trial() -> Results:
    need(["mmdebstrap", "git"])
    with tempfile.TemporaryDirectory(prefix="mcimport-cron-") as name, ExitStack() as stack:
        debian = bare_debian(Path(name))
        sandboxes = [
            stack.enter_context(Sandbox(knobs))
            for knobs in (
                SandboxSettings(size=200, permissions=()),  # about which a warning would be logged
                SandboxSettings(size=200, broken=["100-101"]),
                SandboxSettings(size=10),
            )
        ]
        well, said = set_up(debian, sandboxes[0])
        results = installed(debian, said)
        letters = copy_of_the_table(debian, "letters", sandboxes[1])
        keyless = copy_of_the_table(debian, "keyless", sandboxes[2])
        keyless.laid.environment.unlink()
        reports = Reports(debian.root / REPORTS.lstrip("/"))
        stack.callback(reports.close)
        every_minute(debian, well, letters, keyless)
        results += two_minutes(debian, well, letters, reports)
        return [*results, *afterwards(debian, well, letters, keyless)]


def installed(debian: Debian, said: str) -> Results:
    """What the head's commands left."""
    table = debian("crontab -u mcimport -l")
    tried = debian("runuser -u mcimport -- mcimport --version; readlink -f /usr/local/bin/mcimport")
    is_well = "No problems found" in said
    return [
        (is_well, f"set up word for word, `check` finds no problem {'' if is_well else said}".strip()),
        (table == CRONTAB.read_text(encoding="utf-8"), "the table is the project's"),
        ("/opt/mcimport/bin/mcimport" in tried, "and the link leads into the environment"),
    ]


def two_minutes(debian: Debian, well: Copy, letters: Copy, reports: Reports) -> Results:
    with debian.cron():
        say("waiting for cron's minute")
        first = reports.wait_for(well, letters)
        is_carried = well.everybody_is_there
        well.sandbox.audience().change(20)
        well.sandbox.audience().join(3)
        say("waiting for the next one")
        second = reports.wait_for(well, letters)  # both, so that nothing is left running
    return [
        (first == [0, 3], f"exit 0 where all is well, 3 with dead letters: {first}"),
        (is_carried, "the first run carried everybody"),
        (second[0] == 0 and well.everybody_is_there, "the next one carried who changed and who joined"),
    ]


def afterwards(debian: Debian, well: Copy, letters: Copy, keyless: Copy) -> Results:
    """What lies there when cron has done its work."""
    results = [
        (is_new_state_alone(well.log), f"where all is well the log says that a state file was made {well.log}".strip()),
        ("dead letter" in letters.log, "the log tells of the dead letters"),
        (letters.sandbox.mailchimp_key not in letters.log, "and holds no key"),
        (keyless.inside(keyless.laid.environment) in keyless.log, "without the environment file the log names it"),
        (keyless.sandbox.requests == [], "and nobody was asked for anything"),
        (is_the_users_alone(debian, well), "settings, keys, state and log are mode 0600, and that user's own"),
    ]
    debian("logrotate --force --state /run/rotated /etc/logrotate.d/mcimport")
    kept = well.laid.log.with_name("mcimport.log.1.gz")
    return [*results, (kept.exists() and not well.laid.log.exists(), "logrotate takes the log away")]


def is_new_state_alone(log: str) -> bool:
    return log.count("\n") == 1 and "no state file at" in log


def is_the_users_alone(debian: Debian, copy: Copy) -> bool:
    """Every file in the three folders, whoever wrote it."""
    files = [file.stat() for folder in FOLDERS for file in Path(copy.laid.paths[folder]).iterdir()]
    return all((stat.S_IMODE(file.st_mode), file.st_uid) == (0o600, debian.user) for file in files)


if __name__ == "__main__":
    sys.exit(attempt("under a cron daemon", trial))
