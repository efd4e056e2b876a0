"""What commands write to standard error: remarks and errors, for people or as events of a log."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mcimport.errors import McimportError
from mcimport.errors.ownership import owner_for_root

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger as EventLog


class LogFormat(StrEnum):
    """Names the format of standard error."""

    TEXT = "text"
    JSON = "json"
    LOGFMT = "logfmt"


@dataclass
class _OutputState:
    """Holds the log of this process; None while it writes text for people."""

    log: EventLog | None = None


_state = _OutputState()


def set_log_format(log_format: LogFormat) -> EventLog | None:
    """Makes `say` and `print_error` write in this format from here on; returns the log, or None for text."""
    _state.log = None
    if log_format is not LogFormat.TEXT:
        from mcimport.report.event_log import event_log  # noqa: PLC0415 - most calls write text

        _state.log = event_log("json" if log_format is LogFormat.JSON else "logfmt", sys.stderr)
    return _state.log


def say(text: str) -> None:
    """Writes one line to standard error; standard output is for results.

    A full disk, or a reader that is gone, does not stop the command.
    """
    if _state.log is not None:
        _state.log.info(text)
        return
    with contextlib.suppress(OSError):
        _print_lines(sys.stderr, text.split("\n"))


def show(*lines: str) -> None:
    """Writes lines to standard output, for people."""
    _print_lines(sys.stdout, lines)


def warn(text: str) -> None:
    """Writes what is probably a mistake, and does not stop the command, to standard error."""
    if _state.log is not None:
        _state.log.warning(text)
        return
    say(f"mcimport: {text}")


def warn_root(path: Path) -> None:
    """Warns root before it makes the file, or others beside it, in the folder of a user who could not open them."""
    owner = owner_for_root(path)
    if owner is not None:
        words = f"the folder of {path} belongs to {owner}, to whom the files that root makes there are closed"
        warn(f"{words}: run `runuser -u {owner} -- mcimport` instead")


@contextlib.contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """Ends the block quietly when the reader of standard output (`head`) is gone; what follows goes to /dev/null."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def print_error(error: McimportError) -> None:
    """Writes an error in one or two lines: what is wrong, and what to do next."""
    if _state.log is not None:
        _state.log.error(str(error), **({"next": error.hint} if error.hint else {}))
        return
    with contextlib.suppress(OSError):
        _print_lines(sys.stderr, [f"mcimport: {error}", *([f"  {error.hint}"] if error.hint else [])])


def screen_lines(stream: TextIO, text: str) -> list[str]:
    """Returns the text in lines that fit the screen; whole where the stream is none."""
    if not stream.isatty():
        return [text]
    from mcimport.report.tables import make_console, wrapped  # noqa: PLC0415 - most calls write to no screen

    return wrapped(make_console(stream), text)


def _print_lines(stream: TextIO, lines: Sequence[str]) -> None:
    """Writes lines that wrap between words on a screen, whole ones elsewhere: a program may look for them."""
    if not stream.isatty():
        print(*lines, sep="\n", file=stream)
        return
    from mcimport.report.tables import print_lines  # noqa: PLC0415 - most calls write to no screen

    print_lines(stream, lines)
