"""The windows of one run through a pool of workers; the thread that owns the state file writes each outcome down."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from mcimport.engine.circuit_breaker import CircuitBreaker, longest_first
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.process import process_page
from mcimport.errors import InterruptedRunError, McimportError
from mcimport.models import Bounds, Outcome, Page, Window
from mcimport.services.http import shutdown
from mcimport.services.http.shutdown import StopSignal

LOOK_UP = 0.25  # seconds between two looks at whether a stop was asked for


def run_windows(
    context: PageContext,
    windows: Iterable[Window],
    record: Callable[[Outcome], None],
    *,
    stop: StopSignal,
    workers: int,
    pages: Mapping[int, Page],
    give_up: Callable[[], None],
) -> None:
    """Works off all windows; `record` is called in this thread, once for each page, and only then is it acknowledged.

    `pages` are first pages that are the whole of their window, by its number: they are moved in order, without any
    worker. `give_up` closes the connections under requests that do not end, and wakes what waits.

    Raises FatalError, ServiceDownError, InterruptedRunError or StateError; what was moved is recorded before.
    """
    breaker = CircuitBreaker(record)
    queue: deque[Window] = deque()
    for window in windows:
        page = pages.get(window.number)
        if page is None:
            queue.append(window)
            continue
        outcome = process_page(window, context, page)
        breaker.record(outcome)
        if stop.requested.is_set():
            raise InterruptedRunError("stopped")
    if queue:
        _Pool(context, deque(sorted(queue, key=longest_first)), breaker, stop, workers, give_up).run()


class _Pool:
    """Ten workers at most, each with one page at a time; what was learned of the bounds reaches the next pages."""

    def __init__(
        self,
        context: PageContext,
        queue: deque[Window],
        breaker: CircuitBreaker,
        stop: StopSignal,
        workers: int,
        give_up: Callable[[], None],
    ) -> None:
        self._context = context
        self._queue = queue
        self._breaker = breaker
        self._stop = stop
        self._workers = workers
        self._give_up = give_up
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
            self._give_up()  # Ctrl-C without a handler, or a fault of ours: nobody waits for what may never end
            raise
        finally:
            # Threads that hang in a dead connection are left behind; who asked to leave now does not wait for them.
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
            self._in_flight.add(executor.submit(process_page, window, self._context))

    def _collect(self, seconds: float) -> None:
        done, self._in_flight = wait(self._in_flight, seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._take(future)

    def _take(self, future: Future[Outcome]) -> None:
        try:
            outcome = future.result()
            if outcome.failed and self._failure:
                return  # what fails while the run ends is left pending, rather than filling the dead letters
            if outcome.rest:
                self._learned |= outcome.rest.bounds
                self._queue.appendleft(outcome.rest)
            self._breaker.record(outcome)
        except InterruptedRunError:
            return
        except McimportError as error:
            self._failure = self._failure or error

    def _land(self) -> None:
        """Pages in flight may finish; then the connections are closed under those that do not, and waits are woken."""
        deadline = time.monotonic() + shutdown.LEAVE_WITHIN
        while self._in_flight and time.monotonic() < deadline and not self._stop.aborted.is_set():
            self._collect(LOOK_UP)
        if self._in_flight:
            self._give_up()
            self._collect(1.0)
            self._in_flight = set()
