"""The engine of one machine: a pool of threads; the thread that owns the state file records each outcome."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from mcimport.config import Client
from mcimport.engine.interface import CircuitBreaker, RunSpec, longest_first
from mcimport.engine.page.context import make_context
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.page.process import process_page
from mcimport.errors import InterruptedRunError, McimportError
from mcimport.models import Bounds, Outcome, Page, Window
from mcimport.services.connections import ClientServices
from mcimport.services.http import shutdown

LOOK_UP = 0.25  # seconds between two looks at whether a stop was requested


ProcessPage = Callable[[Window, Page | None], Outcome]
"""Processes one page of a window, in any thread; a page that is given was read already and is the whole window."""


def run_windows(
    process: ProcessPage,
    windows: Iterable[Window],
    record: Callable[[Outcome], None],
    services: ClientServices,
    *,
    workers: int,
    pages: Mapping[int, Page],
) -> None:
    """Processes all windows, a page at a time, in a pool of `workers` threads.

    `record`, `pages`, and what is raised: see `Engine.run`. The rest of a window is processed once its page is
    recorded; given pages are processed in order, in this thread. Where requests do not end, the client's connections
    (`services`) are closed under them.
    """
    breaker = CircuitBreaker(record)
    queue: deque[Window] = deque()
    for window in windows:
        page = pages.get(window.number)
        if page is None:
            queue.append(window)
            continue
        breaker.record(process(window, page))
        if services.stop.requested.is_set():
            raise InterruptedRunError("stopped")
    if queue:
        _Pool(process, deque(sorted(queue, key=longest_first)), breaker, services, workers).run()


@dataclass(eq=False)
class _Pool:
    """Processes windows in threads, one page each at a time; what a page shows of the API's bounds reaches the next."""

    process: ProcessPage
    queue: deque[Window]
    breaker: CircuitBreaker
    services: ClientServices
    workers: int
    learned: Bounds = field(default_factory=Bounds)
    in_flight: set[Future[Outcome]] = field(default_factory=set)
    failure: McimportError | None = None

    def run(self) -> None:
        executor = ThreadPoolExecutor(self.workers, thread_name_prefix="window")
        try:
            while self.in_flight or (self.queue and not self._leaving()):
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
        while self.queue and len(self.in_flight) < self.workers and not self._leaving():
            window = self.queue.popleft()
            window = replace(window, bounds=window.bounds | self.learned)
            self.in_flight.add(executor.submit(self.process, window, None))

    def _collect(self, seconds: float) -> None:
        done, self.in_flight = wait(self.in_flight, seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._take(future)

    def _take(self, future: Future[Outcome]) -> None:
        try:
            outcome = future.result()
            if outcome.failed and self.failure:
                return  # a page that fails while the run ends is left pending, and becomes no dead letter
            if outcome.rest:
                self.learned |= outcome.rest.bounds
                self.queue.appendleft(outcome.rest)
            self.breaker.record(outcome)
        except InterruptedRunError:
            return
        except McimportError as error:
            self.failure = self.failure or error

    def _land(self) -> None:
        """Lets pages in flight finish for a while; then closes the connections under the others, and wakes waits."""
        deadline = time.monotonic() + shutdown.LEAVE_WITHIN
        while self.in_flight and time.monotonic() < deadline and not self.services.stop.aborted.is_set():
            self._collect(LOOK_UP)
        if self.in_flight:
            self.services.abort()
            self._collect(1.0)
            self.in_flight = set()


class LocalEngine:
    """Processes pages in this process: see `Engine`. Each client has ten threads, started for the second page."""

    is_local = True

    def client_lock(self, _client: Client) -> AbstractContextManager[object]:
        """Returns a lock that locks nothing: clients of one account share its limits within this process."""
        return nullcontext()

    def run(
        self, spec: RunSpec, windows: Sequence[Window], pages: Mapping[int, Page], record: Callable[[Outcome], None]
    ) -> bool:
        services = spec.services
        converter = RunConverter(services.mailchimp, spec.fields, spec.rules, spec.event_budget, spec.warn)
        is_blind = spec.is_dry or spec.is_first
        context = replace(
            make_context(services, spec.list_key, converter, is_dry=spec.is_dry),
            rules=spec.rules,
            held=None if is_blind else HeldLookups(services.contacts, spec.imported_until, spec.look_ups),
            watched=spec.watched,
            never_sent=spec.never_sent,
            account_known_good=spec.account_known_good,
            sample_size=0 if spec.is_dry else spec.client.ometria.spot_check,
        )
        run_windows(
            lambda window, page: process_page(window, context, page),
            *(windows, record, services),
            workers=spec.client.mailchimp.connections,
            pages=pages,
        )
        return converter.is_silenced
