"""Reporters for people, on standard error, with or without a live display; and the choice of a call's reporter."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, TextIO

from mcimport.models.results import ListResult
from mcimport.report.event_log import EventLogReporter, write_lines
from mcimport.report.progress import ProgressTracker
from mcimport.report.reporter import Reporter
from mcimport.report.summary import error_lines, result_lines, short_lines

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger as EventLog


def make_reporter(
    *,
    json: bool,
    quiet: bool,
    dry_run: bool = False,
    verbose: bool = False,
    in_rounds: bool = False,
    log: EventLog | None = None,
    stream: TextIO | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> AbstractContextManager[Reporter]:
    """Returns the reporter of a call as a context manager, whose exit writes the tables at the end.

    Args:
        json: standard output holds JSON for a program; people get plain lines, as without a terminal.
        quiet: write only errors and dead letters, in one or two lines for each list.
        dry_run: say at the end that nothing was pushed or recorded.
        verbose: requests are written between the lines, so there is no live display.
        in_rounds: rounds that overlap share the screen: there is no live display, and each line has its time.
        log: write nothing but events of this log.
        stream: standard error by default. No reporter writes to standard output.
        is_stopping: says whether a stop was requested, which a live display shows.
    """
    out = sys.stderr if stream is None else stream
    if log is not None:
        return nullcontext(EventLogReporter(log, quiet=quiet))
    if quiet:
        return nullcontext(ErrorsOnly(out))
    if not (json or verbose or in_rounds) and out.isatty() and os.environ.get("TERM") != "dumb":
        return _live(out, dry_run=dry_run, is_stopping=is_stopping)
    if in_rounds and out.isatty() and not json:
        return closing(ConsoleReporter(out, partial(_write_wrapped, out), _timed_lines, dry_run=dry_run))
    return closing(ConsoleReporter(out, partial(write_lines, out), result_lines, dry_run=dry_run))


def _write_wrapped(stream: TextIO, lines: list[str]) -> None:
    from mcimport.report.tables import make_console, wrapped  # noqa: PLC0415 - loads rich, which only a terminal needs

    console = make_console(stream)
    write_lines(stream, [part for line in lines for part in wrapped(console, line)])


def _timed_lines(result: ListResult) -> list[str]:
    """Returns short lines, the first with the local time: a log has times of its own, a screen has none."""
    first, *others = short_lines(result)
    return [f"{time.strftime('%H:%M:%S')}  {first}", *others]


@contextmanager
def _live(stream: TextIO, *, dry_run: bool, is_stopping: Callable[[], bool]) -> Iterator[Reporter]:
    from mcimport.report.live_display import render  # noqa: PLC0415 - loads rich, which only a terminal needs
    from mcimport.report.live_screen import LiveScreen  # noqa: PLC0415 - as above
    from mcimport.report.tables import make_console, wrapped  # noqa: PLC0415 - as above

    console = make_console(stream)
    screen = LiveScreen(console, lambda width, height: render(reporter.snapshot(), width, height))

    def write(lines: list[str]) -> None:
        screen.write([part for line in lines for part in wrapped(console, line)])

    reporter = ConsoleReporter(
        stream, write, short_lines, dry_run=dry_run, is_stopping=is_stopping, paused=screen.paused
    )
    with closing(reporter), screen:
        yield reporter


class ErrorsOnly(Reporter):
    """Writes what went wrong with a list when the list ends, and nothing else: for `--quiet`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def ended(self, result: ListResult) -> None:
        write_lines(self._stream, error_lines(result))


class ConsoleReporter(ProgressTracker):
    """Writes the result of each list as it ends, and tables at the end of the call. Safe to share between threads."""

    def __init__(
        self,
        stream: TextIO,
        write: Callable[[list[str]], None],
        format_result: Callable[[ListResult], list[str]],
        *,
        dry_run: bool,
        is_stopping: Callable[[], bool] = lambda: False,
        paused: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        from mcimport.report import totals_table  # noqa: PLC0415 - rich takes 30 ms, which a quiet call need not pay

        super().__init__(is_stopping=is_stopping)
        self._tables = totals_table
        self._stream = stream
        self._write = write
        self._format_result = format_result
        self._dry_run = dry_run
        self._paused = paused
        self._write_lock = threading.Lock()  # not the tracker's, for which a live display waits while it is drawn
        self._results: list[ListResult] = []

    def paused(self) -> AbstractContextManager[None]:
        return self._paused()

    def waits(self, client: str, list_key: str, words: str) -> None:
        with self._write_lock:
            self._write([f"{client} {list_key}: {words}"])

    def ended(self, result: ListResult) -> None:
        super().ended(result)
        with self._write_lock:
            self._results.append(result)
            self._write(self._format_result(result))

    def close(self) -> None:
        """Writes the tables; to be called once all lists have ended."""
        if len(self._results) > 1:
            self._tables.totals_table(self._results, self._stream)
        if self._dry_run and self._results:
            self._tables.dry_run_table(self._results, self._stream)
            self._write(["Dry run: nothing was pushed or recorded."])
