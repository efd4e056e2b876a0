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
from mcimport.models.retries import Retry
from mcimport.report.reporter import Reporter
from mcimport.report.waits import LookUpsUnderWay, OpenRequests, PendingRetry, Waits

UNPLANNED_FOR = 1.0  # seconds after which a list is shown whose run is not planned yet: most have nothing to import
MANY_LOOK_UPS = 40  # ten seconds at four a second, in which hardly a page ends
_COUNTS = ("total", "windows", "earlier", "read", "pushed", "ahead", "done", "held_total", "held")


class Progress(Struct, frozen=True):
    """Holds the progress of one list, or of all.

    Attributes:
        began: a reading of the tracker's monotonic clock, in seconds.
        total, windows: the planned members and windows; 0 as long as nothing is planned.
        earlier: those of the members `read` that an earlier call has read.
        ahead: contacts that Ometria has accepted, of pages that are not done yet: neither read nor pushed counts them.
        held_total, held: the contacts of the list to read back from Ometria, and those that were.
        measured_from: when the time left is measured from, where that is later than `began`.
        passed: members that this call read before that; no sum has them.
        awaits_look_ups: pages wait for so many look-ups that what was read says nothing of the time left.
        is_comparison: both sides are read, and nothing is pushed.
    """

    name: str
    began: float
    total: int = 0
    windows: int = 0
    earlier: int = 0
    read: int = 0
    pushed: int = 0
    ahead: int = 0
    done: int = 0
    held_total: int = 0
    held: int = 0
    measured_from: float = 0.0
    passed: int = 0
    awaits_look_ups: bool = False
    is_comparison: bool = False

    @property
    def is_planned(self) -> bool:
        return self.windows > 0

    @property
    def is_at_first_pages(self) -> bool:
        """Says whether a planned run has no page yet whose contacts Ometria has taken."""
        return self.is_planned and self.read == self.earlier and not self.ahead

    def speed(self, now: float) -> float:
        """Returns contacts per second since the beginning: pushed or, in a comparison, read on both sides."""
        number = self._processed if self.is_comparison else self.pushed + self.ahead
        return number / (now - self.began) if now > self.began else 0.0

    def left(self, now: float) -> float | None:
        """Returns the seconds until the rest is read at the same speed.

        None before the first page, while pages wait for look-ups, and where more members were read than planned.
        """
        elapsed = now - max(self.began, self.measured_from)
        if self.awaits_look_ups or not self._processed or elapsed <= 0 or self.read > self.total:
            return None
        rest = max(0, self.total - self.read - self.ahead) + max(0, self.held_total - self.held)
        return rest * elapsed / self._processed

    def measured_again(self, now: float) -> Progress:
        """Returns it with the time left measured from now on: what was read before had another speed."""
        return replace(self, measured_from=now, passed=self.read - self.earlier + self.ahead, awaits_look_ups=False)

    @property
    def _processed(self) -> int:
        return self.read - self.earlier - self.passed + self.ahead + self.held


class Snapshot(Struct, frozen=True):
    """Holds all progress at one moment.

    Attributes:
        live: the lists that are being worked on, in the order in which they began.
        waits: what they wait for, by their names, in words.
        sum: the total of these and of the lists that have ended.
        ended: how many lists have ended.
        is_stopping: a stop was requested; `pages`: how many may still end.
        now: a reading of the tracker's clock.
    """

    live: tuple[Progress, ...]
    waits: tuple[tuple[str, str], ...]
    sum: Progress
    ended: int
    is_stopping: bool
    pages: int
    now: float

    @property
    def left(self) -> float | None:
        """Returns the seconds until the last of these lists is done; None where that of one is not known."""
        times = [progress.left(self.now) for progress in self.live if progress.is_planned]
        known = [seconds for seconds in times if seconds is not None]
        return max(known) if known and len(known) == len(times) else None


