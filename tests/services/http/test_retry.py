"""Limits: tries are counted, pauses end when told to, connections and pushes stay below what an account takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from mcimport.services.http import decode_slot, retry
from mcimport.services.http.retry import ConnectionLimit, RateLimiter, RetryPolicy, StopSignal, call_with_retry

PATIENT = 20.0  # seconds after which a thread that was told to leave is taken to hang


class Clock:
    """The time of a test: it passes while somebody waits, and only then."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.pauses: list[float] = []

    def stop(self) -> StopSignal:
        """A stop whose pauses take no time of ours; nobody asks for it."""
        stop = StopSignal()
        stop.requested = stop.aborted = _Passing(self)
        return stop


class _Passing(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.now += timeout or 0.0
        self._clock.pauses.append(timeout or 0.0)
        return self.is_set()


@contextmanager
def passing() -> Iterator[Clock]:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: clock.now))
        yield clock


@pytest.fixture(name="clock")
def a_clock() -> Iterator[Clock]:
    with passing() as clock:
        yield clock


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


def busy(retry_after: float | None = None) -> ThrottledError:
    return ThrottledError("busy", status=429, retry_after=retry_after)


# ---- tries


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_request_is_tried_once_and_then_as_often_as_configured(clock: Clock, retries: int) -> None:
    """The last failure is what the caller sees; one failure fewer, and the answer arrives."""
    patience = RetryPolicy(clock.stop(), retries=retries)
    work = Work(*(RetriableError(f"failure {number}") for number in range(9)))
    with pytest.raises(RetriableError, match=f"failure {retries}"):
        call_with_retry(patience, work)
    assert work.tries == retries + 1
    assert call_with_retry(patience, Work(*(broken() for _ in range(retries)))) == "done"


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


def test_patience_without_a_second_try_still_waits_for_a_busy_account(clock: Clock) -> None:
    """The same stop and the same busy account; only failures are final."""
    quick = RetryPolicy(clock.stop(), busy_for=900).no_retry()
    work = Work(broken(), broken())
    with pytest.raises(RetriableError, match="broken"):
        call_with_retry(quick, work)
    assert work.tries == 1
    assert call_with_retry(quick, Work(busy(), busy())) == "done"


# ---- leaving


