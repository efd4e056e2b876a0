"""The engine of many machines: this process coordinates, and workers elsewhere move the pages.

One message a page goes to the queue of the client's account, never more of a list at a time than it may have
connections. What became of each is recorded here, where the state file is, and only then acknowledged to the broker.
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from celery import Celery
from pydantic import SecretStr

from mcimport import limits, windows
from mcimport.config import Client
from mcimport.engine import broker
from mcimport.engine.errand import Errand
from mcimport.engine.line import Line
from mcimport.engine.local import LocalEngine
from mcimport.engine.orders import NOBODY, Order, OrderKind, Reply, is_same_work, sealed, settings_of
from mcimport.engine.shares import leaders
from mcimport.engine.tally import Tally, longest_first
from mcimport.engine.workplace import PAGE_DEADLINE, TAKEN_OVER
from mcimport.errors import (
    ConfigError,
    FatalError,
    InterruptedRunError,
    McimportError,
    ServiceDownError,
    StateError,
    UnreachableError,
)
from mcimport.models import Bounds, ContactRules, NewLetter, Outcome, Page, Window
from mcimport.run_converter import Welcome, allowed

LOOK_UP = 0.25  # seconds between two looks at whether a stop was asked for
NO_WORKER = 60.0  # seconds without any worker at the queue, after which there is none
LEND_ANEW = 300.0  # seconds between two notes in the state file that pages are out
BROKER_AWAY = 120.0  # seconds for which the broker may be away
AGAIN = 1.0  # seconds between two tries to reach it
LOOK_AT_QUEUE = 5.0  # seconds between two looks at who takes orders
OVERDUE = 2 * PAGE_DEADLINE + 120.0  # seconds of silence after which orders are taken to be lost with their broker
PAUSE = 1.0  # seconds before anything is sent again to a worker that leaves: it would come back at once
SUSPECT = 2  # workers that died while they had a page, after which it is a suspect


class RemoteEngine:
    """See `Engine`. Clients that share an account wait for each other: a worker keeps the account's limits, not we.

    `clients`: all that are configured, for what they share.
    """

    reads_here = False

    def __init__(self, address: SecretStr, clients: Iterable[Client]) -> None:
        self._app: Celery = broker.application(address)
        self._leaders = leaders(clients)
        self._locks = {name: threading.Lock() for name in set(self._leaders.values())}
        self._here = LocalEngine()

    def turn(self, client: Client) -> AbstractContextManager[object]:
        leader = self._leaders.get(client.name)
        return nullcontext() if leader is None else self._locks[leader]

    def drive(
        self,
        errand: Errand,
        windows: Sequence[Window],
        pages: Mapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        if errand.is_dry:
            return self._here.drive(errand, windows, pages, record)
        empty = {number: page for number, page in pages.items() if not page.members}
        self._here.drive(errand, [window for window in windows if window.number in empty], empty, record)
        rest = [window for window in windows if window.number not in empty]
        if not rest:
            return False
        line = Line(self._app, self._shard(errand.client), errand.memory, errand.client.name)
        rules, is_silenced = allowed(errand.services.mailchimp, errand.rules, errand.welcome, errand.warn)
        dispatch = _Dispatch(errand, rules, line, sorted(rest, key=longest_first), Tally(record), self._here)
        try:
            dispatch.run()
        finally:
            line.close()
            if dispatch.has_landed:
                errand.given_back()
        return is_silenced or dispatch.is_silenced

    def _shard(self, client: Client) -> int:
        leader = self._leaders.get(client.name)
        if leader is None:
            raise ConfigError(f"client {client.name}: a key of it could not be read when this command began")
        return broker.shard_of(leader)


@dataclass(slots=True)
class _Flight:
    """An order that is with the broker or a worker. `has_begun`: a worker announced so, as it does of suspects."""

    order_id: str
    window: Window
    has_begun: bool = False


class _Dispatch:
    """One run's windows: those to be sent, those under way, and those that a worker may have died of."""

    def __init__(
        self,
        errand: Errand,
        rules: ContactRules,
        line: Line,
        queue: Iterable[Window],
        tally: Tally,
        here: LocalEngine,
    ) -> None:
        self.is_silenced = False
        self._here = here
        self._errand = errand
        self._rules = rules
        self._line = line
        self._queue = deque(queue)
        self._tally = tally
        self._stop = errand.services.stop
        self._workers = errand.client.mailchimp.connections
        self._nonce = secrets.token_hex(8)
        self._seals = sealed(errand.client, self._nonce)
        self._settings = settings_of(errand.client, errand.list_key)
        self._epoch = 0
        self._fence: _Fence | None = None
        self._flying: dict[int, _Flight] = {}
        self._alone: deque[Window] = deque()  # those that a worker may have died of
        self._own: deque[Window] = deque()  # those that no worker ends in time
        self._losses: Counter[int] = Counter()
        self._late: Counter[int] = Counter()
        self._learned = Bounds()
        self._events = 0
        self._failure: McimportError | None = None
        self._nobody_since: float | None = None  # there is nobody at the queue
        self._looked = self._heard = self._lent = time.monotonic()
        self._not_before = 0.0

    def run(self) -> None:
        """Raises FatalError, ConfigError, ServiceDownError, InterruptedRunError or StateError."""
        self._lend()
        self._reopen()
        while self._is_open() and not self._leaving():
            try:
                self._fill()
                self._hear(LOOK_UP)
                self._move_own()
                self._look_at_queue()
            except UnreachableError:
                self._reopen()
        self._land()
        if self._failure:
            raise self._failure
        if self._stop.asked.is_set():
            raise InterruptedRunError("stopped")

    @property
    def has_landed(self) -> bool:
        """No worker has anything of the client's."""
        return not (self._fence or self._flying)

    def _is_open(self) -> bool:
        return bool(self._queue or self._flying or self._alone or self._own)

    def _leaving(self) -> bool:
        return self._failure is not None or self._stop.asked.is_set()

    def _land(self) -> None:
        """Pages under way may end, and are recorded; those that do not are another coordinator's to find."""
        deadline = time.monotonic() + limits.LEAVE_WITHIN
        while self._flying and time.monotonic() < deadline and not self._stop.now.is_set():
            try:
                self._hear(LOOK_UP)
            except UnreachableError:
                return

    # ---- the line

    def _reopen(self) -> None:
        """Also after the line broke: what was under way then may be so still, so a fence is put before it."""
        self._heard = time.monotonic()
        deadline = self._heard + BROKER_AWAY
        while True:
            try:
                self._line.open()
                self._put_fence()
            except UnreachableError as error:
                if time.monotonic() > deadline:
                    raise ServiceDownError(str(error), hint=error.hint) from None
                if self._stop.asked.wait(AGAIN):
                    raise InterruptedRunError("stopped") from None
            else:
                return

    def _put_fence(self, after: int = 0) -> None:
        """Nothing is sent until the worker says that nothing older is under way. `after`: an epoch that is known."""
        self._epoch = max(after + 1, self._epoch + 1, time.time_ns())
        flying, self._flying = list(self._flying.values()), {}
        for flight in flying:
            self._again(flight.window)
        order = self._order("fence", None)
        self._fence = _Fence(order.id)
        self._line.send(order)

    def _look_at_queue(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_AT_QUEUE or not (self._flying or self._fence):
            return
        self._looked = now
        if self._line.workers():
            self._nobody_since = None
        else:
            self._nobody_since = self._nobody_since or now
            if now - self._nobody_since > NO_WORKER:
                raise ServiceDownError(
                    f"no worker takes orders from {self._line.queue}",
                    hint="Is `mcimport worker` running, with this broker? The next `mcimport sync` goes on.",
                )
        if now - self._lent > LEND_ANEW:
            self._lend()
        if now - self._heard < OVERDUE:
            return
        if self._fence:
            raise ServiceDownError("no worker answers", hint="The next `mcimport sync` goes on where this one stopped.")
        self._heard = now
        self._put_fence()

    def _lend(self) -> None:
        self._lent = time.monotonic()
        self._errand.lent()

    # ---- out

    def _fill(self) -> None:
        if self._fence and self._fence.again and time.monotonic() > self._fence.again:
            self._put_fence()
        if self._fence or self._leaving() or time.monotonic() < self._not_before:
            return
        if any(self._is_alone(flight.window) for flight in self._flying.values()):
            return
        if self._alone or self._own:  # one at a time, and nothing beside it
            if self._alone and not self._flying:
                self._send(self._alone.popleft())
            return
        while self._queue and len(self._flying) < self._workers:
            self._send(self._queue.popleft())

    def _send(self, window: Window) -> None:
        asked = replace(window, bounds=window.bounds | self._learned)
        order = self._order("page", asked)
        self._flying[window.number] = _Flight(order.id, asked)
        self._line.send(order)

    def _again(self, window: Window) -> None:
        """To be sent once more, before all others."""
        (self._alone if self._is_alone(window) else self._queue).appendleft(window)

    def _is_alone(self, window: Window) -> bool:
        """A worker may have died of it."""
        return self._losses.get(window.number, 0) > 0

    def _move_own(self) -> None:
        """In this process, what no worker could end in the time that a broker gives it: here there is no such time.

        Nobody else is at work for the client then. Meanwhile the line may break, for nobody listens: it is made anew.
        """
        if self._fence or self._flying or self._alone or not self._own or self._leaving():
            return
        self._errand.services.ometria.rest(TAKEN_OVER)
        own, self._own = list(self._own), deque()
        welcome = Welcome(limit=self._welcome_left, most=0, events=())
        errand = replace(self._errand, rules=self._rules, welcome=welcome)
        self.is_silenced |= self._here.drive(errand, own, {}, self._record_own)
        self._reopen()

    def _record_own(self, outcome: Outcome) -> None:
        self._tally.take(outcome)
        self._events += outcome.events

    @property
    def _welcome_left(self) -> int:
        """Subscription events that the run may still cause."""
        return max(0, self._errand.welcome.limit - self._events)

    def _order(self, kind: OrderKind, window: Window | None) -> Order:
        errand = self._errand
        return Order(
            kind=kind,
            id=uuid.uuid4().hex,
            epoch=self._epoch,
            memory=errand.memory,
            reply_to=self._line.reply_to,
            client=errand.client.name,
            list_key=errand.list_key,
            run_id=errand.run_id,
            nonce=self._nonce,
            seals=self._seals,
            settings=self._settings,
            is_suspect=window is not None and self._losses.get(window.number, 0) >= SUSPECT,
            window=window,
            subscription_events=self._rules.subscription_events,
            new_since=self._rules.new_since,
            welcome_left=self._welcome_left,
            watched=tuple(sorted(errand.watched)),
            has_taken=errand.services.ometria.has_taken,
        )

    # ---- in

    def _hear(self, seconds: float) -> None:
        heard = self._line.hear(seconds)
        if heard is None:
            return
        if isinstance(heard.said, Order) or heard.said.worker != NOBODY:
            self._heard = time.monotonic()
        if heard.said.run_id == self._errand.run_id:  # of another run: nobody waits for it
            self._take(heard.said)
        if not isinstance(self._failure, StateError):  # else it is not on record: the next one is to hear it again
            heard.done()

    def _take(self, said: Reply | Order) -> None:
        if isinstance(said, Order):
            self._take_dead(said)
        elif self._fence is not None and said.id == self._fence.order_id:
            self._take_fence(said)
        elif said.kind == "moved":
            self._take_outcome(said)
        else:
            self._take_unmoved(said)

    def _take_fence(self, said: Reply) -> None:
        if said.kind in ("clear", "refused", "failed"):
            self._fence = None
        if said.kind in ("refused", "failed"):
            self._fail(said)
        elif said.kind == "outdated":
            self._put_fence(said.epoch)
        elif said.kind != "clear":  # the worker leaves: the next one is asked
            self._fence = _Fence("", again=time.monotonic() + PAUSE)

    def _take_outcome(self, said: Reply) -> None:
        """Whoever moved it, it is recorded once: a page that was given to another may have two outcomes."""
        outcome = said.outcome
        if outcome is None or not self._claim(outcome.window):
            return
        self._errand.services.meter.add(said.costs)
        self._errand.services.ometria.has_taken |= bool(outcome.pushed)
        self._errand.warn(*said.warnings)
        self.is_silenced |= said.is_silenced
        self._events += outcome.events
        for tally in (self._losses, self._late):
            tally.pop(outcome.window.number, None)
        if outcome.failed and self._failure:
            return  # what fails while the run ends is left pending, rather than filling the dead letters
        if outcome.rest:
            self._learned |= outcome.rest.bounds
            self._queue.appendleft(outcome.rest)
        self._record(outcome)

    def _claim(self, window: Window) -> bool:
        """Whether this very work is still to be done; it is not any more."""
        flight = self._flying.get(window.number)
        if flight is not None and is_same_work(flight.window, window):
            del self._flying[window.number]
            return True
        for waiting in (self._queue, self._alone, self._own):
            for one in waiting:
                if is_same_work(one, window):
                    waiting.remove(one)
                    return True
        return False

    def _take_unmoved(self, said: Reply) -> None:
        flight = self._flight_of(said.id)
        if flight is None:
            return
        if said.kind == "begun":
            flight.has_begun = True
            return
        window = self._flying.pop(flight.window.number).window
        if said.kind in ("refused", "failed"):
            self._fail(said)
        elif said.kind == "lost":
            self._lost(flight)
        elif said.kind == "late":
            self._was_late(window)
        else:
            self._again(window)
            self._not_before = time.monotonic() + PAUSE
            if said.kind == "outdated":  # another coordinator of this very state file: but there is a lock
                self._put_fence(said.epoch)

    def _flight_of(self, order_id: str) -> _Flight | None:
        return next((one for one in self._flying.values() if one.order_id == order_id), None)

    def _take_dead(self, order: Order) -> None:
        if self._fence is not None and order.id == self._fence.order_id:
            self._failure = self._failure or FatalError(
                "a worker does not understand what it is sent",
                hint="Another version of mcimport? Start workers and coordinator with the same.",
            )
        flight = self._flight_of(order.id)
        if flight is not None:
            self._bury(
                self._flying.pop(flight.window.number).window, "a worker rejected the page: a fault of mcimport's own"
            )

    def _lost(self, flight: _Flight) -> None:
        """A worker died while it had this page, perhaps of it: first it is sent alone of its client.

        If that worker dies, too, perhaps of another client's page, it is a suspect, of which a worker has one at a time
        and announces it. Then it is to blame.
        """
        window = flight.window
        if flight.has_begun:
            self._bury(window, f"{self._losses[window.number] + 1} workers died while they had this page")
            return
        self._losses[window.number] = min(SUSPECT, self._losses[window.number] + 1)
        self._alone.append(window)

    def _was_late(self, window: Window) -> None:
        """Half of it may be done in time; but a crowded second is read whole, and an account may be busy for hours."""
        self._late[window.number] += 1
        if self._late[window.number] == 1 and window.page > windows.SMALLEST_PAGE:
            self._again(replace(window, page=windows.half(window.page)))
        else:
            self._own.append(window)

    def _bury(self, window: Window, reason: str) -> None:
        letter = NewLetter("window", "transport", window.sweep, window.start, window.until, reason)
        self._record(Outcome(window=window, letters=(letter,), failed=True, began=int(time.time())))

    def _record(self, outcome: Outcome) -> None:
        try:
            self._tally.take(outcome)
        except McimportError as error:
            self._failure = self._failure or error

    def _fail(self, said: Reply) -> None:
        kind = ConfigError if said.kind == "refused" else FatalError
        self._failure = self._failure or kind(said.words, hint=said.hint)


@dataclass(frozen=True, slots=True)
class _Fence:
    """`again`: when it is to be put anew; 0 while it is waited for."""

    order_id: str
    again: float = 0.0
