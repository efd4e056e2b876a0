"""`make test-cron`: cron/mcimport.crontab under Debian's cron, as a user without privileges, against the sandbox.

The table is installed as it stands, but for what must differ: every minute instead of seven past, the three folders
laid under a temporary one, and in the program's place a script that runs the program and reports its exit code. Three
copies stand in one table: one where all is well, one with a page that cannot be read, and one without its keys. Two
minutes are waited for; between them people change.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import Importer, expected_ids, imported_ids
from crontab_table import CRONTAB, HOURLY, PROGRAM, ROOT, SETTINGS, Laid, lay, replaced
from privileges import FailedError, Results, attempt, command, need, prerequisite, say

from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

USER = "mcimport-cron-test"
PATIENCE = 150  # seconds: cron looks once a minute, and may have looked just before
PID_FILE = Path("/run/crond.pid")
REPORTING = '#!/bin/sh\n"{program}" "$@"\ncode=$?\necho "{name} $code" >"{reports}"\nexit $code\n'


@dataclass(frozen=True)
class Copy:
    """One copy of the table, with its sandbox and its folders."""

    name: str
    sandbox: Sandbox
    laid: Laid
    program: Path

    @property
    def table(self) -> str:
        text = CRONTAB.read_text(encoding="utf-8")
        return replaced(text, {HOURLY: "* * * * *", PROGRAM: str(self.program)} | self.laid.paths)

    @property
    def log(self) -> str:
        return self.laid.log.read_text(encoding="utf-8") if self.laid.log.exists() else ""

    @property
    def everybody_is_there(self) -> bool:
        importer = Importer(self.sandbox, self.laid.folder)
        return imported_ids(importer) == expected_ids(importer) != set()


class Reports:
    """The exit codes that come through a named pipe, a line each."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "reports"
        os.mkfifo(self.path)
        self._pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)  # for writing, too: so it never ends
        self._rest = ""

    def wait_for(self, *names: str) -> dict[str, int]:
        """The next exit code of each; raises FailedError when cron takes too long."""
        codes: dict[str, int] = {}
        while not codes.keys() >= set(names):
            if not select.select([self._pipe], [], [], PATIENCE)[0]:
                raise FailedError(f"cron started nothing in {PATIENCE} seconds")
            *lines, self._rest = (self._rest + os.read(self._pipe, 4_096).decode()).split("\n")
            for line in lines:
                name, code = line.split()
                codes.setdefault(name, int(code))
        return codes

    def close(self) -> None:
        os.close(self._pipe)


@contextmanager
def unprivileged_user(home: Path) -> Iterator[None]:
    command("useradd", "--system", "--user-group", "--home-dir", home, "--shell", "/usr/sbin/nologin", USER)
    try:
        yield
    finally:
        command("userdel", USER)


def is_running() -> bool:
    """A daemon that works holds the lock on its file."""
    try:
        with PID_FILE.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def cron() -> Iterator[None]:
    """The machine's daemon where there is one; else one that ends with this."""
    if is_running():
        yield
        return
    with subprocess.Popen([shutil.which("cron") or "cron", "-f"]) as daemon:
        try:
            yield
        finally:
            daemon.terminate()


@contextmanager
def installed(table: str) -> Iterator[None]:
    """Cron itself refuses a table that it cannot read."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(table)
        file.flush()
        command("crontab", "-u", USER, file.name)
    try:
        yield
    finally:
        command("crontab", "-u", USER, "-r")


def copy_of_the_table(name: str, knobs: SandboxSettings, folder: Path, reports: Path, stack: ExitStack) -> Copy:
    """`folder`: with the installed program, and with room for the copy's own folders."""
    sandbox = stack.enter_context(Sandbox(knobs))
    settings = SETTINGS.format(
        list_key=sandbox.list_key, mailchimp_url=sandbox.mailchimp_url, ometria_url=sandbox.ometria_url
    )
    laid = lay(folder / name, settings, (sandbox.mailchimp_key, sandbox.ometria_key))
    program = folder / name / "mcimport"
    real = folder / "installed" / "bin" / "mcimport"
    program.write_text(REPORTING.format(program=real, name=name, reports=reports), encoding="utf-8")
    program.chmod(0o755)
    return Copy(name, sandbox, laid, program)


