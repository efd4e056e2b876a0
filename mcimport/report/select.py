"""Chooses the reporter of a call: events of a log, only errors, a live display on a terminal, or plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, TextIO

from mcimport.report.console import ConsoleReporter, ErrorsOnly, write_lines
from mcimport.report.event_log import EventLogReporter
from mcimport.report.reporter import Reporter
from mcimport.report.summary import result_lines, summary_block

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
    from mcimport.report.tables import make_console  # noqa: PLC0415 - as above

    console = make_console(stream)
    reporter = ConsoleReporter(
        stream, lambda lines: console.print("\n".join(lines), soft_wrap=True), summary_block, dry_run=dry_run
    )
    # Standard output may be read by a program: the display must not redirect it.
    display = Live(
        console=console,
        get_renderable=lambda: render(reporter.snapshot(), console.width, console.height),
        transient=True,
        redirect_stdout=False,
    )
    with closing(reporter), display:
        yield reporter
