"""The engine of one machine: a pool of threads; the thread that owns the state file records each outcome."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

from msgspec.structs import replace

from mcimport.config import Client
from mcimport.engine.interface import CircuitBreaker, RunSpec, longest_first, stage
from mcimport.engine.page.context import make_context
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.page.process import process_page
from mcimport.errors import InterruptedRunError, McimportError
from mcimport.errors.machine import submit
from mcimport.models import Bounds, Outcome, Page, Window
from mcimport.services.connections import ClientServices
from mcimport.services.http import shutdown
from mcimport.services.mailchimp.pagination import fits_in_one
from mcimport.services.ometria.sender import BatchSender

LOOK_UP = 0.25  # seconds between two looks at whether a stop was requested


FRESH = 60.0  # seconds for which a first page is used that was read before the windows were cut
MOST_AWAITED = 32  # pages that are converted, and wait for Ometria's answers

ProcessPage = Callable[[Window, Page | None, Callable[[Window], None]], Outcome]
"""Processes one page of a window, in any thread: see `process_page`, the third being its `on_read`."""


def run_windows(
    process: ProcessPage,
    windows: Iterable[Window],
    record: Callable[[Outcome], None],
    services: ClientServices,
    *,
    workers: int,
    pages: MutableMapping[int, Page],
    finishes: Callable[[int], None] = lambda _: None,
) -> None:
    """Processes all windows, a page at a time: `workers` pages at once, and more that are being sent.

    `record`, `pages`, and what is raised: see `Engine.run`; `finishes`: see `RunSpec`. The next page of a window is
    read when the last one is converted and there is room for more records, and is recorded after it. Windows that are
    all read already are processed in this thread. Where requests do not end, the client's connections (`services`) are
    closed under them.
    """
    breaker = CircuitBreaker(record)
    windows = list(windows)
    if not all(
        window.number in pages and fits_in_one(pages[window.number], pages[window.number].asked) for window in windows
    ):
        ordered = sorted(windows, key=longest_first)
        ordered.sort(key=lambda window: (stage(window), window.number not in pages))  # what is read is sent first
        _Pool(process, deque(map(_PageUnderWay, ordered)), pages, breaker, services, workers, finishes).run()
        return
    for window in windows:
        breaker.record(process(window, pages[window.number], lambda _: None))
        if services.stop.requested.is_set():
            raise InterruptedRunError("stopped")


@dataclass(eq=False)
class _PageUnderWay:
    """Follows one page of a window until it is recorded.

    Attributes:
        before: the page of the same window that must be recorded first.
        after: the next page of the same window, once that is queued.
        is_processed: its events have all been noted.
        is_lost: a page before it is not recorded, so that it must not be, either: the next run reads both again.
    """

    window: Window
    before: _PageUnderWay | None = None
    after: _PageUnderWay | None = None
    is_processed: bool = False
    is_lost: bool = False
    future: Future[Outcome] = field(default_factory=Future)


@dataclass(eq=False)
class _Pool:
    """Processes windows in threads; what a page shows of the API's bounds reaches the next.

    Attributes:
        pages: are taken out when they are processed, so that memory does not hold them for longer.
        reading: how many pages are being read and converted, or wait for room.
        events: pages that are processed, and pages of which the rest may be read, with the rest.
    """

    process: ProcessPage
    queue: deque[_PageUnderWay]
    pages: MutableMapping[int, Page]
    breaker: CircuitBreaker
    services: ClientServices
    workers: int
    finishes: Callable[[int], None]
    learned: Bounds = field(default_factory=Bounds)
    under_way: set[_PageUnderWay] = field(default_factory=set)
    reading: int = 0
    began: float = field(default_factory=time.monotonic)
    events: SimpleQueue[tuple[_PageUnderWay, Window | None]] = field(default_factory=SimpleQueue)
    failure: McimportError | None = None

    def run(self) -> None:
        executor = ThreadPoolExecutor(self.workers + MOST_AWAITED, thread_name_prefix="window")
        try:
            while self.under_way or (self.queue and not self._leaving()):
                self._fill(executor)
                self._collect(LOOK_UP)
                if self._leaving():
                    self._land()
        except BaseException:
            self.services.abort()  # Ctrl-C without a handler, or a fault of ours: requests may never end by themselves
            raise
        finally:
            # After a second Ctrl-C, threads that hang in a dead connection are left behind.
            executor.shutdown(wait=not self.services.stop.aborted.is_set(), cancel_futures=True)
        if self.failure:
            raise self.failure
        if self.services.stop.requested.is_set():
            raise InterruptedRunError("stopped")

    def _leaving(self) -> bool:
        return self.failure is not None or self.services.stop.requested.is_set()

    def _fill(self, executor: ThreadPoolExecutor) -> None:
        while self.queue and self.reading < self.workers and len(self.under_way) < self.workers + MOST_AWAITED:
            if self._leaving() or any(stage(page.window) < stage(self.queue[0].window) for page in self.under_way):
                return
            self._begin(executor, self.queue.popleft())

    def _begin(self, executor: ThreadPoolExecutor, page: _PageUnderWay) -> None:
        window = replace(page.window, bounds=page.window.bounds | self.learned)
        given = None if page.before or window.through is not None else self.pages.pop(window.number, None)
        if time.monotonic() - self.began > FRESH:
            given = None  # members on it may have changed since it was read: the window tells
        self.reading += 1
        self.under_way.add(page)
        page.future = submit(executor, partial(self.process, window, given, lambda rest: self.events.put((page, rest))))
        page.future.add_done_callback(lambda _: self.events.put((page, None)))

    def _collect(self, seconds: float) -> None:
        with suppress(Empty):
            self._note(*self.events.get(timeout=seconds))
            while True:
                self._note(*self.events.get_nowait())

    def _note(self, page: _PageUnderWay, rest: Window | None) -> None:
        """Queues the rest of a page's window; records the page once it is processed, and all that waited for that."""
        if rest is not None:
            self._queue_rest(page, rest, before=page)
            return
        page.is_processed = True
        self.reading -= page.after is None
        following: _PageUnderWay | None = page
        while following is not None and following.is_processed and following.before is None:
            following = self._end(following)

    def _queue_rest(self, page: _PageUnderWay, rest: Window, before: _PageUnderWay | None) -> None:
        self.learned |= rest.bounds
        page.after = _PageUnderWay(rest, before)
        self.queue.appendleft(page.after)
        self.reading -= before is not None

    def _end(self, page: _PageUnderWay) -> _PageUnderWay | None:
        """Records a page, and returns the next one of its window."""
        self.under_way.discard(page)
        is_recorded = not page.is_lost and self._take(page)
        if page.after is not None:
            page.after.before = None
            page.after.is_lost = not is_recorded
        return page.after

    def _take(self, page: _PageUnderWay) -> bool:
        """Records a page and returns whether it was recorded."""
        try:
            outcome = page.future.result()
            if outcome.failed and self.failure:
                return False  # a page that fails while the run ends is left pending, and becomes no dead letter
            if outcome.rest and page.after is None:
                self._queue_rest(page, outcome.rest, before=None)
            self.breaker.record(outcome)
        except InterruptedRunError:
            return False
        except McimportError as error:
            self.failure = self.failure or error
            return False
        return True

    def _land(self) -> None:
        """Lets pages in flight finish for a while; then closes the connections under the others, and wakes waits."""
        deadline = time.monotonic() + shutdown.LEAVE_WITHIN
        while self.under_way and time.monotonic() < deadline and not self.services.stop.aborted.is_set():
            self.finishes(len(self.under_way))
            self._collect(LOOK_UP)
        if self.under_way:
            self.services.abort()
            self._collect(1.0)
            self.under_way = set()


