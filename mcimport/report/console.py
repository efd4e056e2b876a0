"""Tells what came of each list as it ends; a list that stays the only one is told in full at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TextIO

from mcimport.models.results import ListResult
from mcimport.report.dry_run_table import dry_run_table
from mcimport.report.summary import line, problems
from mcimport.report.totals_table import overview

Tell = Callable[[list[str]], None]


class ConsoleWriter:
    """Safe to share between threads.

    Attributes:
        tell: writes lines.
        alone: the lines for a list that is the only one of its call.
    """

    def __init__(self, tell: Tell, alone: Callable[[ListResult], list[str]], *, dry_run: bool) -> None:
        self._tell = tell
        self._alone = alone
        self._dry_run = dry_run
        self._lock = threading.Lock()
        self._met: set[tuple[str, str]] = set()
        self._waiting: list[ListResult] = []
        self._results: list[ListResult] = []

    def meet(self, client: str, list_key: str) -> None:
        """Another list is at work, so the first is not alone, and need not wait."""
        with self._lock:
            self._met.add((client, list_key))
            if len(self._met) > 1:
                self._tell_waiting()

    def remark(self, words: str) -> None:
        """At once, whoever is at work."""
        with self._lock:
            self._tell([words])

    def take(self, result: ListResult) -> None:
        self.meet(result.client, result.list_key)
        with self._lock:
            self._results.append(result)
            self._waiting.append(result)
            if len(self._met) > 1:
                self._tell_waiting()

    def close(self, stream: TextIO) -> None:
        """Everything that is still to be said; nothing can be at work any more."""
        if len(self._results) > 1:
            self._tell_waiting()
            overview(self._results, stream)
        else:
            for result in self._waiting:
                self._tell(self._alone(result))
        if self._dry_run and self._results:
            dry_run_table(self._results, stream)
            self._tell(["Dry run: nothing was pushed or recorded."])

    def _tell_waiting(self) -> None:
        for result in self._waiting:
            self._tell(in_one_line(result))
        self._waiting.clear()


def in_one_line(result: ListResult) -> list[str]:
    """For a log: one line, and what there is to look at."""
    return [line(result), *problems(result)]
