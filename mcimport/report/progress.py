"""Counts the progress of each list, from several threads at once."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mcimport.models import Outcome, RunKind
from mcimport.models.results import ListResult
from mcimport.report.reporter import Reporter

_COUNTS = ("total", "windows", "read", "pushed", "done")


class Progress(Struct, frozen=True):
    """Holds the progress of one list, or of all.

    Attributes:
        began: a reading of the tracker's monotonic clock, in seconds.
        total, windows: the planned members and windows.
    """

    name: str
    began: float
    total: int = 0
    windows: int = 0
    read: int = 0
    pushed: int = 0
    done: int = 0

    def speed(self, now: float) -> float:
        """Returns contacts per second since the beginning."""
        return self.pushed / (now - self.began) if now > self.began else 0.0

    def left(self, now: float) -> float | None:
        """Returns the seconds until the rest is read at the same speed.

        None before the first page, and where more members were read than planned.
        """
        if not self.read or now <= self.began or self.read > self.total:
            return None
        return (self.total - self.read) * (now - self.began) / self.read


class Snapshot(Struct, frozen=True):
    """Holds all progress at one moment.

    Attributes:
        live: the lists that are being imported, in the order in which they began.
        sum: the total of these and of the lists that have ended.
        ended: how many lists have ended.
        now: a reading of the tracker's clock.
    """

    live: tuple[Progress, ...]
    sum: Progress
    ended: int
    now: float


class ProgressTracker(Reporter):
    """Counts pages of several lists. Safe to share between threads. `clock`: monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[tuple[str, str], Progress] = {}
        self._past = Progress("", clock())
        self._ended = 0

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:  # noqa: ARG002
        """Adds a run to its list; a call that first resumes a run has two runs of one list."""
        if windows:
            with self._lock:
                progress = self._live.get((client, list_key)) or Progress(f"{client} {list_key}", self._clock())
                self._live[client, list_key] = _added(progress, Progress("", 0, total=total, windows=windows))

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        self._count(client, list_key, outcome.members, outcome.pushed, is_done=outcome.rest is None)

    def read_back(self, client: str, list_key: str, contacts: int, *, is_last: bool = False) -> None:
        """Counts contacts that were read back from Ometria; all of them together are one window."""
        self._count(client, list_key, contacts, 0, is_done=is_last)

    def _count(self, client: str, list_key: str, read: int, pushed: int, *, is_done: bool) -> None:
        page = Progress("", 0, read=read, pushed=pushed, done=is_done)
        with self._lock:
            if progress := self._live.get((client, list_key)):
                self._live[client, list_key] = _added(progress, page)

    def ended(self, result: ListResult) -> None:
        with self._lock:
            self._ended += 1
            gone = self._live.pop((result.client, result.list_key), None)
            if gone is not None:
                # What was planned and not done leaves the sum, because this call will not do it.
                self._past = _added(self._past, replace(gone, total=gone.read, windows=gone.done))

    def snapshot(self) -> Snapshot:
        with self._lock:
            live = tuple(self._live.values())
            return Snapshot(live, functools.reduce(_added, live, self._past), self._ended, self._clock())


def _added(progress: Progress, other: Progress) -> Progress:
    counts: Any = {name: getattr(progress, name) + getattr(other, name) for name in _COUNTS}
    return replace(progress, **counts)