def rotate(copy: Copy) -> None:
    """What logrotate does with the log, by the project's file for it."""
    text = CRONTAB.with_suffix(".logrotate").read_text(encoding="utf-8")
    log = {"/var/log/mcimport": copy.laid.paths["/var/log/mcimport"], "su mcimport mcimport": f"su {USER} {USER}"}
    file = copy.laid.folder / "logrotate.conf"
    file.write_text(replaced(text, log), encoding="utf-8")
    file.chmod(0o644)
    os.chown(file, 0, 0)
    command("logrotate", "--force", "--state", copy.laid.folder / "rotated", file)


def install(folder: Path) -> None:
    """The project in Debian's own Python, which a user without privileges may run."""
    say("installing mcimport for everybody, into a temporary folder")
    with prerequisite():
        command("/usr/bin/python3", "-m", "venv", folder)
        command(folder / "bin" / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", ROOT)


def trial() -> Results:
    need(["cron", "logrotate", "python3-venv"])
    with tempfile.TemporaryDirectory(prefix="mcimport-cron-") as name, ExitStack() as stack:
        folder = Path(name)
        install(folder / "installed")
        reports = Reports(folder)
        stack.callback(reports.close)
        copies = (
            copy_of_the_table("well", SandboxSettings(size=200), folder, reports.path, stack),
            copy_of_the_table("letters", SandboxSettings(size=200, broken=["100-101"]), folder, reports.path, stack),
            copy_of_the_table("keyless", SandboxSettings(size=10), folder, reports.path, stack),
        )
        copies[-1].laid.environment.unlink()
        stack.enter_context(unprivileged_user(folder))
        folder.chmod(0o755)
        command("chown", "--recursive", f"{USER}:{USER}", folder)
        return [*two_minutes(*copies, reports), *afterwards(*copies)]


def two_minutes(well: Copy, letters: Copy, keyless: Copy, reports: Reports) -> Results:
    # In this order: cron does not notice a table that is installed in the second in which it starts.
    with installed(well.table + letters.table + keyless.table), cron():
        say("waiting for cron's minute")
        first = reports.wait_for("well", "letters")
        is_carried = well.everybody_is_there
        well.sandbox.audience().change(20)
        well.sandbox.audience().join(3)
        say("waiting for the next one")
        second = reports.wait_for("well", "letters")  # both, so that nothing is left running
    return [
        (first == {"well": 0, "letters": 3}, f"exit 0 where all is well, 3 with dead letters: {first}"),
        (is_carried, "the first run carried everybody"),
        (second["well"] == 0 and well.everybody_is_there, "the next one carried who changed and who joined"),
    ]


def afterwards(well: Copy, letters: Copy, keyless: Copy) -> Results:
    """What lies there when cron has done its work."""
    results = [
        (well.log == "", f"where all is well the log stays empty {well.log}".strip()),
        ("dead letter" in letters.log, "the log tells of the dead letters"),
        (letters.sandbox.mailchimp_key not in letters.log, "and holds no key"),
        (str(keyless.laid.environment) in keyless.log, "without the environment file the log names it"),
        (keyless.sandbox.requests == [], "and nobody was asked for anything"),
        (is_the_users_alone(well), "state and log are mode 0600, and that user's own"),
    ]
    rotate(letters)
    kept = letters.laid.log.with_name("mcimport.log.1.gz")
    return [*results, (kept.exists() and not letters.laid.log.exists(), "logrotate takes the log away")]


def is_the_users_alone(copy: Copy) -> bool:
    files = [copy.laid.state.stat(), copy.laid.log.stat()]
    return all(stat.S_IMODE(one.st_mode) == 0o600 and one.st_uid != 0 for one in files)


if __name__ == "__main__":
    sys.exit(attempt("under a cron daemon", trial))
