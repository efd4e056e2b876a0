"""Chooses how a call is told of: only errors, live on a terminal, or in plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TextIO

from mcimport.report.console import ConsoleReporter, ErrorsOnly, result_lines, write_lines
from mcimport.report.event_log import EventLog, EventLogReporter
from mcimport.report.progress import ProgressTracker
from mcimport.report.reporter import Reporter
from mcimport.report.summary import block


def make_reporter(
    *,
    json: bool,
    quiet: bool,
    dry_run: bool = False,
    verbose: bool = False,
    log: EventLog | None = None,
    stream: TextIO | None = None,
) -> AbstractContextManager[Reporter]:
    """What listens to a call until the end of the `with`, when the last words are said.

    Args:
        json: standard output holds JSON for a program; people get plain lines, as without a terminal.
        quiet: only errors and dead letters, in one or two lines a list.
        dry_run: say that nothing was pushed and nothing remembered.
        verbose: requests are told between the lines, so nothing may move.
        log: a machine reads it; nothing but events.
        stream: standard error, unless told otherwise. Nothing here writes to standard output.
    """
    out = sys.stderr if stream is None else stream
    if log is not None:
        return nullcontext(EventLogReporter(log, quiet=quiet))
    if quiet:
        return nullcontext(ErrorsOnly(out))
    if not (json or verbose) and out.isatty() and os.environ.get("TERM") != "dumb":
        return _live(out, dry_run=dry_run)
    return _plain(out, dry_run=dry_run)


@contextmanager
def _plain(stream: TextIO, *, dry_run: bool) -> Iterator[Reporter]:
    reporter = ConsoleReporter(partial(write_lines, stream), result_lines, dry_run=dry_run)
    try:
        yield reporter
    finally:
        reporter.close(stream)


@contextmanager
def _live(stream: TextIO, *, dry_run: bool) -> Iterator[Reporter]:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    from mcimport.report.live_display import picture  # noqa: PLC0415 - as above
    from mcimport.report.tables import paper  # noqa: PLC0415 - as above

    console, tracker = paper(stream), ProgressTracker()
    reporter = ConsoleReporter(
        lambda lines: console.print("\n".join(lines), soft_wrap=True), block, dry_run=dry_run, tracker=tracker
    )
    try:
        # Standard output is a program's: it must not be led through the display.
        with Live(
            console=console,
            get_renderable=lambda: picture(tracker.snapshot(), console.width, console.height),
            transient=True,
            redirect_stdout=False,
        ):
            yield reporter
    finally:
        reporter.close(stream)
