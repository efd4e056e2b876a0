"""Reporters for people: lines on standard error, with or without a live display above them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TextIO

from mcimport.models import Outcome, RunKind
from mcimport.models.results import ListResult
from mcimport.report.progress import ProgressTracker
from mcimport.report.reporter import Reporter
from mcimport.report.summary import error_lines, problem_lines, summary_line
from mcimport.report.totals_table import dry_run_table, totals_table


class ErrorsOnly(Reporter):
    """Writes what went wrong with a list when the list ends, and nothing else: for `--quiet`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def ended(self, result: ListResult) -> None:
        write_lines(self._stream, error_lines(result))


class ConsoleReporter(Reporter):
    """Writes the result of each list as it ends, and tables at the end of the call. Safe to share between threads.

    The result of a list that stays the only one of its call is written at the end, as `format_single` formats it.

    Args:
        write: writes lines.
        tracker: counts what a live display shows; None without a display.
    """

    def __init__(
        self,
        write: Callable[[list[str]], None],
        format_single: Callable[[ListResult], list[str]],
        *,
        dry_run: bool,
        tracker: ProgressTracker | None = None,
    ) -> None:
        self._write = write
        self._format_single = format_single
        self._dry_run = dry_run
        self._tracker = tracker
        self._lock = threading.Lock()
        self._seen: set[tuple[str, str]] = set()
        self._unwritten: list[ListResult] = []
        self._results: list[ListResult] = []

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:  # noqa: ARG002
        with self._lock:
            self._add(client, list_key)
        if self._tracker and windows:
            self._tracker.planned((client, list_key), total, windows)

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        if self._tracker:
            self._tracker.page_recorded((client, list_key), outcome)

    def read_back(self, client: str, list_key: str, contacts: int, *, is_last: bool = False) -> None:
        if self._tracker:
            self._tracker.read_back((client, list_key), contacts, is_last=is_last)

    def waits(self, client: str, list_key: str, words: str) -> None:
        with self._lock:
            self._write([f"{client} {list_key}: {words}"])

    def ended(self, result: ListResult) -> None:
        if self._tracker:
            self._tracker.ended((result.client, result.list_key))
        with self._lock:
            self._results.append(result)
            self._unwritten.append(result)
            self._add(result.client, result.list_key)

    def close(self, stream: TextIO) -> None:
        """Writes what is left, and the tables, to `stream`; to be called once all lists have ended."""
        if len(self._results) > 1:
            self._write_results()
            totals_table(self._results, stream)
        else:
            for result in self._unwritten:
                self._write(self._format_single(result))
        if self._dry_run and self._results:
            dry_run_table(self._results, stream)
            self._write(["Dry run: nothing was pushed or recorded."])

    def _add(self, client: str, list_key: str) -> None:
        """Notes a list; once there are two, none has to wait for the end of the call."""
        self._seen.add((client, list_key))
        if len(self._seen) > 1:
            self._write_results()

    def _write_results(self) -> None:
        for result in self._unwritten:
            self._write(result_lines(result))
        self._unwritten.clear()


def result_lines(result: ListResult) -> list[str]:
    """Returns one line for a log, and a line for each problem."""
    return [summary_line(result), *problem_lines(result)]


def write_lines(stream: TextIO, lines: list[str]) -> None:
    """Writes lines in one call, so that those of several clients do not mix.

    A stream that cannot be written, on a full disk for example, does not end a run.
    """
    if lines:
        with contextlib.suppress(OSError):
            stream.write("".join(f"{text}\n" for text in lines))
            stream.flush()
