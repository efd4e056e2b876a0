"""The windows of one run in a pool of threads; the thread that owns the state file records each outcome."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Protocol

from mcimport.engine.circuit_breaker import CircuitBreaker, longest_first
from mcimport.errors import InterruptedRunError, McimportError
from mcimport.models import Bounds, Outcome, Page, Window
from mcimport.services.connections import ClientServices
from mcimport.services.http import shutdown

LOOK_UP = 0.25  # seconds between two looks at whether a stop was requested


class ProcessPage(Protocol):
    """Processes one page of a window, in any thread; `page`: it was read already and is the whole window."""

    def __call__(self, window: Window, page: Page | None = None) -> Outcome: ...


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

    `record` is called in this thread, once for each page, and only then is the rest of its window processed. `pages`
    are first pages that are the whole of their window, by its number: they are processed in order, in this thread.
    Where requests do not end, the client's connections (`services`) are closed under them.

    Raises FatalError, ServiceDownError, InterruptedRunError or StateError; what was processed is recorded before.
    """
    breaker = CircuitBreaker(record)
    queue: deque[Window] = deque()
    for window in windows:
        page = pages.get(window.number)
        if page is None:
            queue.append(window)
            continue
        outcome = process(window, page)
        breaker.record(outcome)
        if services.stop.requested.is_set():
            raise InterruptedRunError("stopped")
    if queue:
        _Pool(process, deque(sorted(queue, key=longest_first)), breaker, services, workers).run()


class _Pool:
    """Processes windows in threads, one page each at a time; what a page shows of the API's bounds reaches the next."""

    def __init__(
        self,
        process: ProcessPage,
        queue: deque[Window],
        breaker: CircuitBreaker,
        services: ClientServices,
        workers: int,
    ) -> None:
        self._process = process
        self._queue = queue
        self._breaker = breaker
        self._stop = services.stop
        self._workers = workers
        self._give_up = services.abort
        self._learned = Bounds()
        self._in_flight: set[Future[Outcome]] = set()
        self._failure: McimportError | None = None

    def run(self) -> None:
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="window")
        try:
            while self._in_flight or (self._queue and not self._leaving()):
                self._fill(executor)
                self._collect(LOOK_UP)
                if self._leaving():
                    self._land()
        except BaseException:
            self._give_up()  # Ctrl-C without a handler, or a fault of ours: requests that may never end are cut off
            raise
        finally:
            # After a second Ctrl-C, threads that hang in a dead connection are left behind.
            executor.shutdown(wait=not self._stop.aborted.is_set(), cancel_futures=True)
        if self._failure:
            raise self._failure
        if self._stop.requested.is_set():
            raise InterruptedRunError("stopped")

    def _leaving(self) -> bool:
        return self._failure is not None or self._stop.requested.is_set()

    def _fill(self, executor: ThreadPoolExecutor) -> None:
        while self._queue and len(self._in_flight) < self._workers and not self._leaving():
            window = self._queue.popleft()
            window = replace(window, bounds=window.bounds | self._learned)
            self._in_flight.add(executor.submit(self._process, window))

    def _collect(self, seconds: float) -> None:
        done, self._in_flight = wait(self._in_flight, seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._take(future)

    def _take(self, future: Future[Outcome]) -> None:
        try:
            outcome = future.result()
            if outcome.failed and self._failure:
                return  # a page that fails while the run ends is left pending, and becomes no dead letter
            if outcome.rest:
                self._learned |= outcome.rest.bounds
                self._queue.appendleft(outcome.rest)
            self._breaker.record(outcome)
        except InterruptedRunError:
            return
        except McimportError as error:
            self._failure = self._failure or error

    def _land(self) -> None:
        """Lets pages in flight finish for a while; then closes the connections under the others, and wakes waits."""
        deadline = time.monotonic() + shutdown.LEAVE_WITHIN
        while self._in_flight and time.monotonic() < deadline and not self._stop.aborted.is_set():
            self._collect(LOOK_UP)
        if self._in_flight:
            self._give_up()
            self._collect(1.0)
            self._in_flight = set()
