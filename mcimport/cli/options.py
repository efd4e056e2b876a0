"""What every command needs first: the options that stand before it, and the settings they lead to."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.config import Settings, load
from mcimport.errors import McimportError

if TYPE_CHECKING:
    from mcimport.report.event_log import EventLog

LARGEST_ID = 2**63 - 1  # SQLite's
NO_TERMINAL = "not running in a terminal"
NOTHING_YET = "nothing synced yet; `mcimport sync` runs the first sync"


@dataclass(frozen=True)
class Options:
    """`--config` and `--db`; None where they were not given."""

    config: Path | None = None
    db: Path | None = None


def settings(context: typer.Context, *, has_state: bool = True) -> Settings:
    """Raises ConfigError, before any request. `has_state`: False for a command that never looks at a state file."""
    options = context.find_object(Options) or Options()
    return load(config=options.config, db=options.db or (None if has_state else Path("no state file")))


class LogFormat(StrEnum):
    """How what goes to standard error is written."""

    TEXT = "text"
    JSON = "json"
    LOGFMT = "logfmt"


CLIENTS = Annotated[list[str] | None, typer.Option("--client", metavar="NAME", help="Only this client; repeatable.")]
LOG_FORMAT = Annotated[
    LogFormat,
    typer.Option(
        envvar="MCIMPORT_LOG_FORMAT", help="Format of standard error: text for people, or one event per line."
    ),
]


class EngineName(StrEnum):
    """As in `[engine] kind`."""

    THREADS = "threads"
    CELERY = "celery"


ENGINE = typer.Option(
    "--engine", help="Where the work is done: threads of this process, or Celery workers. Default: [engine] kind."
)
VERBOSE = Annotated[bool, typer.Option("--verbose", "-v", help="Show each request; never keys or personal data.")]


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
