"""A virtual environment for each peer, made when it is first needed and kept in a cache outside the project."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

MOST_WORDS = 160  # characters of a reason that stands in a table
MAKES = 600  # seconds that an installation may take


class UnusableError(Exception):
    """A peer cannot be measured; the message is the reason, for the table."""


def python_of(folder: Path, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment that has these packages. Raises UnusableError when they do not install.

    A folder that was finished for the same requirements is used as it is, so a newer release is not looked for: remove
    the cache for that.
    """
    python, finished = folder / "bin" / "python", folder / "finished"
    wanted = "\n".join(requirements)
    if not finished.exists() or finished.read_text(encoding="utf-8") != wanted:
        venv.create(folder, clear=True, with_pip=True)
        _install(python, requirements)
        finished.write_text(wanted, encoding="utf-8")
    return python


def version_in(python: Path, package: str) -> str:
    question = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-I", "-c", question], capture_output=True, text=True, check=True).stdout.strip()


def _install(python: Path, requirements: Sequence[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MAKES)
    except subprocess.TimeoutExpired:
        raise UnusableError(f"does not install within {MAKES} s") from None
    if done.returncode:
        complaints = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise UnusableError(f"does not install: {(complaints or ['pip does not say why'])[-1][:MOST_WORDS]}")