def in_a_thread(work: Callable[[], object]) -> Callable[[], BaseException | None]:
    """Starts `work`; what is returned waits for its end and says how it failed."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def ended() -> BaseException | None:
        thread.join(PATIENT)
        assert not thread.is_alive(), "it still waits"
        return failed[0] if failed else None

    return ended


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


# ---- connections

AT_ONCE = StopSignal()
AT_ONCE.abort()


def free(gate: ConnectionLimit) -> int:
    """How many could enter at this moment."""
    with ExitStack() as stack, suppress(InterruptedRunError):
        for number in range(100):  # noqa: B007 - how far it came is the answer
            stack.enter_context(gate.slot(AT_ONCE))
    return number


def refuse(gate: ConnectionLimit, times: int = 1) -> None:
    """So many requests that were open together are all answered 429."""
    places = [gate.slot(StopSignal()) for _ in range(times)]
    for place in places:
        place.__enter__()
    for place in places:
        assert not place.__exit__(ThrottledError, busy(), None)


def serve(gate: ConnectionLimit, times: int) -> None:
    for _ in range(times):
        with gate.slot(StopSignal()):
            pass


def test_never_more_requests_are_open_than_there_are_places() -> None:
    """Thirty threads through three places; each leaves only when the next one had time to try to come in too early."""
    gate, lock = ConnectionLimit(3), threading.Lock()
    inside = most = 0
    full = threading.Barrier(3)

    def request() -> None:
        nonlocal inside, most
        with gate.slot(StopSignal()):
            with lock:
                inside += 1
                most = max(most, inside)
            full.wait(PATIENT)  # three are inside at once, or this breaks
            with lock:
                inside -= 1

    endings = [in_a_thread(request) for _ in range(30)]
    assert [ended() for ended in endings] == [None] * 30
    assert (most, free(gate)) == (3, 3)


def test_a_refusal_closes_one_place_and_refusals_of_one_moment_count_once() -> None:
    """Five requests under way together are refused: one place fewer, not five; the next refusal closes another."""
    gate = ConnectionLimit(10)
    refuse(gate, 5)
    assert free(gate) == 9
    refuse(gate)
    assert free(gate) == 8


def test_the_last_place_is_never_closed() -> None:
    """However often the account refuses, one request at a time goes on."""
    gate = ConnectionLimit(3)
    for _ in range(9):
        refuse(gate)
    assert free(gate) == 1


def test_a_calm_stretch_opens_a_closed_place_again_and_never_more_than_there_were() -> None:
    """Enough answers without a refusal; a refusal in between begins the stretch anew."""
    gate = ConnectionLimit(3)
    refuse(gate)
    serve(gate, retry.CALM - 1)
    refuse(gate)
    serve(gate, retry.CALM - 1)
    assert free(gate) == 1  # what is asked here is answered, too: that makes the stretch complete
    assert free(gate) == 2
    serve(gate, 5 * retry.CALM)
    assert free(gate) == 3


@pytest.mark.parametrize("error", [RetriableError("500"), FatalError("401"), KeyboardInterrupt()])
def test_whatever_else_goes_wrong_gives_the_place_back_and_closes_none(error: BaseException) -> None:
    """Only "too many" says anything about the number of places."""
    gate = ConnectionLimit(2)
    for _ in range(5):
        with pytest.raises(type(error)), gate.slot(StopSignal()):
            raise error
    assert free(gate) == 2


def test_who_waits_for_a_place_leaves_when_told_to() -> None:
    """A request that never ends holds the only place: nobody behind it hangs."""
    gate, stop = ConnectionLimit(1), StopSignal()
    with gate.slot(StopSignal()):
        ended = in_a_thread(lambda: gate.slot(stop).__enter__())
        stop.abort()
        assert isinstance(ended(), InterruptedRunError)
    assert free(gate) == 1


# ---- pushes a second


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
        pacer, stop, turns, sent = RateLimiter(per_second), clock.stop(), [], []
        for late, pause, answer in pushes:
            turn = pacer.permit(stop)
            turns.append(clock.now)
            if late > 0.5:  # some are held up between their turn and the wire; nobody else comes meanwhile
                clock.now += late - 0.5
            turn.sent()
            sent.append(clock.now)
            if answer == "refused":
                pacer.refused(turn)
            else:
                pacer.served(100 if answer == "full" else None)
            clock.now += pause
    assert most_in_any_second(turns) <= per_second
    assert most_in_any_second(sent) <= per_second


def sent_at_once(pacer: RateLimiter, stop: StopSignal) -> float:
    """A turn whose request leaves in the same moment; when it began."""
    turn = pacer.permit(stop)
    turn.sent()
    return turn.began


def test_turns_taken_by_many_threads_keep_the_rate_too() -> None:
    """Six threads that push as fast as they may, by the real clock: the moments themselves show the rate."""
    pacer, stop, moments, lock = RateLimiter(30.0), StopSignal(), list[float](), threading.Lock()

    def push() -> None:
        for _ in range(8):
            began = sent_at_once(pacer, stop)
            with lock:
                moments.append(began)
            pacer.served(None)

    endings = [in_a_thread(push) for _ in range(6)]
    assert [ended() for ended in endings] == [None] * 6
    assert len(moments) == 48
    assert most_in_any_second(moments) <= 30


def test_an_idle_account_does_not_save_turns_up_for_a_burst(clock: Clock) -> None:
    """After a minute without a push, pushes still come one at a time, evenly."""
    pacer, stop = RateLimiter(8.0), clock.stop()
    sent_at_once(pacer, stop)
    clock.now += 60
    moments = [sent_at_once(pacer, stop) for _ in range(9)]
    assert all(later - earlier >= 0.124 for earlier, later in pairwise(moments))


def steady(pacer: RateLimiter, clock: Clock, turns: int, room: int | None = None) -> float:
    """Turns a second, when so many pushes are taken one after another."""
    stop, begun = clock.stop(), sent_at_once(pacer, clock.stop())
    for _ in range(turns):
        latest = sent_at_once(pacer, stop)
        pacer.served(room)
    return turns / (latest - begun)


def test_an_undisturbed_account_is_used_nearly_to_its_limit(clock: Clock) -> None:
    """The air that is left is a few per cent, no more."""
    assert 7.6 <= steady(RateLimiter(8.0), clock, 80) <= 8.0


def burst(pacer: RateLimiter, clock: Clock, pushes: int, refused: int = 1) -> None:
    """So many pushes under way together, of which the first ones are refused a moment later."""
    turns = [pacer.permit(clock.stop()) for _ in range(pushes)]
    for turn in turns:
        turn.sent()
    clock.now += 0.05
    for turn in turns[:refused]:
        pacer.refused(turn)


def test_refusals_of_pushes_that_were_under_way_together_slow_down_once(clock: Clock) -> None:
    """Five refusals of one moment have the effect of one."""
    one, five = RateLimiter(8.0), RateLimiter(8.0)
    burst(one, clock, 5)
    burst(five, clock, 5, refused=5)
    assert one._rate == five._rate < 8.0


def test_after_a_refusal_the_pace_is_lower_and_climbs_back_to_the_full_rate(clock: Clock) -> None:
    """Slower at first; with answers and no further refusal, as fast as ever."""
    pacer = RateLimiter(8.0)
    steady(pacer, clock, 40)
    for _ in range(6):
        burst(pacer, clock, 1)
    assert steady(pacer, clock, 5) < 4.0
    steady(pacer, clock, 2_000)
    assert 7.6 <= steady(pacer, clock, 80) <= 8.0


def test_an_account_that_refuses_everything_is_still_asked_now_and_then(clock: Clock) -> None:
    """A hundred refusals on end do not bring the pace to a standstill: within five seconds there is another turn."""
    pacer = RateLimiter(8.0)
    for _ in range(100):
        burst(pacer, clock, 1)
    before = clock.now
    assert pacer.permit(clock.stop()).began - before <= 5.0


@pytest.mark.parametrize("room", [5_000, 1_000, 0])
def test_a_queue_that_reports_little_room_slows_the_turns_in_proportion(clock: Clock, room: int) -> None:
    """Half the room that is enough: half the pace; none at all: a trickle, not a standstill."""
    expected = 8.0 * max(0.02, room / retry.QUEUE_LOW)
    pacer = RateLimiter(8.0)
    pacer.served(room)
    assert 0.9 * expected <= steady(pacer, clock, 30, room) <= 1.01 * expected


@pytest.mark.parametrize("room", [None, retry.QUEUE_LOW, 50_000])
def test_a_queue_with_room_and_one_that_says_nothing_slow_nobody(clock: Clock, room: int | None) -> None:
    """Also after it was nearly full: the next answer with room restores the pace."""
    pacer = RateLimiter(8.0)
    pacer.served(10)
    pacer.served(room)
    steady(pacer, clock, 10, room)
    assert steady(pacer, clock, 80, room) >= 7.6


def test_a_stop_at_once_ends_the_wait_for_a_turn_and_an_ordinary_stop_does_not() -> None:
    """A batch in flight keeps its turn when asked to leave; it gives it up when told to leave now."""
    pacer, stop = RateLimiter(0.001), StopSignal()
    pacer.permit(stop)
    stop.requested.set()
    quick = RateLimiter(1_000.0)
    quick.permit(stop)
    quick.permit(stop)
    ended = in_a_thread(lambda: pacer.permit(stop))
    stop.abort()
    assert isinstance(ended(), InterruptedRunError)


def is_slot_free_within(seconds: float) -> bool:
    """Whether another thread gets the decode slot; it gives it back."""
    got = threading.Event()

    def take() -> None:
        with decode_slot.held():
            got.set()

    threading.Thread(target=take, daemon=True).start()
    return got.wait(seconds)


def test_the_decode_slot_is_held_by_one_thread_at_a_time() -> None:
    """A thread holds it however often it asks, until its outermost `held` ends."""
    with decode_slot.held():
        with decode_slot.held():
            assert not is_slot_free_within(0.05)
        assert not is_slot_free_within(0.05)
    assert is_slot_free_within(5)


def test_the_decode_slot_is_free_while_its_holder_waits_and_held_again_after() -> None:
    """Also where what was waited for fails."""
    with decode_slot.held():
        with suppress(RetriableError), decode_slot.released(), decode_slot.released():
            assert is_slot_free_within(5)
            raise RetriableError("no answer")
        assert not is_slot_free_within(0.05)
    assert is_slot_free_within(5)


def test_a_thread_without_the_decode_slot_has_none_after_a_wait_either() -> None:
    """`released` gives back only what is held."""
    with decode_slot.released():
        pass
    assert is_slot_free_within(5)


def test_the_decode_slot_is_free_between_two_tries() -> None:
    """A page that could not be read keeps no other from being decoded until it is asked for again."""
    seen: list[bool] = []

    class Pause(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            del timeout
            seen.append(is_slot_free_within(5))
            return False

    stop = StopSignal()
    stop.requested = Pause()
    answers = iter([RetriableError("no answer"), None])

    def work() -> None:
        assert not is_slot_free_within(0.05)
        if error := next(answers):
            raise error

    with decode_slot.held():
        call_with_retry(RetryPolicy(stop=stop, retries=1), work)
    assert seen == [True]
