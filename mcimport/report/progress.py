"""How far each list has come, counted from several threads at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mcimport.models import Outcome, RunKind

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """One list, or all of them. `began` is a reading of the tally's clock; total and windows are what is planned."""

    name: str
    kind: str
    began: float
    total: int = 0
    windows: int = 0
    read: int = 0
    pushed: int = 0
    done: int = 0

    def speed(self, now: float) -> float:
        """Contacts a second since it began."""
        return self.pushed / (now - self.began) if now > self.began else 0.0

    def left(self, now: float) -> float | None:
        """Seconds until the rest is read at the same pace; None while there is no pace yet, or no end in sight."""
        if not self.read or now <= self.began or self.read > self.total:
            return None
        return (self.total - self.read) * (now - self.began) / self.read


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`live`: lists at work, in the order of their beginning. `sum`: of these and all that ended."""

    live: tuple[Progress, ...]
    sum: Progress
    ended: int
    now: float


class ProgressTracker:
    """Safe to share between threads; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[Key, Progress] = {}
        self._past = Progress("", "", clock())
        self._ended = 0

    def planned(self, key: Key, kind: RunKind, total: int, windows: int) -> None:
        """A second run of one call (a resumed one comes first) adds to what the first had to do."""
        with self._lock:
            known = self._live.get(key) or Progress(" ".join(key), kind, self._clock())
            self._live[key] = replace(known, kind=kind, total=known.total + total, windows=known.windows + windows)

    def moved(self, key: Key, outcome: Outcome) -> None:
        self._add(key, outcome.members, outcome.pushed, is_done=outcome.rest is None)

    def read_back(self, key: Key, contacts: int, *, is_last: bool) -> None:
        """Counts contacts that were read back as read; the whole of it is one window."""
        self._add(key, contacts, 0, is_done=is_last)

    def _add(self, key: Key, read: int, pushed: int, *, is_done: bool) -> None:
        with self._lock:
            known = self._live.get(key)
            if known is not None:
                self._live[key] = replace(
                    known, read=known.read + read, pushed=known.pushed + pushed, done=known.done + is_done
                )

    def ended(self, key: Key) -> None:
        with self._lock:
            self._ended += 1
            gone = self._live.pop(key, None)
            if gone is not None:
                # What was planned and not done is no part of the sum any more: nobody is at work on it.
                self._past = _added(self._past, replace(gone, total=gone.read, windows=gone.done))

    def snapshot(self) -> Snapshot:
        with self._lock:
            everything = self._past
            for progress in self._live.values():
                everything = _added(everything, progress)
            return Snapshot(tuple(self._live.values()), everything, self._ended, self._clock())


def _added(one: Progress, other: Progress) -> Progress:
    return replace(
        one,
        total=one.total + other.total,
        windows=one.windows + other.windows,
        read=one.read + other.read,
        pushed=one.pushed + other.pushed,
        done=one.done + other.done,
    )
