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
    source, python, built = folder / "source", folder / ".venv/bin/python", folder / "built"
    if not built.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _said("git", "clone", "--quiet", "--no-checkout", str(ROOT), str(source))
        _said("git", "-C", str(source), "checkout", "--quiet", name)
        _said(sys.executable, "-m", "venv", str(folder / ".venv"))
        _said(str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(source))
        built.touch()
    return str(python)


def _said(*command: str) -> str:
    """Returns what a command writes. Raises RuntimeError, with what it says, when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} {command[1]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()
