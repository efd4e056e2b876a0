"""Waiting: retries, open connections, pushes a second, and the signal to leave.

Every wait of the program happens here and ends at once when it is told to. Nothing here knows what it waits for.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import tenacity

from mcimport.errors import InterruptedRunError, RetriableError, ServiceTimeoutError, ThrottledError
from mcimport.services.http import decode_slot

T = TypeVar("T")

BUSY_FIRST, BUSY_MOST = 1.0, 60.0  # seconds between two tries of an account that is busy
LEAVE_WITHIN = 25.0  # seconds that pages in flight may take once a stop was asked for
SLACK, MORE_SLACK, MOST_SLACK = 1.01, 0.01, 1.05  # what leaves evenly arrives less so: a second is a little longer
NEARLY = 0.85  # the share of the configured pushes that, when taken in the last second, tells that all of them are
NOT_SENT_YET = 0.02  # seconds between two looks at a turn whose request has not left yet
RECOVERY = 2_000  # the configured rate's share by which an answered push raises the present one, at first
CALM = 40  # answered requests after which one more connection is tried
QUEUE_LOW = 10_000  # records of room in Ometria's queue below which pushes slow down


class StopSignal:
    """A request to leave. `asked`: begin nothing new, wake every pause. `now`: give up what is under way, too.

    A follower hears what its leader hears, and may be stopped alone: one client that has to be given up.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.aborted = threading.Event()
        self._children: list[StopSignal] = []
        self._lock = threading.Lock()

    def child(self) -> StopSignal:
        child = StopSignal()
        with self._lock:
            self._children.append(child)
        if self.requested.is_set():
            child.request()
        if self.aborted.is_set():
            child.abort()
        return child

    def dismiss(self, child: StopSignal) -> None:
        with self._lock:
            self._children.remove(child)

    def request(self) -> None:
        self.requested.set()
        for child in self._all():
            child.request()

    def abort(self) -> None:
        self.requested.set()
        self.aborted.set()
        for child in self._all():
            child.abort()

    def _all(self) -> list[StopSignal]:
        with self._lock:
            return list(self._children)


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a request is tried again.

    Attributes:
        stop: ends every pause; the next try then raises InterruptedRunError.
        retries: tries after the first that failed. A busy account (429) costs none of them.
        wait: seconds between two tries; a server that names a longer time gets it.
        busy_for: seconds for which one request may find the account busy before that counts as a failure;
            None: as long as it takes.
        retried: is told of each pause, in seconds, when it is over, and why it was made.
    """

    stop: StopSignal = field(default_factory=StopSignal)
    retries: int = 3
    wait: float = 5.0
    busy_for: float | None = None
    retried: Callable[[float, BaseException | None], None] = field(default=lambda _, __: None, compare=False)

    def no_retry(self) -> RetryPolicy:
        """The same, without a second try."""
        return replace(self, retries=0)


def call_with_retry(policy: RetryPolicy, work: Callable[[], T], *, fail_fast_on_timeout: bool = False) -> T:
    """Do `work` until it succeeds, fails for good, or its tries are used up: the one policy for all requests.

    `fail_fast_on_timeout` hands a ServiceTimeoutError back at once, for a caller who can ask for less instead.
    Once the stop was asked for there is no second try, so that a page in flight can end but nothing lingers. Raises
    what `work` raised last, and InterruptedRunError instead of trying again.
    """
    state = _RetryState(policy)

    def attempt() -> T:
        if policy.stop.aborted.is_set() or (state.tried and policy.stop.requested.is_set()):
            raise InterruptedRunError("stopped")
        state.tried = True
        return work()

    def pause(seconds: float) -> None:
        began = time.monotonic()
        with decode_slot.released():
            policy.stop.requested.wait(seconds)
        if not policy.stop.requested.is_set():  # else there is no further try
            policy.retried(time.monotonic() - began, state.error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda error: _worth_another_try(error, fail_fast_on_timeout=fail_fast_on_timeout)
        ),
        stop=state.exhausted,
        wait=state.pause,
        sleep=pause,
        reraise=True,
    )
    return retrying(attempt)


def _worth_another_try(error: BaseException, *, fail_fast_on_timeout: bool) -> bool:
    return isinstance(error, RetriableError) and not (fail_fast_on_timeout and isinstance(error, ServiceTimeoutError))


class _RetryState:
    """What one request has cost so far: failures, and the time for which its account was busy."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.tried = False
        self.error: BaseException | None = None  # why there is a pause
        self._policy = policy
        self._failures = 0
        self._refusals = 0
        self._busy_since: float | None = None

    def exhausted(self, state: tenacity.RetryCallState) -> bool:
        if isinstance(_error(state), ThrottledError) and not self._busy_too_long():
            self._refusals += 1
            return False
        self._failures += 1
        self._busy_since = None
        return self._failures > self._policy.retries

    def pause(self, state: tenacity.RetryCallState) -> float:
        error = self.error = _error(state)
        asked = error.retry_after or 0.0 if isinstance(error, RetriableError) else 0.0
        if isinstance(error, ThrottledError):
            pause = asked or (min(BUSY_MOST, BUSY_FIRST * 1.6 ** min(self._refusals - 1, 20)))
            return min(pause, math.inf if self._policy.busy_for is None else self._policy.busy_for)
        return max(asked, self._policy.wait)

    def _busy_too_long(self) -> bool:
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        return self._policy.busy_for is not None and now - self._busy_since > self._policy.busy_for


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


