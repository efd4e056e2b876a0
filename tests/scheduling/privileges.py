"""What the trials that need root on Debian share: whether they can be made here, and what they need installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NOT_HERE = 2  # the exit code of a trial that could not be made: neither a success nor a failure
Results = list[tuple[bool, str]]  # what held and what did not, each in words


class FailedError(Exception):
    """What failed, in words."""


class CannotTryError(Exception):
    """Why the trial cannot be made on this machine, in words."""


@contextmanager
def prerequisite() -> Iterator[None]:
    """What fails in here is no failure of what is tried, but keeps it from being tried."""
    try:
        yield
    except FailedError as error:
        raise CannotTryError(str(error)) from None


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def command(*words: str | Path) -> str:
    """Runs a command to its end; returns its output. Raises FailedError with its last words where it fails."""
    program = shutil.which(words[0])
    if program is None:
        raise FailedError(f"there is no {words[0]} on this machine")
    result = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip()[-1_500:]
        raise FailedError(f"`{' '.join(map(str, words))}` ended with {result.returncode}\n{said}")
    return result.stdout


def need(packages: Sequence[str]) -> None:
    """Sees to it that Debian's packages are installed. Raises CannotTryError where it cannot."""
    if os.geteuid() != 0:
        raise CannotTryError("it takes root: packages are installed, a daemon is started, other users are taken on")
    if shutil.which("apt-get") is None:
        raise CannotTryError(f"{', '.join(packages)} are needed as Debian's packages, and this is no Debian")
    if missing := [name for name in packages if not is_installed(name)]:
        say(f"installing {', '.join(missing)}")
        with prerequisite():
            command("apt-get", "update")
            command("apt-get", "install", "--yes", "--no-install-recommends", *missing)


def make_debian(release: str, packages: Sequence[str], target: Path) -> None:
    """A system of Debian's packages, and of as few as can be: in a folder, or in an archive where one is named."""
    command("mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", release, target)


def is_installed(package: str) -> bool:
    try:
        return command("dpkg-query", "--show", "--showformat", "${db:Status-Status}", package) == "installed"
    except FailedError:
        return False


def attempt(what: str, trial: Callable[[], Results]) -> int:
    """Makes the trial and tells how it went. 0: all held. 1: something did not. 2: it could not be tried here."""
    try:
        results = trial()
    except FailedError as failure:
        results = [(False, str(failure))]
    except CannotTryError as reason:
        say(f"NOT TRIED {what}: {reason}")
        return NOT_HERE
    for held, words in results:
        say(f"{'ok     ' if held else 'FAILED '} {words}")
    return 0 if all(held for held, _ in results) else 1
