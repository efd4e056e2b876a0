"""Runs `mcimport`, also as `python -m mcimport`."""

from __future__ import annotations

import contextlib
import os
import sys


def main() -> None:
    """Prints the version without loading the command line, and runs the command line for everything else."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the process that started this one
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
    try:
        if sys.argv[1:] == ["--version"]:
            from mcimport.version import __version__  # noqa: PLC0415 - each command loads what it needs when needed

            with contextlib.suppress(OSError):  # no reader, or a full disk, where Python keeps no output back
                sys.stdout.write(f"mcimport {__version__}\n")
        else:
            _leave_out_what_no_command_needs()
            from mcimport.cli.app import main as run_command_line  # noqa: PLC0415 - as above

            run_command_line()
    finally:
        _discard_unwritable_output()


def _leave_out_what_no_command_needs() -> None:
    """Keeps httpx from loading its own command line, and pydantic from looking for plugins: a tenth of the start-up."""
    sys.modules["httpx._main"] = None  # type: ignore[assignment] # how Python says that there is no such module
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _discard_unwritable_output() -> None:
    """Sends output that cannot be written, on a full disk for example, to /dev/null.

    Otherwise Python would try to write it once more when it ends, and exit with a code of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
