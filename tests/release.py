"""`make dist`: builds wheel and sdist into dist/, checks both, and tries the wheel in an environment of its own.

Needs Python and its package index alone. What builds and checks is installed into a temporary folder, and so is the
wheel; its commands run there, with nothing of this folder on Python's path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
TOOLS = ("build>=1.2", "twine>=6.1")  # the first twine that knows the licence fields of the metadata
# What leads Python, or mcimport, to anything but what is in its environment.
LEADING = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MCIMPORT_CONFIG", "MCIMPORT_DB")


def run(folder: Path, *words: str | Path) -> str:
    """Runs a command in the folder, shows and returns what it says. Ends this program where the command fails."""
    _say(f"$ {' '.join(word if isinstance(word, str) else word.name for word in words)}")
    variables = {name: value for name, value in os.environ.items() if name not in LEADING}
    said = []
    with subprocess.Popen(words, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            _say(line.rstrip("\n"))
            said.append(line)
    if process.returncode:
        sys.exit(f"{words[0]} ended with {process.returncode}")
    return "".join(said)


def make_environment(folder: Path, *packages: str) -> Path:
    """Makes a virtual environment with the packages; returns the folder of its programs."""
    venv.create(folder, with_pip=True, symlinks=True)
    programs = folder / "bin"
    options = ("--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt")
    run(ROOT, programs / "pip", "install", *options, *packages)
    return programs


def try_the_wheel(wheel: Path, away: Path) -> None:
    """In an empty environment and folder: the version is the file's, and the demo runs to its end."""
    programs = make_environment(away / "release", f"{wheel}[sandbox]")
    said = run(away, programs / "mcimport", "--version").strip()
    if said != f"mcimport {wheel.name.split('-')[1]}":
        sys.exit(f"{wheel.name} says that it is {said}")
    run(away, programs / "mcimport", "demo")


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="mcimport-release-") as name:
        away = Path(name)
        tools = make_environment(away / "tools", *TOOLS)
        run(ROOT, tools / "python", "-m", "build", "--outdir", DIST)
        (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
        run(ROOT, tools / "twine", "check", "--strict", wheel, sdist)
        try_the_wheel(wheel, away)
    _say(f"dist/ holds {wheel.name} and {sdist.name}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
