"""One run over the broker: one message a page goes out, and what became of it comes in, whatever breaks meanwhile.

An outcome is recorded, and only then acknowledged to the broker.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace

from mcimport.engine.circuit_breaker import CircuitBreaker
from mcimport.engine.distributed.broker_channel import BrokerChannel, Received
from mcimport.engine.distributed.executor import PAGE_DEADLINE, TAKEN_OVER
from mcimport.engine.distributed.messages import Order, OrderKind, Reply, settings_of
from mcimport.engine.distributed.work_queue import InFlight, WorkQueue
from mcimport.engine.interface import RunSpec
from mcimport.engine.local import LocalEngine
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.errors import (
    ConfigError,
    FatalError,
    InterruptedRunError,
    McimportError,
    ServiceDownError,
    StateError,
    UnreachableError,
)
from mcimport.models import ContactRules, LookUps, NewDeadLetter, Outcome, Window
from mcimport.report.format import duration
from mcimport.services.http import retry

LOOK_UP = 0.25  # seconds between two looks at whether a stop was asked for
NO_WORKER = 60.0  # seconds without any worker at the queue, after which there is none
LEND_ANEW = 300.0  # seconds between two notes in the state file that pages are out
BROKER_AWAY = 120.0  # seconds for which the broker may be away
STEADY = 10.0  # seconds for which a line has to hold, to count as one
AGAIN = 1.0  # seconds between two tries to reach it
LOOK_AT_QUEUE = 5.0  # seconds between two looks at who takes orders
OVERDUE = 2 * PAGE_DEADLINE + 120.0  # seconds of silence after which orders are taken to be lost with their broker
PAUSE = 1.0  # seconds before anything is sent again to a worker that leaves: it would come back at once
_RESUMES = "Nothing is lost: the next `mcimport sync` resumes where this one stopped."


@dataclass(frozen=True, slots=True)
class _Fence:
    """`again`: when it is to be put anew; 0 while it is waited for."""

    order_id: str
    again: float = 0.0


class Coordinator:
    """Belongs to one thread.

    Args:
        account_group: the first name among the clients that share an account with this one.
        channel: not open yet.
        here: does what no worker brings to an end.

    Attributes:
        is_silenced: subscription events were kept back.
    """

    def __init__(
        self,
        spec: RunSpec,
        rules: ContactRules,
        account_group: str,
        channel: BrokerChannel,
        queue: WorkQueue,
        breaker: CircuitBreaker,
        here: LocalEngine,
    ) -> None:
        self.is_silenced = False
        self._spec = spec
        self._rules = rules
        self._channel = channel
        self._queue = queue
        self._breaker = breaker
        self._here = here
        self._stop = spec.services.stop
        self._settings = settings_of(spec.client, spec.list_key, account_group)
        self._epoch = 0
        self._fence: _Fence | None = None
        self._is_clear = False  # the last fence stands
        self._worker_token = ""  # of the worker that said so
        self._is_unfenced = False  # another worker has taken over, who did not
        self._was_silent = False  # for so long that a fence was put, and no page was answered since
        self._events = 0
        self._looked_up = LookUps()
        self._failure: McimportError | None = None
        self._nobody_since: float | None = None  # there is nobody at the queue
        self._opened: float | None = None
        self._said_away = False
        self._lent: float | None = None
        self._looked = self._last_received = self._away_since = time.monotonic()
        self._not_before = 0.0

    def run(self) -> None:
        """Raises FatalError, ConfigError, ServiceDownError, InterruptedRunError or StateError."""
        self._reopen()
        while not (self._queue.is_empty or self._is_leaving):
            try:
                self._fill()
                self._receive(LOOK_UP)
                self._run_locally()
                self._look_at_queue()
            except UnreachableError as error:
                self._broke(error)
                self._reopen()
        self._land()
        if self._failure:
            raise self._failure
        if self._stop.requested.is_set():
            raise InterruptedRunError("stopped")

    @property
    def has_landed(self) -> bool:
        """No worker has anything of the client's: one said so, and what was sent since was answered."""
        return self._is_clear and not self._queue.is_under_way

    @property
    def _is_leaving(self) -> bool:
        return self._failure is not None or self._stop.requested.is_set()

    def _land(self) -> None:
        """Pages under way may end, and are recorded; those that do not are another coordinator's to find."""
        deadline = time.monotonic() + retry.LEAVE_WITHIN
        while self._queue.is_under_way and time.monotonic() < deadline and not self._stop.aborted.is_set():
            try:
                self._receive(LOOK_UP)
            except UnreachableError:
                return

    # ---- the line

    def _reopen(self) -> None:
        """Also after the line broke: what was under way then may be so still, so a fence is put before it."""
        while True:
            try:
                self._channel.open()
                self._put_fence()
            except UnreachableError as error:
                self._broke(error)
            else:
                self._opened = self._last_received = time.monotonic()
                return

    def _broke(self, error: UnreachableError) -> None:
        """Waits a little before the next try. Raises ServiceDownError where the line has not held for too long."""
        now = time.monotonic()
        if self._opened is not None and now - self._opened > STEADY:
            self._away_since = now
            self._said_away = False
        self._opened = None
        if not self._said_away:
            self._said_away = True
            self._spec.waits(f"{error}; retrying for up to {duration(BROKER_AWAY)}")
        if now - self._away_since > BROKER_AWAY:
            raise ServiceDownError(str(error), hint=error.hint) from None
        if self._stop.requested.wait(AGAIN):
            raise InterruptedRunError("stopped") from None

    def _put_fence(self, after: int = 0) -> None:
        """Nothing is sent until the worker says that nothing older is under way. `after`: an epoch that is known."""
        self._epoch = max(after + 1, self._epoch + 1, time.time_ns())
        self._is_clear = self._is_unfenced = False
        self._queue.recall()
        order = self._order("fence", uuid.uuid4().hex, None)
        self._fence = _Fence(order.id)
        self._channel.send(order)

    def _look_at_queue(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_AT_QUEUE or self.has_landed:
            return
        self._looked = now
        self._look_for_workers(now)
        if self._lent is not None and now - self._lent > LEND_ANEW:
            self._lend()
        if now - self._last_received < OVERDUE:
            return
        if self._fence or self._was_silent:
            raise ServiceDownError("no worker answers", hint=_RESUMES)
        self._last_received = now
        self._was_silent = True
        self._put_fence()

    def _look_for_workers(self, now: float) -> None:
        if self._channel.workers():
            self._nobody_since = None
            return
        if self._nobody_since is None:
            self._nobody_since = now
            self._spec.waits(f"no worker connected yet; waiting up to {duration(NO_WORKER)}")
        if now - self._nobody_since > NO_WORKER:
            raise ServiceDownError(
                f"no worker is connected to queue {self._channel.queue}",
                hint=f"Is `mcimport worker` running, with the same broker? {_RESUMES}",
            )

    def _lend(self) -> None:
        """Before the first page goes out: a note of a coordinator before us stays as it is until a fence stands."""
        self._lent = time.monotonic()
        self._spec.lent()

    # ---- out

    def _fill(self) -> None:
        if self._fence and self._fence.again and time.monotonic() > self._fence.again:
            self._put_fence()
        if self._is_unfenced and not self._fence and not self._queue.is_under_way:
            self._put_fence()
        if self._fence or self._is_unfenced or time.monotonic() < self._not_before:
            return
        while (window := self._queue.begin(order_id := uuid.uuid4().hex)) is not None:
            if self._lent is None:
                self._lend()
            self._spec.services.ometria.may_have_taken = True  # a worker's push is one that nobody here sees
            self._channel.send(self._order("page", order_id, window))

    def _run_locally(self) -> None:
        """In this process, what no worker brings to an end: here there is no time that a broker gives it.

        Nobody else is at work for the client then. Meanwhile the line may break, for nobody listens: it is made anew.
        """
        if self._fence or self._is_leaving or not (local := self._queue.take_local_work()):
            return
        self._spec.services.pause(TAKEN_OVER)
        event_budget = EventBudget(limit=self._events_left, most=0, events=())
        spec = replace(self._spec, rules=self._rules, event_budget=event_budget, look_ups=self._look_ups_left)
        self.is_silenced |= self._here.run(spec, local, {}, self._record_local)
        self._reopen()

    def _record_local(self, outcome: Outcome) -> None:
        self._breaker.record(outcome)
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        """What the orders from now on have to say: what the run may only do so often, and what was seen of the list."""
        self._events += outcome.events
        self._looked_up += outcome.looked_up
        if outcome.has_sms:
            self._rules = replace(self._rules, has_sms=True)

    @property
    def _events_left(self) -> int:
        """Subscription events that the run may still cause."""
        return max(0, self._spec.event_budget.limit - self._events)

    @property
    def _look_ups_left(self) -> LookUps:
        return self._spec.look_ups.less(self._looked_up)

    def _order(self, kind: OrderKind, order_id: str, window: Window | None) -> Order:
        spec = self._spec
        return Order(
            kind=kind,
            id=order_id,
            epoch=self._epoch,
            state_id=spec.state_id,
            reply_to=self._channel.reply_to,
            client=spec.client.name,
            list_key=spec.list_key,
            run_id=spec.run_id,
            settings=self._settings,
            worker_token=self._worker_token if kind == "page" else "",
            is_suspect=window is not None and self._queue.is_suspect(window),
            window=window,
            subscription_events=self._rules.subscription_events,
            new_since=self._rules.new_since,
            until=self._rules.until,
            has_sms=self._rules.has_sms,
            permissions=tuple(sorted(self._rules.permissions)),
            is_first=spec.is_first,
            carried_until=spec.carried_until,
            look_ups=self._look_ups_left,
            events_left=self._events_left,
            watched=dict(spec.watched),
            never_sent=spec.never_sent,
            has_taken=spec.services.ometria.has_taken,
        )

    # ---- in

    def _receive(self, seconds: float) -> None:
        received = self._channel.receive(seconds)
        if received is None:
            return
        if self._is_awaited(received.message.id) and not received.is_expired:
            self._last_received = time.monotonic()
        if (received.message.run_id, received.message.state_id) == (self._spec.run_id, self._spec.state_id):
            self._take(received)  # of another run: nobody waits for it
        self._done(received)

    def _is_awaited(self, order_id: str) -> bool:
        return self._is_fence(order_id) or self._queue.has(order_id)

    def _is_fence(self, order_id: str) -> bool:
        return self._fence is not None and self._fence.order_id == order_id

    def _done(self, received: Received) -> None:
        if not isinstance(self._failure, StateError):  # else it is not on record: the next one is to hear it again
            received.done()

    def _take(self, received: Received) -> None:
        message = received.message
        if isinstance(message, Order):
            self._take_back(message, received)
        elif self._is_fence(message.id):
            self._take_fence(message)
        else:
            self._was_silent = False
            self._take_page(message)

    def _take_page(self, message: Reply) -> None:
        if message.kind == "moved":
            self._take_outcome(message)
        elif message.kind == "begun":
            self._queue.begun(message.id)
        elif (in_flight := self._queue.land(message.id)) is not None:
            self._take_unmoved(message, in_flight)

    def _take_fence(self, message: Reply) -> None:
        if message.kind == "clear":
            self._fence, self._is_clear, self._worker_token = None, True, message.worker_token
        elif message.kind in ("refused", "failed"):
            self._fail(message)
        elif message.kind == "outdated":
            self._put_fence(message.epoch)
        else:  # the worker leaves: the next one is asked
            self._fence = _Fence("", again=time.monotonic() + PAUSE)

    def _take_outcome(self, message: Reply) -> None:
        outcome = message.outcome
        if outcome is None or outcome.window is None or not self._queue.claim(message.id, outcome.window):
            return
        self._spec.services.meter.add(message.costs)
        self._spec.services.ometria.has_taken |= bool(outcome.pushed)
        self._spec.warn(*message.warnings)
        self.is_silenced |= message.is_silenced
        self._count(outcome)
        if outcome.failed and self._failure:
            return  # what fails while the run ends is left pending, rather than filling the dead letters
        if outcome.rest:
            self._queue.add_rest(outcome.rest)
        self._record(outcome)

    def _take_unmoved(self, message: Reply, in_flight: InFlight) -> None:
        window = in_flight.window
        if message.kind in ("refused", "failed"):
            self._fail(message)
        elif message.kind == "lost":
            if self._queue.worker_lost(in_flight):
                self._add_dead_letter(window, f"{self._queue.losses(window)} workers died while processing this page")
        elif message.kind == "late":
            self._queue.timed_out(window)
        elif (
            message.kind == "unfenced"
        ):  # the others that are under way are answered first: one may be what its worker died of
            self._queue.again(window)
            self._is_unfenced = True
        else:
            self._take_given_back(message, window)

    def _take_given_back(self, message: Reply, window: Window) -> None:
        self._not_before = time.monotonic() + PAUSE
        if message.kind == "revoked":
            self._queue.revoked(window)
        else:
            self._queue.again(window)
        if message.kind == "outdated":  # another coordinator of this very state file: but there is a lock
            self._put_fence(message.epoch)

    def _take_back(self, order: Order, received: Received) -> None:
        """Why it comes back is anybody's word (see `Received`), and says nothing of the page: nobody is buried for it.

        A fence tells what the worker is, and ends first what it may still have of the page.
        """
        if not self._is_fence(order.id):
            self._take_page_back(order)
        elif received.is_expired:
            self._fence = _Fence("", again=time.monotonic() + PAUSE)
        else:
            self._failure = self._failure or _not_opened(received.unopened)

    def _take_page_back(self, order: Order) -> None:
        if not self._queue.has(order.id):
            return
        if (in_flight := self._queue.land(order.id)) is not None:
            self._queue.revoked(in_flight.window)
        self._put_fence()

    def _add_dead_letter(self, window: Window, reason: str) -> None:
        letter = NewDeadLetter("window", "transport", window.sweep, window.start, window.until, reason)
        self._record(Outcome(window=window, letters=(letter,), failed=True, began=int(time.time())))

    def _record(self, outcome: Outcome) -> None:
        try:
            self._breaker.record(outcome)
        except McimportError as error:
            self._failure = self._failure or error

    def _fail(self, message: Reply) -> None:
        kind = ConfigError if message.kind == "refused" else FatalError
        self._failure = self._failure or kind(message.words, hint=message.hint)


def _not_opened(unopened: str) -> McimportError:
    if unopened:
        return ConfigError(
            unopened,
            hint="Use the same configuration and the same keys for workers and coordinator, then restart the workers.",
        )
    return FatalError(
        "a worker did not understand the message that it was sent",
        hint="Use the same version of mcimport for workers and coordinator.",
    )
