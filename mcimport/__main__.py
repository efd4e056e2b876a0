"""`python -m mcimport`, and the `mcimport` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Answers `--version` alone at once; everything else is worth the time that loading the command line takes."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: what is said there goes nowhere
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
    try:
        if sys.argv[1:] == ["--version"]:
            from mcimport.version import __version__  # noqa: PLC0415 - each command loads what it needs when needed

            sys.stdout.write(f"mcimport {__version__}\n")
        else:
            from mcimport.cli.app import main as run_command_line  # noqa: PLC0415 - as above

            run_command_line()
    finally:
        _let_go_of_what_cannot_be_written()


def _let_go_of_what_cannot_be_written() -> None:
    """On a full disk, say. Newer Pythons try once more at the very end, and then leave with a code of their own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
