"""`make test-debian`: all tests and checks on another Debian: its Python, its SQLite, its libraries.

The system is made of Debian's packages in a temporary folder, as `make test-image` makes its base, and entered with
chroot; what runs there is a clone of HEAD. How this machine's pip finds its index, whom it trusts and which proxies it
takes goes in as it is found. Mounts and processes are of a namespace of their own: with the trial they are gone.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from crontab_table import ROOT
from privileges import CannotTryError, Results, attempt, command, make_debian, need, prerequisite, say

PACKAGES = ("ca-certificates", "git", "make", "python3", "python3-venv")
# Beside what pip's own settings name: whom programs trust here, and through which proxies they go.
TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
OF_THIS_MACHINE = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs")
CLONE = "/srv/mcimport"
# First the folders of the kernel, then `$2` and so on: what of this machine is seen there, and cannot be written.
ENTER = """\
root=$1 command=$2; shift 2
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
for path; do mount --bind -o ro "$path" "$root$path"; done
exec chroot "$root" /bin/sh -euc "cd $CLONE; exec $command"
"""


@dataclass(frozen=True)
class Found:
    """What pip is told on this machine: a file of settings, and variables."""

    settings: RawConfigParser
    variables: dict[str, str]

    @property
    def paths(self) -> set[Path]:
        """Folders and files of this machine that are named there."""
        values = [value for name in self.settings.sections() for _, value in self.settings.items(name)]
        return {path for value in [*values, *self.variables.values()] for path in paths_in(value)}


def paths_in(value: str) -> set[Path]:
    """Of a setting's words those that are files or folders here; of an index on this disk what lies beside it, too."""
    words = value.split()
    named = {Path(word) for word in words}
    beside = {Path(unquote(urlsplit(word).path)).parent for word in words if word.startswith("file:")}
    return {path for path in named | beside if path.is_absolute() and path.exists() and path != Path(path.anchor)}


def pip_here(listed: str, environment: Mapping[str, str]) -> Found:
    """`listed`: what `pip config list` prints, wherever the settings come from."""
    settings = RawConfigParser()
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section == ":env:":
            continue  # they go in as variables
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, option, str(ast.literal_eval(value)))
    own = {name for name in environment if name.startswith("PIP_") and name != "PIP_CONFIG_FILE"}
    return Found(settings, {name: environment[name] for name in sorted(own.union(TRUST, PROXIES) & set(environment))})


def lay(root: Path, found: Found) -> list[Path]:
    """Makes room for what is seen of this machine; returns it, outer folders first."""
    with (root / "etc" / "pip.conf").open("w", encoding="utf-8") as file:
        found.settings.write(file)
    (root / "usr" / "sbin" / "policy-rc.d").write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")  # no daemon starts
    (root / "usr" / "sbin" / "policy-rc.d").chmod(0o755)
    seen = sorted(found.paths | {path for path in map(Path, OF_THIS_MACHINE) if path.exists()})
    for path in seen:
        make_room(root, path)
    return seen


def make_room(root: Path, path: Path) -> None:
    """For a mount: a folder for a folder, a file for a file, and no link that leads elsewhere."""
    room = root / path.relative_to("/")
    if room.is_symlink():
        room.unlink()
    if path.is_dir():
        room.mkdir(parents=True, exist_ok=True)
    else:
        room.parent.mkdir(parents=True, exist_ok=True)
        room.touch()


def inside(root: Path, what: str, seen: Iterable[Path]) -> list[str]:
    """The words that run a command in there, in the clone."""
    apart = [shutil.which("unshare") or "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    script = ENTER.replace("$CLONE", CLONE)
    return [*apart, "--", "/bin/sh", "-euc", script, "enter", str(root), what, *map(str, seen)]


def environment_inside(variables: Mapping[str, str]) -> dict[str, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **variables}


def run(root: Path, what: str, seen: Iterable[Path], variables: Mapping[str, str]) -> int:
    """A command in there, in the clone; what it says is seen at once."""
    return subprocess.run(inside(root, what, seen), env=environment_inside(variables), check=False).returncode


def clone(root: Path) -> None:
    if command("git", "-C", ROOT, "status", "--porcelain").strip():
        say("what is not committed stays out of it")
    command("git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), root / CLONE.lstrip("/"))


def version(root: Path, program: str) -> str:
    return command("chroot", root, "python3", "-c", program).strip()


def trial() -> Results:
    release = os.environ.get("DEBIAN") or "trixie"
    need(["mmdebstrap", "git"])
    with tempfile.TemporaryDirectory(prefix="mcimport-debian-") as name:
        root = Path(name) / "root"
        say(f"making a system of Debian {release}'s packages")
        with prerequisite():
            make_debian(release, PACKAGES, root)
            clone(root)
        found = pip_here(command(sys.executable, "-m", "pip", "config", "list"), os.environ)
        seen = lay(root, found)
        python = version(
            root, "import sys, sqlite3; print(sys.version.split()[0], 'and SQLite', sqlite3.sqlite_version)"
        )
        say(f"Python {python}")
        if run(root, "make .venv/installed", seen, found.variables):
            raise CannotTryError("what it needs could not be installed there")
        tests = run(root, "make test", seen, found.variables)
        # Without make, which says 2 of all that fails.
        engine = run(root, ".venv/bin/python tests/broker/run.py", seen, found.variables)
    results = [(tests == 0, f"`make test` on Debian {release}, Python {python}: exit {tests}")]
    if engine == 2:
        say("NOT TRIED the engine there: see above")
    else:
        results.append((engine == 0, f"`make test-engine` there: exit {engine}"))
    return results


if __name__ == "__main__":
    sys.exit(attempt("on another Debian", trial))
