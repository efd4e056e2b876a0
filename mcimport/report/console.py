"""Reporters for people: lines on standard error, with or without a live display above them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TextIO

from mcimport.models import RunKind
from mcimport.models.results import ListResult
from mcimport.report.progress import ProgressTracker
from mcimport.report.reporter import Reporter
from mcimport.report.summary import error_lines, result_lines
from mcimport.report.totals_table import dry_run_table, totals_table


class ErrorsOnly(Reporter):
    """Writes what went wrong with a list when the list ends, and nothing else: for `--quiet`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def ended(self, result: ListResult) -> None:
        write_lines(self._stream, error_lines(result))


class ConsoleReporter(ProgressTracker):
    """Writes the result of each list as it ends, and tables at the end of the call. Safe to share between threads.

    The result of a list that stays the only one of its call is written at the end, as `format_single` formats it.

    Args:
        stream: takes the tables.
        write: writes lines.
    """

    def __init__(
        self,
        stream: TextIO,
        write: Callable[[list[str]], None],
        format_single: Callable[[ListResult], list[str]],
        *,
        dry_run: bool,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._write = write
        self._format_single = format_single
        self._dry_run = dry_run
        self._write_lock = threading.Lock()  # not the tracker's, for which a live display waits while it is drawn
        self._seen: set[tuple[str, str]] = set()
        self._unwritten: list[ListResult] = []
        self._results: list[ListResult] = []

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:
        with self._write_lock:
            self._note(client, list_key)
        super().planned(client, list_key, kind, total, windows)

    def waits(self, client: str, list_key: str, words: str) -> None:
        with self._write_lock:
            self._write([f"{client} {list_key}: {words}"])

    def ended(self, result: ListResult) -> None:
        super().ended(result)
        with self._write_lock:
            self._results.append(result)
            self._unwritten.append(result)
            self._note(result.client, result.list_key)

    def close(self) -> None:
        """Writes what is left, and the tables; to be called once all lists have ended."""
        if len(self._results) > 1:
            self._write_results()
            totals_table(self._results, self._stream)
        else:
            for result in self._unwritten:
                self._write(self._format_single(result))
        if self._dry_run and self._results:
            dry_run_table(self._results, self._stream)
            self._write(["Dry run: nothing was pushed or recorded."])

    def _note(self, client: str, list_key: str) -> None:
        """Notes a list; once there are two, none has to wait for the end of the call."""
        self._seen.add((client, list_key))
        if len(self._seen) > 1:
            self._write_results()

    def _write_results(self) -> None:
        for result in self._unwritten:
            self._write(result_lines(result))
        self._unwritten.clear()


def write_lines(stream: TextIO, lines: list[str]) -> None:
    """Writes lines in one call, so that those of several clients do not mix.

    A stream that cannot be written, on a full disk for example, does not end a run.
    """
    if lines:
        with contextlib.suppress(OSError):
            stream.write("".join(f"{text}\n" for text in lines))
            stream.flush()