class LocalEngine:
    """Processes pages in this process: see `Engine`. Each client has ten threads, started for the second page."""

    is_local = True

    def client_lock(self, _client: Client) -> AbstractContextManager[object]:
        """Returns a lock that locks nothing: clients of one account share its limits within this process."""
        return nullcontext()

    def run(
        self,
        spec: RunSpec,
        windows: Sequence[Window],
        pages: MutableMapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        services = spec.services
        converter = RunConverter(services.mailchimp, spec.fields, spec.rules, spec.event_budget, spec.warn)
        known_good, accepted = spec.account_known_good, spec.accepted
        make = partial(BatchSender, services.ometria, account_known_good=known_good, accepted=accepted)
        sender = None if spec.is_dry else make()
        is_blind = spec.is_dry or spec.is_first
        held = HeldLookups(services.contacts, spec.imported_until, spec.look_ups, spec.looks_up)
        context = replace(
            make_context(services, spec.list_key, converter, sender),
            rules=spec.rules,
            held=None if is_blind else held,
            watched=spec.watched,
            never_sent=spec.never_sent,
            sample_size=0 if spec.is_dry else spec.client.ometria.spot_check,
        )
        run_windows(
            lambda window, page, on_read: process_page(window, context, page, on_read=on_read),
            *(windows, record, services),
            workers=spec.client.mailchimp.connections,
            pages=pages,
            finishes=spec.finishes,
        )
        return converter.is_silenced
