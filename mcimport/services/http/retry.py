"""Retries: one policy for all requests, whose pauses end at once when the stop is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity
from msgspec import Struct, field
from msgspec.structs import replace

from mcimport.errors import InterruptedRunError, RetriableError, ServiceTimeoutError, ThrottledError
from mcimport.models.retries import Retry
from mcimport.services.http import decode_slot
from mcimport.services.http.shutdown import StopSignal

T = TypeVar("T")

BUSY_FIRST, BUSY_MOST = 1.0, 60.0  # seconds between two tries of an account that is busy


class RetryPolicy(Struct, frozen=True, eq=False):
    """Says how often and how long a request is tried again.

    Attributes:
        stop: ends every pause; the next try then raises InterruptedRunError.
        retries: tries after the first that failed. A busy account (429) costs none of them.
        wait: seconds between two tries; more where the server asks for more (`Retry-After`).
        busy_for: seconds for which one request may find the account busy before that counts as a failure;
            None: without end.
        retrying: is called before each pause, and with None when a request has ended that was tried again.
        retried: is called after each pause, with its seconds and the error that caused it.
    """

    stop: StopSignal = field(default_factory=StopSignal)
    retries: int = 3
    wait: float = 5.0
    busy_for: float | None = None
    retrying: Callable[[Retry | None], None] = lambda _: None
    retried: Callable[[float, BaseException | None], None] = lambda _, __: None

    def no_retry(self) -> RetryPolicy:
        """Returns the same policy without a second try."""
        return replace(self, retries=0)


def call_with_retry(policy: RetryPolicy, work: Callable[[], T], *, fail_fast_on_timeout: bool = False) -> T:
    """Calls `work` until it succeeds, and returns its result.

    Raises what `work` raised last once its tries are used up; at once what no other try can change; and, once the stop
    was requested, InterruptedRunError instead of another try: a page in flight may end, but nothing lingers.
    `fail_fast_on_timeout`: a ServiceTimeoutError is raised at once, for a caller that can ask for less instead.
    """
    state = _RetryState(policy)

    def attempt() -> T:
        if policy.stop.aborted.is_set() or (state.tried and policy.stop.requested.is_set()):
            raise InterruptedRunError("stopped")
        state.tried = True
        return work()

    def pause(seconds: float) -> None:
        policy.retrying(state.announced(seconds))
        began = time.monotonic()
        with decode_slot.released():
            policy.stop.requested.wait(seconds)
        if not policy.stop.requested.is_set():  # else there is no further try
            policy.retried(time.monotonic() - began, state.error)

    worth: tenacity.retry_base = tenacity.retry_if_exception_type(RetriableError)
    if fail_fast_on_timeout:
        worth &= tenacity.retry_if_not_exception_type(ServiceTimeoutError)
    retrying = tenacity.Retrying(retry=worth, stop=state.exhausted, wait=state.pause, sleep=pause, reraise=True)
    try:
        return retrying(attempt)
    finally:
        if state.error is not None:
            policy.retrying(None)


@dataclass
class _RetryState:
    """Counts the failures of one request, and the time for which its account was busy."""

    policy: RetryPolicy
    tried: bool = False
    error: BaseException | None = None  # why there is a pause
    failures: int = 0
    refusals: int = 0
    busy_since: float | None = None

    def exhausted(self, state: tenacity.RetryCallState) -> bool:
        if isinstance(_error(state), ThrottledError) and not self._busy_too_long():
            self.refusals += 1
            return False
        self.failures += 1
        self.busy_since = None
        return self.failures > self.policy.retries

    def pause(self, state: tenacity.RetryCallState) -> float:
        error = self.error = _error(state)
        asked = error.retry_after or 0.0 if isinstance(error, RetriableError) else 0.0
        if isinstance(error, ThrottledError):
            pause = asked or (min(BUSY_MOST, BUSY_FIRST * 1.6 ** min(self.refusals - 1, 20)))
            return min(pause, math.inf if self.policy.busy_for is None else self.policy.busy_for)
        return max(asked, self.policy.wait)

    def announced(self, seconds: float) -> Retry:
        """Returns what comes after the failure, and a pause of so many seconds."""
        if isinstance(self.error, ThrottledError):
            return Retry(str(self.error), seconds, self.refusals + 1)
        return Retry(str(self.error), seconds, self.failures + 1, self.policy.retries + 1)

    def _busy_too_long(self) -> bool:
        now = time.monotonic()
        self.busy_since = self.busy_since or now
        return self.policy.busy_for is not None and now - self.busy_since > self.policy.busy_for


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
