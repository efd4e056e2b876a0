"""Retries: tries are counted, and pauses end when told to."""

from __future__ import annotations

import threading

import pytest

from mcimport.errors import (
    FatalError,
    InterruptedRunError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceTimeoutError,
    ThrottledError,
    UnreachableError,
)
from mcimport.models.retries import Retry
from mcimport.services.http import retry
from mcimport.services.http.retry import RetryPolicy, call_with_retry
from mcimport.services.http.shutdown import StopSignal
from services.http.waiting import PATIENT, Clock, busy, in_a_thread


class Work:
    """Fails as told, one error a try, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = iter(errors)
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        for error in self._errors:
            raise error
        return "done"


def broken() -> RetriableError:
    return RetriableError("broken", status=500)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_request_is_tried_once_and_then_as_often_as_configured(clock: Clock, retries: int) -> None:
    """The last failure is what the caller sees; one failure fewer, and the answer arrives."""
    policy = RetryPolicy(clock.stop(), retries=retries)
    work = Work(*(RetriableError(f"failure {number}") for number in range(9)))
    with pytest.raises(RetriableError, match=f"failure {retries}"):
        call_with_retry(policy, work)
    assert work.tries == retries + 1
    assert call_with_retry(policy, Work(*(broken() for _ in range(retries)))) == "done"


@pytest.mark.parametrize(
    "error", [FatalError("no"), NotFoundError("no"), RejectedError("no"), InterruptedRunError("no")]
)
def test_what_no_try_can_mend_is_not_tried_again(clock: Clock, error: Exception) -> None:
    """Refusals go to the caller at once, as they are."""
    work = Work(error)
    with pytest.raises(type(error)) as raised:
        call_with_retry(RetryPolicy(clock.stop()), work)
    assert raised.value is error
    assert (work.tries, clock.pauses) == (1, [])


def test_between_two_tries_lies_the_configured_wait(clock: Clock) -> None:
    """Five seconds, three times."""
    with pytest.raises(UnreachableError):
        call_with_retry(RetryPolicy(clock.stop()), Work(*(UnreachableError("nobody there") for _ in range(9))))
    assert clock.pauses == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(("asked", "waited"), [(42.0, 42.0), (1.0, 5.0), (0.0, 5.0), (None, 5.0)])
def test_a_server_that_names_a_longer_time_gets_it(clock: Clock, asked: float | None, waited: float) -> None:
    """A shorter one does not make us hurry."""
    assert call_with_retry(RetryPolicy(clock.stop()), Work(RetriableError("later", retry_after=asked))) == "done"
    assert clock.pauses == [waited]


def test_a_busy_account_costs_no_tries_however_often_it_refuses(clock: Clock) -> None:
    """Fifty refusals, among them the three failures that are allowed: the request still gets through."""
    errors = [error for number in range(50) for error in ([broken()] if number % 20 == 0 else []) + [busy()]]
    assert call_with_retry(RetryPolicy(clock.stop()), Work(*errors)) == "done"
    four = [error for _ in range(4) for error in (busy(), broken())]
    with pytest.raises(RetriableError, match="broken"):
        call_with_retry(RetryPolicy(clock.stop()), Work(*four))


def test_a_busy_account_is_asked_less_and_less_often_but_at_least_once_a_minute(clock: Clock) -> None:
    """Pauses never shrink and end at a minute; a time that the server names counts where it is longer."""
    call_with_retry(RetryPolicy(clock.stop(), wait=0), Work(*(busy() for _ in range(20))))
    assert clock.pauses == sorted(clock.pauses)
    assert 0 < clock.pauses[0] <= retry.BUSY_FIRST
    assert clock.pauses[-1] == retry.BUSY_MOST
    clock.pauses.clear()
    call_with_retry(RetryPolicy(clock.stop()), Work(busy(retry_after=90.0)))
    assert clock.pauses == [90.0]


def test_an_account_that_is_busy_for_days_is_waited_for(clock: Clock) -> None:
    """Where no end is set there is none: neither a failure nor an overflow of the arithmetic."""
    assert call_with_retry(RetryPolicy(clock.stop()), Work(*(busy() for _ in range(5_000)))) == "done"
    assert clock.now > 1_000 + 3 * 86_400


def test_an_account_that_stays_busy_longer_than_allowed_is_a_failure(clock: Clock) -> None:
    """`busy_for` seconds are one failure; a second try gets as long again."""
    begun = clock.now
    with pytest.raises(ThrottledError):
        call_with_retry(RetryPolicy(clock.stop(), retries=0, busy_for=300), Work(*(busy() for _ in range(999))))
    once = clock.now - begun
    assert 300 < once <= 300 + retry.BUSY_MOST
    with pytest.raises(ThrottledError):
        call_with_retry(RetryPolicy(clock.stop(), retries=1, busy_for=300), Work(*(busy() for _ in range(999))))
    assert clock.now - begun - once > 600


@pytest.mark.parametrize(("hurry", "tries"), [(True, 1), (False, 4)])
def test_who_can_ask_for_less_learns_at_once_that_it_was_too_much(
    clock: Clock,
    hurry: bool,  # noqa: FBT001 - a column of the table
    tries: int,
) -> None:
    """In a hurry a time-out comes back after one try; whoever cannot ask for less tries again."""
    work = Work(*(ServiceTimeoutError("slow") for _ in range(9)))
    with pytest.raises(ServiceTimeoutError):
        call_with_retry(RetryPolicy(clock.stop()), work, fail_fast_on_timeout=hurry)
    assert work.tries == tries
    assert call_with_retry(RetryPolicy(clock.stop()), Work(broken()), fail_fast_on_timeout=True) == "done"


def test_policy_without_a_second_try_still_waits_for_a_busy_account(clock: Clock) -> None:
    """The same stop and the same busy account; only failures are final."""
    quick = RetryPolicy(clock.stop(), busy_for=900).no_retry()
    work = Work(broken(), broken())
    with pytest.raises(RetriableError, match="broken"):
        call_with_retry(quick, work)
    assert work.tries == 1
    assert call_with_retry(quick, Work(busy(), busy())) == "done"


@pytest.mark.parametrize("error", [RetriableError("broken", retry_after=600), ThrottledError("busy", retry_after=600)])
def test_a_stop_ends_the_longest_pause_at_once(error: Exception) -> None:
    """The pause of ten minutes is cut off, and there is no further try."""
    stop, failed = StopSignal(), threading.Event()
    work = Work(error, error)

    def first_try_then_pause() -> str:
        failed.set()
        return work()

    ended = in_a_thread(lambda: call_with_retry(RetryPolicy(stop), first_try_then_pause))
    assert failed.wait(PATIENT)
    stop.requested.set()
    assert isinstance(ended(), InterruptedRunError)
    assert work.tries == 1


def test_once_a_stop_is_asked_for_a_page_in_flight_may_still_end_but_is_not_tried_again() -> None:
    """What is under way gets its one try; at once means not even that."""
    stop = StopSignal()
    stop.requested.set()
    assert call_with_retry(RetryPolicy(stop), Work()) == "done"
    work = Work(broken())
    with pytest.raises(InterruptedRunError):
        call_with_retry(RetryPolicy(stop), work)
    assert work.tries == 1
    stop.abort()
    nothing = Work()
    with pytest.raises(InterruptedRunError):
        call_with_retry(RetryPolicy(stop), nothing)
    assert nothing.tries == 0


def test_each_retry_is_announced_before_its_pause_and_its_end_after_it(clock: Clock) -> None:
    """Why, which try of how many, or without a number where the account is busy; whether it ends well or not."""
    told: list[Retry | None] = []
    policy = RetryPolicy(clock.stop(), retries=2, wait=5, retrying=told.append)
    assert call_with_retry(policy, Work(broken(), busy(retry_after=90.0), broken())) == "done"
    assert [found and (found.seconds, found.attempt, found.attempts) for found in told] == [
        (5.0, 2, 3),
        (90.0, 2, None),
        (5.0, 3, 3),
        None,
    ]
    told.clear()
    with pytest.raises(RetriableError):
        call_with_retry(policy, Work(*(broken() for _ in range(3))))
    assert [found and found.reason for found in told] == ["broken", "broken", None]
    told.clear()
    assert call_with_retry(policy, Work()) == "done"
    assert told == []
