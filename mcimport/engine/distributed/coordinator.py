"""One run over the broker: one message a page goes out, and what became of it comes in, whatever breaks meanwhile.

An outcome is recorded, and only then acknowledged to the broker.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace

from mcimport.engine.circuit_breaker import Tally
from mcimport.engine.distributed.backlog import Backlog, Flight
from mcimport.engine.distributed.channel import Heard, Line
from mcimport.engine.distributed.executor import PAGE_DEADLINE, TAKEN_OVER
from mcimport.engine.distributed.messages import Order, OrderKind, Reply, settings_of
from mcimport.engine.interface import Errand
from mcimport.engine.local import LocalEngine
from mcimport.engine.page.converter import Welcome
from mcimport.errors import (
    ConfigError,
    FatalError,
    InterruptedRunError,
    McimportError,
    ServiceDownError,
    StateError,
    UnreachableError,
)
from mcimport.models import ContactRules, LookUps, NewLetter, Outcome, Window
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


class Dispatch:
    """Belongs to one thread.

    Args:
        leader: the first name among the clients that share an account with this one.
        line: not open yet.
        here: does what no worker brings to an end.

    Attributes:
        is_silenced: subscription events were kept back.
    """

    def __init__(
        self,
        errand: Errand,
        rules: ContactRules,
        leader: str,
        line: Line,
        backlog: Backlog,
        tally: Tally,
        here: LocalEngine,
    ) -> None:
        self.is_silenced = False
        self._errand = errand
        self._rules = rules
        self._line = line
        self._backlog = backlog
        self._tally = tally
        self._here = here
        self._stop = errand.services.stop
        self._settings = settings_of(errand.client, errand.list_key, leader)
        self._epoch = 0
        self._fence: _Fence | None = None
        self._is_clear = False  # the last fence stands
        self._session = ""  # of the worker that said so
        self._is_unfenced = False  # another worker has taken over, who did not
        self._was_silent = False  # for so long that a fence was put, and no page was answered since
        self._events = 0
        self._looked_up = LookUps()
        self._failure: McimportError | None = None
        self._nobody_since: float | None = None  # there is nobody at the queue
        self._opened: float | None = None
        self._said_away = False
        self._lent: float | None = None
        self._looked = self._heard = self._away_since = time.monotonic()
        self._not_before = 0.0

    def run(self) -> None:
        """Raises FatalError, ConfigError, ServiceDownError, InterruptedRunError or StateError."""
        self._reopen()
        while not (self._backlog.is_empty or self._is_leaving):
            try:
                self._fill()
                self._hear(LOOK_UP)
                self._move_own()
                self._look_at_queue()
            except UnreachableError as error:
                self._broke(error)
                self._reopen()
        self._land()
        if self._failure:
            raise self._failure
        if self._stop.asked.is_set():
            raise InterruptedRunError("stopped")

    @property
    def has_landed(self) -> bool:
        """No worker has anything of the client's: one said so, and what was sent since was answered."""
        return self._is_clear and not self._backlog.is_under_way

    @property
    def _is_leaving(self) -> bool:
        return self._failure is not None or self._stop.asked.is_set()

    def _land(self) -> None:
        """Pages under way may end, and are recorded; those that do not are another coordinator's to find."""
        deadline = time.monotonic() + retry.LEAVE_WITHIN
        while self._backlog.is_under_way and time.monotonic() < deadline and not self._stop.now.is_set():
            try:
                self._hear(LOOK_UP)
            except UnreachableError:
                return

    # ---- the line

    def _reopen(self) -> None:
        """Also after the line broke: what was under way then may be so still, so a fence is put before it."""
        while True:
            try:
                self._line.open()
                self._put_fence()
            except UnreachableError as error:
                self._broke(error)
            else:
                self._opened = self._heard = time.monotonic()
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
            self._errand.waits(f"{error}; retrying for up to {duration(BROKER_AWAY)}")
        if now - self._away_since > BROKER_AWAY:
            raise ServiceDownError(str(error), hint=error.hint) from None
        if self._stop.asked.wait(AGAIN):
            raise InterruptedRunError("stopped") from None

    def _put_fence(self, after: int = 0) -> None:
        """Nothing is sent until the worker says that nothing older is under way. `after`: an epoch that is known."""
        self._epoch = max(after + 1, self._epoch + 1, time.time_ns())
        self._is_clear = self._is_unfenced = False
        self._backlog.recall()
        order = self._order("fence", uuid.uuid4().hex, None)
        self._fence = _Fence(order.id)
        self._line.send(order)

    def _look_at_queue(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_AT_QUEUE or self.has_landed:
            return
        self._looked = now
        self._look_for_workers(now)
        if self._lent is not None and now - self._lent > LEND_ANEW:
            self._lend()
        if now - self._heard < OVERDUE:
            return
        if self._fence or self._was_silent:
            raise ServiceDownError("no worker answers", hint=_RESUMES)
        self._heard = now
        self._was_silent = True
        self._put_fence()

    def _look_for_workers(self, now: float) -> None:
        if self._line.workers():
            self._nobody_since = None
            return
        if self._nobody_since is None:
            self._nobody_since = now
            self._errand.waits(f"no worker connected yet; waiting up to {duration(NO_WORKER)}")
        if now - self._nobody_since > NO_WORKER:
            raise ServiceDownError(
                f"no worker is connected to queue {self._line.queue}",
                hint=f"Is `mcimport worker` running, with the same broker? {_RESUMES}",
            )

    def _lend(self) -> None:
        """Before the first page goes out: a note of a coordinator before us stays as it is until a fence stands."""
        self._lent = time.monotonic()
        self._errand.lent()

    # ---- out

    def _fill(self) -> None:
        if self._fence and self._fence.again and time.monotonic() > self._fence.again:
            self._put_fence()
        if self._is_unfenced and not self._fence and not self._backlog.is_under_way:
            self._put_fence()
        if self._fence or self._is_unfenced or time.monotonic() < self._not_before:
            return
        while (window := self._backlog.begin(order_id := uuid.uuid4().hex)) is not None:
            if self._lent is None:
                self._lend()
            self._errand.services.ometria.perhaps_taken = True  # a worker's push is one that nobody here sees
            self._line.send(self._order("page", order_id, window))

    def _move_own(self) -> None:
        """In this process, what no worker brings to an end: here there is no time that a broker gives it.

        Nobody else is at work for the client then. Meanwhile the line may break, for nobody listens: it is made anew.
        """
        if self._fence or self._is_leaving or not (own := self._backlog.take_own()):
            return
        self._errand.services.rest(TAKEN_OVER)
        welcome = Welcome(limit=self._welcome_left, most=0, events=())
        errand = replace(self._errand, rules=self._rules, welcome=welcome, look_ups=self._look_ups_left)
        self.is_silenced |= self._here.drive(errand, own, {}, self._record_own)
        self._reopen()

    def _record_own(self, outcome: Outcome) -> None:
        self._tally.take(outcome)
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        """What the orders from now on have to say: what the run may only do so often, and what was seen of the list."""
        self._events += outcome.events
        self._looked_up += outcome.looked_up
        if outcome.has_sms:
            self._rules = replace(self._rules, has_sms=True)

    @property
    def _welcome_left(self) -> int:
        """Subscription events that the run may still cause."""
        return max(0, self._errand.welcome.limit - self._events)

    @property
    def _look_ups_left(self) -> LookUps:
        return self._errand.look_ups.less(self._looked_up)

    def _order(self, kind: OrderKind, order_id: str, window: Window | None) -> Order:
        errand = self._errand
        return Order(
            kind=kind,
            id=order_id,
            epoch=self._epoch,
            memory=errand.memory,
            reply_to=self._line.reply_to,
            client=errand.client.name,
            list_key=errand.list_key,
            run_id=errand.run_id,
            settings=self._settings,
            session=self._session if kind == "page" else "",
            is_suspect=window is not None and self._backlog.is_suspect(window),
            window=window,
            subscription_events=self._rules.subscription_events,
            new_since=self._rules.new_since,
            until=self._rules.until,
            has_sms=self._rules.has_sms,
            permissions=tuple(sorted(self._rules.permissions)),
            is_first=errand.is_first,
            carried_until=errand.carried_until,
            look_ups=self._look_ups_left,
            welcome_left=self._welcome_left,
            watched=dict(errand.watched),
            never_sent=errand.never_sent,
            has_taken=errand.services.ometria.has_taken,
        )

    # ---- in

    def _hear(self, seconds: float) -> None:
        heard = self._line.hear(seconds)
        if heard is None:
            return
        if self._is_awaited(heard.said.id) and not heard.is_expired:
            self._heard = time.monotonic()
        if (heard.said.run_id, heard.said.memory) == (self._errand.run_id, self._errand.memory):
            self._take(heard)  # of another run: nobody waits for it
        self._done(heard)

    def _is_awaited(self, order_id: str) -> bool:
        return self._is_fence(order_id) or self._backlog.has(order_id)

    def _is_fence(self, order_id: str) -> bool:
        return self._fence is not None and self._fence.order_id == order_id

    def _done(self, heard: Heard) -> None:
        if not isinstance(self._failure, StateError):  # else it is not on record: the next one is to hear it again
            heard.done()

    def _take(self, heard: Heard) -> None:
        said = heard.said
        if isinstance(said, Order):
            self._take_back(said, heard)
        elif self._is_fence(said.id):
            self._take_fence(said)
        else:
            self._was_silent = False
            self._take_page(said)

    def _take_page(self, said: Reply) -> None:
        if said.kind == "moved":
            self._take_outcome(said)
        elif said.kind == "begun":
            self._backlog.begun(said.id)
        elif (flight := self._backlog.land(said.id)) is not None:
            self._take_unmoved(said, flight)

    def _take_fence(self, said: Reply) -> None:
        if said.kind == "clear":
            self._fence, self._is_clear, self._session = None, True, said.session
        elif said.kind in ("refused", "failed"):
            self._fail(said)
        elif said.kind == "outdated":
            self._put_fence(said.epoch)
        else:  # the worker leaves: the next one is asked
            self._fence = _Fence("", again=time.monotonic() + PAUSE)

    def _take_outcome(self, said: Reply) -> None:
        outcome = said.outcome
        if outcome is None or not self._backlog.claim(said.id, outcome.window):
            return
        self._errand.services.meter.add(said.costs)
        self._errand.services.ometria.has_taken |= bool(outcome.pushed)
        self._errand.warn(*said.warnings)
        self.is_silenced |= said.is_silenced
        self._count(outcome)
        if outcome.failed and self._failure:
            return  # what fails while the run ends is left pending, rather than filling the dead letters
        if outcome.rest:
            self._backlog.add_rest(outcome.rest)
        self._record(outcome)

    def _take_unmoved(self, said: Reply, flight: Flight) -> None:
        window = flight.window
        if said.kind in ("refused", "failed"):
            self._fail(said)
        elif said.kind == "lost":
            if self._backlog.lost(flight):
                self._bury(window, f"{self._backlog.losses(window)} workers died while processing this page")
        elif said.kind == "late":
            self._backlog.late(window)
        elif (
            said.kind == "unfenced"
        ):  # the others that are under way are answered first: one may be what its worker died of
            self._backlog.again(window)
            self._is_unfenced = True
        else:
            self._take_given_back(said, window)

    def _take_given_back(self, said: Reply, window: Window) -> None:
        self._not_before = time.monotonic() + PAUSE
        if said.kind == "broken_off":
            self._backlog.broken_off(window)
        else:
            self._backlog.again(window)
        if said.kind == "outdated":  # another coordinator of this very state file: but there is a lock
            self._put_fence(said.epoch)

    def _take_back(self, order: Order, heard: Heard) -> None:
        """Why it comes back is anybody's word (see `Heard`), and says nothing of the page: nobody is buried for it.

        A fence tells what the worker is, and ends first what it may still have of the page.
        """
        if not self._is_fence(order.id):
            self._take_page_back(order)
        elif heard.is_expired:
            self._fence = _Fence("", again=time.monotonic() + PAUSE)
        else:
            self._failure = self._failure or _not_opened(heard.unopened)

    def _take_page_back(self, order: Order) -> None:
        if not self._backlog.has(order.id):
            return
        if (flight := self._backlog.land(order.id)) is not None:
            self._backlog.broken_off(flight.window)
        self._put_fence()

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
