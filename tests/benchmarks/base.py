"""An earlier commit, installed in a folder of its own, to be measured beside the present one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_of(commit: str, cache: Path) -> str:
    """Returns the Python that has this commit's mcimport, with the versions that the tests are pinned to.

    It is built once, in `cache`. Raises RuntimeError where git does not know the commit, or pip cannot install it.
    """
    name = _said("git", "-C", str(ROOT), "rev-parse", "--short=12", f"{commit}^{{commit}}")
    folder = cache / name
    source = folder / "source"
    if not (folder / "built").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _said("git", "clone", "--quiet", "--no-checkout", str(ROOT), str(source))
        _said("git", "-C", str(source), "checkout", "--quiet", name)
        _install(folder, source)
        (folder / "built").touch()
    return _python(folder)


def present_python(cache: Path) -> str:
    """Returns a Python that has what stands in this checkout, installed as `python_of` does.

    The tests' own environment has three times as many packages, which some libraries look through when they start.
    Raises RuntimeError where pip cannot install it.
    """
    folder = cache / "present"
    _install(folder, ROOT)
    return _python(folder)


def _install(folder: Path, source: Path) -> None:
    if not Path(_python(folder)).exists():
        _said(sys.executable, "-m", "venv", str(folder / ".venv"))
    pip = (_python(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _said(*pip, "-c", str(ROOT / "constraints.txt"), str(source))
    _said(*pip, "--force-reinstall", "--no-deps", str(source))


def _python(folder: Path) -> str:
    return str(folder / ".venv/bin/python")


def _said(*command: str) -> str:
    """Returns what a command writes. Raises RuntimeError, with what it says, when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} {command[1]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()
