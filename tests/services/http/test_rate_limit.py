"""Pushes a second stay below what an account takes, and near it."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.errors import InterruptedRunError
from mcimport.services.http.rate_limit import QUEUE_LOW, RateLimiter
from mcimport.services.http.shutdown import StopSignal
from services.http.waiting import Clock, in_a_thread, passing


def most_in_any_second(moments: list[float]) -> int:
    """The most in any half-open second, wherever it begins."""
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.sampled_from([1.0, 2.0, 4.0, 8.0, 16.0]),
    st.lists(
        st.tuples(
            st.floats(0, 0.9),  # seconds from the turn to the sending, while other turns are taken
            st.floats(0, 0.6),  # and to the next who wants one
            st.sampled_from(["taken", "taken", "taken", "full", "refused"]),
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_no_second_ever_holds_more_turns_than_configured(
    per_second: float, pushes: list[tuple[float, float, str]]
) -> None:
    """Whatever is answered, however irregularly they come and however late they are sent within their second."""
    with passing() as clock:
        limiter, stop, turns, sent = RateLimiter(per_second), clock.stop(), [], []
        for late, pause, answer in pushes:
            turn = limiter.permit(stop)
            turns.append(clock.now)
            if late > 0.5:  # some are held up between their turn and the wire; nobody else comes meanwhile
                clock.now += late - 0.5
            turn.sent()
            sent.append(clock.now)
            if answer == "refused":
                limiter.refused(turn)
            else:
                limiter.served(100 if answer == "full" else None)
            clock.now += pause
    assert most_in_any_second(turns) <= per_second
    assert most_in_any_second(sent) <= per_second


def sent_at_once(limiter: RateLimiter, stop: StopSignal) -> float:
    """A turn whose request leaves in the same moment; when it began."""
    turn = limiter.permit(stop)
    turn.sent()
    return turn.began


def test_turns_taken_by_many_threads_keep_the_rate_too() -> None:
    """Six threads that push as fast as they may, by the real clock: the moments themselves show the rate."""
    limiter, stop, moments, lock = RateLimiter(30.0), StopSignal(), list[float](), threading.Lock()

    def push() -> None:
        for _ in range(8):
            began = sent_at_once(limiter, stop)
            with lock:
                moments.append(began)
            limiter.served(None)

    endings = [in_a_thread(push) for _ in range(6)]
    assert [ended() for ended in endings] == [None] * 6
    assert len(moments) == 48
    assert most_in_any_second(moments) <= 30


def test_an_idle_account_does_not_save_turns_up_for_a_burst(clock: Clock) -> None:
    """After a minute without a push, pushes still come one at a time, evenly."""
    limiter, stop = RateLimiter(8.0), clock.stop()
    sent_at_once(limiter, stop)
    clock.now += 60
    moments = [sent_at_once(limiter, stop) for _ in range(9)]
    assert all(later - earlier >= 0.124 for earlier, later in pairwise(moments))


def steady(limiter: RateLimiter, clock: Clock, turns: int, room: int | None = None) -> float:
    """Turns a second, when so many pushes are taken one after another."""
    stop, begun = clock.stop(), sent_at_once(limiter, clock.stop())
    for _ in range(turns):
        latest = sent_at_once(limiter, stop)
        limiter.served(room)
    return turns / (latest - begun)


def test_an_undisturbed_account_is_used_nearly_to_its_limit(clock: Clock) -> None:
    """The air that is left is a few per cent, no more."""
    assert 7.6 <= steady(RateLimiter(8.0), clock, 80) <= 8.0


def burst(limiter: RateLimiter, clock: Clock, pushes: int, refused: int = 1) -> None:
    """So many pushes under way together, of which the first ones are refused a moment later."""
    turns = [limiter.permit(clock.stop()) for _ in range(pushes)]
    for turn in turns:
        turn.sent()
    clock.now += 0.05
    for turn in turns[:refused]:
        limiter.refused(turn)


def test_refusals_of_pushes_that_were_under_way_together_slow_down_once(clock: Clock) -> None:
    """Five refusals of one moment have the effect of one."""
    one, five = RateLimiter(8.0), RateLimiter(8.0)
    burst(one, clock, 5)
    burst(five, clock, 5, refused=5)
    assert one._rate == five._rate < 8.0


def test_after_a_refusal_the_pace_is_lower_and_climbs_back_to_the_full_rate(clock: Clock) -> None:
    """Slower at first; with answers and no further refusal, as fast as ever."""
    limiter = RateLimiter(8.0)
    steady(limiter, clock, 40)
    for _ in range(6):
        burst(limiter, clock, 1)
    assert steady(limiter, clock, 5) < 4.0
    steady(limiter, clock, 2_000)
    assert 7.6 <= steady(limiter, clock, 80) <= 8.0


def test_an_account_that_refuses_everything_is_still_asked_now_and_then(clock: Clock) -> None:
    """A hundred refusals on end do not bring the pace to a standstill: within five seconds there is another turn."""
    limiter = RateLimiter(8.0)
    for _ in range(100):
        burst(limiter, clock, 1)
    before = clock.now
    assert limiter.permit(clock.stop()).began - before <= 5.0


@pytest.mark.parametrize("room", [5_000, 1_000, 0])
def test_a_queue_that_reports_little_room_slows_the_turns_in_proportion(clock: Clock, room: int) -> None:
    """Half the room that is enough: half the pace; none at all: a trickle, not a standstill."""
    expected = 8.0 * max(0.02, room / QUEUE_LOW)
    limiter = RateLimiter(8.0)
    limiter.served(room)
    assert 0.9 * expected <= steady(limiter, clock, 30, room) <= 1.01 * expected


@pytest.mark.parametrize("room", [None, QUEUE_LOW, 50_000])
def test_a_queue_with_room_and_one_that_says_nothing_slow_nobody(clock: Clock, room: int | None) -> None:
    """Also after it was nearly full: the next answer with room restores the pace."""
    limiter = RateLimiter(8.0)
    limiter.served(10)
    limiter.served(room)
    steady(limiter, clock, 10, room)
    assert steady(limiter, clock, 80, room) >= 7.6


def test_a_stop_at_once_ends_the_wait_for_a_turn_and_an_ordinary_stop_does_not() -> None:
    """A batch in flight keeps its turn when asked to leave; it gives it up when told to leave now."""
    limiter, stop = RateLimiter(0.001), StopSignal()
    limiter.permit(stop)
    stop.requested.set()
    quick = RateLimiter(1_000.0)
    quick.permit(stop)
    quick.permit(stop)
    ended = in_a_thread(lambda: limiter.permit(stop))
    stop.abort()
    assert isinstance(ended(), InterruptedRunError)


def test_a_rate_that_is_set_anew_holds_at_once_and_for_what_was_sent_before() -> None:
    """Settings may change between two rounds: no second holds more than one of both, and a higher rate is reached."""
    with passing() as clock:
        limiter, stop = RateLimiter(8), clock.stop()
        before = [sent_at_once(limiter, stop) for _ in range(16)]
        limiter.set(4)
        slower = [sent_at_once(limiter, stop) for _ in range(16)]
        limiter.set(16)
        faster = [sent_at_once(limiter, stop) for _ in range(32)]
    assert most_in_any_second(before) <= 8
    assert most_in_any_second([*before[-4:], *slower]) <= 4
    assert most_in_any_second(slower[4:]) == 4
    assert most_in_any_second(faster) == 16