class ConnectionLimit:
    """At most so many requests of one account are open at once; fewer for a while after a refusal.

    One for each Mailchimp account. A refusal closes one place (many refusals of the same moment count once);
    a calm stretch opens it again, so that an account shared with other programs finds its own number.
    """

    def __init__(self, places: int) -> None:
        self._most = places
        self._places = places
        self._open = 0
        self._calm = 0
        self._closed_at = 0.0
        self._change = threading.Condition()

    @contextmanager
    def slot(self, stop: StopSignal) -> Iterator[None]:
        """Holds one place; raises InterruptedRunError at `stop.aborted`."""
        with self._change:
            while self._open >= self._places:
                if stop.aborted.is_set():
                    raise InterruptedRunError("stopped")
                self._change.wait(0.25)
            self._open += 1
            entered = time.monotonic()
        try:
            yield
        except ThrottledError:
            self._refused(entered)
            raise
        else:
            self._served()
        finally:
            with self._change:
                self._open -= 1
                self._change.notify()

    def _refused(self, entered: float) -> None:
        with self._change:
            self._calm = 0
            if entered >= self._closed_at:
                self._closed_at = time.monotonic()
                self._places = max(1, self._places - 1)

    def _served(self) -> None:
        with self._change:
            self._calm += 1
            if self._calm >= CALM and self._places < self._most:
                self._calm = 0
                self._places += 1
                self._change.notify()


class Permit:
    """One push's place in the pace. `moment`: when its bytes had left (monotonic); infinite until that is known."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.moment = math.inf

    def sent(self) -> None:
        """The request is on the wire, or will never be: between turn and sending a connection may have been made."""
        self.moment = min(self.moment, time.monotonic())


class RateLimiter:
    """So many turns a second, evenly spaced, and never more than that in any second, as measured where they are sent.

    One for each Ometria account. A refusal (429) gives every second a little more air, for the way may be less even
    than was hoped. Where less was taken in the last second than is configured, that is what the account takes, and the
    new rate. Answers raise it again, the faster the longer no refusal came, up to the configured one. A queue that
    reports little room slows the turns in proportion.
    """

    def __init__(self, per_second: float) -> None:
        self._most = per_second
        self._rate = per_second
        self._room = 1.0
        self._slack = SLACK
        self._next = 0.0
        self._cut_at = 0.0
        self._calm = 0
        self._taken: deque[float] = deque(maxlen=math.ceil(per_second) + 1)
        self._lock = threading.Lock()
        self._latest: deque[Permit] = deque(maxlen=max(1, math.floor(per_second)))

    def permit(self, stop: StopSignal) -> Permit:
        """Waits for the next turn; raises InterruptedRunError at `stop.aborted`."""
        while True:
            with self._lock:
                now = time.monotonic()
                pause = max(self._next, self._window_opens()) - now
                if pause <= 0:
                    permit = Permit(now)
                    self._latest.append(permit)
                    self._next = now + 1 / (self._rate * self._room)
                    return permit
            if stop.aborted.wait(pause):
                raise InterruptedRunError("stopped")

    def pause(self, seconds: float) -> None:
        """No turn for so long: somebody else may have taken turns of the account until now."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _window_opens(self) -> float:
        """When the oldest of the latest turns, as many as a second may hold, is more than that second ago.

        One that is not on the wire yet may be there at any moment: so not before a little later.
        """
        if len(self._latest) < (self._latest.maxlen or 1):
            return 0.0
        sent = self._latest[0].moment
        if sent == math.inf:
            return time.monotonic() + NOT_SENT_YET
        return sent + self._slack * len(self._latest) / self._most

    def refused(self, permit: Permit) -> None:
        """A 429: those that were under way together count once."""
        with self._lock:
            if permit.began < self._cut_at:
                return
            self._cut_at = time.monotonic()
            self._calm = 0
            self._slack = min(MOST_SLACK, self._slack + MORE_SLACK)
            in_a_second = sum(moment > self._cut_at - 1.0 for moment in self._taken)
            if in_a_second >= NEARLY * self._most:
                return  # the account takes what is configured: the way there was uneven, and there is more air now
            self._rate = max(self._most / 32, min(0.95 * self._rate, in_a_second or 0.5 * self._rate))
            self._next = max(self._next, self._cut_at + 0.5)

    def served(self, room: int | None) -> None:
        """A push was taken; `room` is what the queue says it has left, in records, None when it says nothing."""
        with self._lock:
            self._calm += 1
            self._taken.append(time.monotonic())
            self._rate = min(self._most, self._rate + self._most / RECOVERY * (1 + self._calm / 100))
            self._room = 1.0 if room is None else max(0.02, min(1.0, room / QUEUE_LOW))
