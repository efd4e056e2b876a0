"""Chooses how a call is told of: only errors, live on a terminal, or in plain lines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO

from mcimport.models import Outcome, RunKind
from mcimport.models.results import ListResult
from mcimport.report.console import ConsoleWriter, in_one_line
from mcimport.report.event_log import EventLog, EventLogReporter
from mcimport.report.progress import ProgressTracker
from mcimport.report.reporter import NullReporter, Reporter
from mcimport.report.summary import block, error_lines


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
        return _quiet(out)
    if not (json or verbose) and out.isatty() and os.environ.get("TERM") != "dumb":
        return _live(out, dry_run=dry_run)
    return _plain(out, dry_run=dry_run)


class _ErrorsOnly(NullReporter):
    """Says what went wrong, as it goes wrong."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def ended(self, result: ListResult) -> None:
        _write(self._stream, error_lines(result))


class _ConsoleReporter:
    """Hands on what it hears to those who count (on a terminal) and those who tell."""

    def __init__(self, writer: ConsoleWriter, tracker: ProgressTracker | None = None) -> None:
        self._teller = writer
        self._tracker = tracker

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        """Its number is told in the log for machines alone."""

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:
        self._teller.meet(client, list_key)
        if self._tracker and windows:
            self._tracker.planned((client, list_key), kind, total, windows)

    def moved(self, client: str, list_key: str, outcome: Outcome) -> None:
        if self._tracker:
            self._tracker.moved((client, list_key), outcome)

    def read_back(self, client: str, list_key: str, contacts: int, *, is_last: bool = False) -> None:
        if self._tracker:
            self._tracker.read_back((client, list_key), contacts, is_last=is_last)

    def waits(self, client: str, list_key: str, words: str) -> None:
        self._teller.remark(f"{client} {list_key}: {words}")

    def ended(self, result: ListResult) -> None:
        if self._tracker:
            self._tracker.ended((result.client, result.list_key))
        self._teller.take(result)


@contextmanager
def _quiet(stream: TextIO) -> Iterator[Reporter]:
    yield _ErrorsOnly(stream)


@contextmanager
def _plain(stream: TextIO, *, dry_run: bool) -> Iterator[Reporter]:
    writer = ConsoleWriter(lambda lines: _write(stream, lines), in_one_line, dry_run=dry_run)
    try:
        yield _ConsoleReporter(writer)
    finally:
        writer.close(stream)


@contextmanager
def _live(stream: TextIO, *, dry_run: bool) -> Iterator[Reporter]:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    from mcimport.report.live_display import picture  # noqa: PLC0415 - as above
    from mcimport.report.tables import paper  # noqa: PLC0415 - as above

    console, tracker = paper(stream), ProgressTracker()
    writer = ConsoleWriter(lambda lines: console.print("\n".join(lines), soft_wrap=True), block, dry_run=dry_run)
    try:
        # Standard output is a program's: it must not be led through the display.
        with Live(
            console=console,
            get_renderable=lambda: picture(tracker.snapshot(), console.width, console.height),
            transient=True,
            redirect_stdout=False,
        ):
            yield _ConsoleReporter(writer, tracker)
    finally:
        writer.close(stream)


def _write(stream: TextIO, lines: list[str]) -> None:
    """In one call, so that lines of several clients do not mix. A stream that takes nothing must not end a run."""
    if lines:
        with contextlib.suppress(OSError):
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()