class ProgressTracker(Reporter):
    """Counts pages of several lists, and notes what they wait for. Safe to share between threads.

    Args:
        clock: monotonic, in seconds.
        is_stopping: says whether a stop was requested.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._clock = clock
        self._is_stopping = is_stopping
        self._lock = threading.Lock()
        self._live: dict[tuple[str, str], Progress] = {}
        self._waits: dict[tuple[str, str], Waits] = {}
        self._past = Progress("", clock())
        self._ended = 0

    def begun(self, client: str, list_key: str, run_id: int) -> None:  # noqa: ARG002
        with self._lock:
            self._live.setdefault((client, list_key), Progress(f"{client} {list_key}", self._clock()))

    def planned(
        self, client: str, list_key: str, kind: RunKind, total: int, windows: int, *, read: int = 0, done: int = 0
    ) -> None:
        """Adds a run to its list; a call that first resumes a run has two runs of one list."""
        is_comparison = kind == "reconcile"
        run = Progress(
            *("", 0, total, windows, read, read),
            done=done,
            held_total=total if is_comparison else 0,
        )
        if windows:
            with self._lock:
                progress = self._live.get((client, list_key))
                if progress is None or not progress.is_planned:
                    progress = Progress(f"{client} {list_key}", self._clock(), is_comparison=is_comparison)
                self._live[client, list_key] = _added(progress, run)

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        page = Progress("", 0, read=outcome.members, pushed=outcome.pushed, done=outcome.rest is None)
        with self._lock:
            if progress := self._live.get((client, list_key)):
                progress = _added(progress, page)
                self._live[client, list_key] = replace(progress, ahead=max(0, progress.ahead - outcome.pushed))

    def accepted(self, client: str, list_key: str, contacts: int) -> None:
        self._count(client, list_key, Progress("", 0, ahead=contacts))

    def reads_back(self, client: str, list_key: str, total: int) -> None:
        """Begins the count of contacts again: their speed is not that of the members, nor that of an earlier pass."""
        with self._lock:
            if progress := self._live.get((client, list_key)):
                passed = progress.read - progress.earlier
                self._live[client, list_key] = replace(
                    progress, began=self._clock(), passed=passed, held=0, held_total=total
                )

    def read_back(self, client: str, list_key: str, contacts: int, of_list: int, *, is_last: bool = False) -> None:  # noqa: ARG002
        self._count(client, list_key, Progress("", 0, held=of_list))

    def _count(self, client: str, list_key: str, page: Progress) -> None:
        with self._lock:
            if progress := self._live.get((client, list_key)):
                self._live[client, list_key] = _added(progress, page)

    def step(self, client: str, list_key: str, words: str) -> None:
        self._wait(client, list_key, step=words, settled_at=None)

    def settles(self, client: str, list_key: str, seconds: float) -> None:
        self._wait(client, list_key, settled_at=self._clock() + seconds)

    def finishes(self, client: str, list_key: str, pages: int) -> None:
        self._wait(client, list_key, pages=pages)

    def looks_up(self, client: str, list_key: str, contacts: int) -> None:
        with self._lock:
            waits = self._waits.get((client, list_key), Waits())
            look_ups = (waits.look_ups or LookUpsUnderWay(self._clock())).after(contacts)
            self._waits[client, list_key] = replace(waits, look_ups=look_ups)
            self._note_look_ups(client, list_key, look_ups)

    def _note_look_ups(self, client: str, list_key: str, look_ups: LookUpsUnderWay | None) -> None:
        progress = self._live.get((client, list_key))
        if progress is None:
            return
        if look_ups is None:
            progress = progress.measured_again(self._clock()) if progress.awaits_look_ups else progress
        elif look_ups.total - look_ups.done >= MANY_LOOK_UPS:
            progress = replace(progress, awaits_look_ups=True)
        self._live[client, list_key] = progress

    def retries(self, client: str, list_key: str, retry: Retry | None) -> None:
        thread = threading.get_ident()
        with self._lock:
            waits = self._waits.get((client, list_key), Waits())
            others = {other: pending for other, pending in waits.retries.items() if other != thread}
            own = {} if retry is None else {thread: PendingRetry(retry, self._clock() + retry.seconds)}
            self._waits[client, list_key] = replace(waits, retries={**others, **own})

    def requests(self, client: str, list_key: str, service: str, change: int) -> None:
        with self._lock:
            waits = self._waits.get((client, list_key), Waits())
            requests = dict(waits.requests)
            requests[service] = requests.get(service, OpenRequests()).after(change, self._clock())
            self._waits[client, list_key] = replace(waits, requests=requests)

    def _wait(self, client: str, list_key: str, **changed: Any) -> None:
        with self._lock:
            waits = self._waits.get((client, list_key), Waits())
            self._waits[client, list_key] = replace(waits, **changed)

    def ended(self, result: ListResult) -> None:
        with self._lock:
            self._ended += 1
            self._waits.pop((result.client, result.list_key), None)
            gone = self._live.pop((result.client, result.list_key), None)
            if gone is not None:
                # What was planned and not done leaves the sum, because this call will not do it.
                self._past = _added(
                    self._past, replace(gone, total=gone.read, windows=gone.done, held_total=gone.held, ahead=0)
                )

    def snapshot(self) -> Snapshot:
        with self._lock:
            now = self._clock()
            shown = {
                key: progress
                for key, progress in self._live.items()
                if progress.is_planned or now - progress.began >= UNPLANNED_FOR
            }
            words = ((progress.name, self._words(key, progress, now)) for key, progress in shown.items())
            live = tuple(shown.values())
            return Snapshot(
                live=live,
                waits=tuple((name, text) for name, text in words if text),
                sum=functools.reduce(_added, live, self._past),
                ended=self._ended,
                is_stopping=self._is_stopping(),
                pages=sum(waits.pages for waits in self._waits.values()),
                now=now,
            )

    def _words(self, key: tuple[str, str], progress: Progress, now: float) -> str:
        """Returns what a list waits for."""
        waits = self._waits.get(key, Waits())
        if progress.is_at_first_pages and not waits.step:
            waits = replace(waits, step="processing the first pages")
        return waits.words(now)


def _added(progress: Progress, other: Progress) -> Progress:
    counts: Any = {name: getattr(progress, name) + getattr(other, name) for name in _COUNTS}
    return replace(progress, **counts, is_comparison=progress.is_comparison or other.is_comparison)
