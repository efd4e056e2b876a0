"""What commands write to standard error: remarks and errors, for people or as events of a log."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcimport.cli.options import LogFormat
from mcimport.errors import McimportError

if TYPE_CHECKING:
    from mcimport.report.event_log import EventLog


@dataclass
class _Speech:
    """How this process speaks; text until a command says otherwise."""

    log: EventLog | None = None


_speech = _Speech()


def speak(log_format: LogFormat) -> EventLog | None:
    """From here on, what is said and complained of is written so. The log, where it is one for machines."""
    _speech.log = None
    if log_format is not LogFormat.TEXT:
        from mcimport.report.event_log import event_log  # noqa: PLC0415 - most calls speak to people

        _speech.log = event_log("json" if log_format is LogFormat.JSON else "logfmt", sys.stderr)
    return _speech.log


def say(text: str) -> None:
    """One line for a person, on standard error: standard output belongs to results.

    A log on a full disk, or a reader that is gone, is no reason to do less.
    """
    if _speech.log is not None:
        _speech.log.info(text)
        return
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)  # noqa: T201 - this is the place where the program speaks


@contextlib.contextmanager
def while_read() -> Iterator[None]:
    """Ends quietly when whoever reads standard output (`head`, say) has left; from then on it goes nowhere."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def complain(error: McimportError) -> None:
    """An error in one line or two: what is wrong, and what to do next."""
    if _speech.log is not None:
        _speech.log.error(str(error), **({"next": error.hint} if error.hint else {}))
        return
    say(f"mcimport: {error}")
    if error.hint:
        say(f"  {error.hint}")
