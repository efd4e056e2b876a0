"""Reporters for people, on standard error, with or without a live display; and the choice of a call's reporter."""

from __future__ import annotations

import os
import sys
import threading
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
    log: EventLog | None = None,
    stream: TextIO | None = None,
) -> AbstractContextManager[Reporter]:
    """Returns the reporter of a call as a context manager, whose exit writes the tables at the end.

    Args:
        json: standard output holds JSON for a program; people get plain lines, as without a terminal.
        quiet: write only errors and dead letters, in one or two lines for each list.
        dry_run: say at the end that nothing was pushed or recorded.
        verbose: requests are written between the lines, so there is no live display.
        log: write nothing but events of this log.
        stream: standard error by default. No reporter writes to standard output.
    """
    out = sys.stderr if stream is None else stream
    if log is not None:
        return nullcontext(EventLogReporter(log, quiet=quiet))
    if quiet:
        return nullcontext(ErrorsOnly(out))
    if not (json or verbose) and out.isatty() and os.environ.get("TERM") != "dumb":
        return _live(out, dry_run=dry_run)
    return closing(ConsoleReporter(out, partial(write_lines, out), result_lines, dry_run=dry_run))


@contextmanager
def _live(stream: TextIO, *, dry_run: bool) -> Iterator[Reporter]:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    from mcimport.report.live_display import render  # noqa: PLC0415 - as above
    from mcimport.report.tables import make_console, wrapped  # noqa: PLC0415 - as above

    console = make_console(stream)

    def write(lines: list[str]) -> None:
        console.print("\n".join(part for line in lines for part in wrapped(console, line)), soft_wrap=True)

    reporter = ConsoleReporter(stream, write, short_lines, dry_run=dry_run)
    # Standard output may be read by a program: the display must not redirect it.
    display = Live(
        console=console,
        get_renderable=lambda: render(reporter.snapshot(), console.width, console.height),
        transient=True,
        redirect_stdout=False,
    )
    with closing(reporter), display:
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
    ) -> None:
        from mcimport.report import totals_table  # noqa: PLC0415 - rich takes 30 ms, which a quiet call need not pay

        super().__init__()
        self._tables = totals_table
        self._stream = stream
        self._write = write
        self._format_result = format_result
        self._dry_run = dry_run
        self._write_lock = threading.Lock()  # not the tracker's, for which a live display waits while it is drawn
        self._results: list[ListResult] = []

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
