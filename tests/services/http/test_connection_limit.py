"""Open connections stay below what an account takes, and come back after a refusal."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress

import pytest

from mcimport.errors import FatalError, InterruptedRunError, RetriableError, ThrottledError
from mcimport.services.http import connection_limit
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.shutdown import StopSignal
from services.http.waiting import PATIENT, busy, in_a_thread

AT_ONCE = StopSignal()
AT_ONCE.abort()


def free(limit: ConnectionLimit) -> int:
    """How many could enter at this moment."""
    with ExitStack() as stack, suppress(InterruptedRunError):
        for number in range(100):  # noqa: B007 - how far it came is the answer
            stack.enter_context(limit.slot(AT_ONCE))
    return number


def refuse(limit: ConnectionLimit, times: int = 1) -> None:
    """So many requests that were open together are all answered 429."""
    places = [limit.slot(StopSignal()) for _ in range(times)]
    for place in places:
        place.__enter__()
    for place in places:
        assert not place.__exit__(ThrottledError, busy(), None)


def serve(limit: ConnectionLimit, times: int) -> None:
    for _ in range(times):
        with limit.slot(StopSignal()):
            pass


def test_never_more_requests_are_open_than_there_are_places() -> None:
    """Thirty threads through three places; each leaves only when the next one had time to try to come in too early."""
    limit, lock = ConnectionLimit(3), threading.Lock()
    inside = most = 0
    full = threading.Barrier(3)

    def request() -> None:
        nonlocal inside, most
        with limit.slot(StopSignal()):
            with lock:
                inside += 1
                most = max(most, inside)
            full.wait(PATIENT)  # three are inside at once, or this breaks
            with lock:
                inside -= 1

    endings = [in_a_thread(request) for _ in range(30)]
    assert [ended() for ended in endings] == [None] * 30
    assert (most, free(limit)) == (3, 3)


def test_a_refusal_closes_one_place_and_refusals_of_one_moment_count_once() -> None:
    """Five requests under way together are refused: one place fewer, not five; the next refusal closes another."""
    limit = ConnectionLimit(10)
    refuse(limit, 5)
    assert free(limit) == 9
    refuse(limit)
    assert free(limit) == 8


def test_the_last_place_is_never_closed() -> None:
    """However often the account refuses, one request at a time goes on."""
    limit = ConnectionLimit(3)
    for _ in range(9):
        refuse(limit)
    assert free(limit) == 1


def test_a_calm_stretch_opens_a_closed_place_again_and_never_more_than_there_were() -> None:
    """Enough answers without a refusal; a refusal in between begins the stretch anew."""
    limit = ConnectionLimit(3)
    refuse(limit)
    serve(limit, connection_limit.CALM - 1)
    refuse(limit)
    serve(limit, connection_limit.CALM - 1)
    assert free(limit) == 1  # what is asked here is answered, too: that makes the stretch complete
    assert free(limit) == 2
    serve(limit, 5 * connection_limit.CALM)
    assert free(limit) == 3


@pytest.mark.parametrize("error", [RetriableError("500"), FatalError("401"), KeyboardInterrupt()])
def test_whatever_else_goes_wrong_gives_the_place_back_and_closes_none(error: BaseException) -> None:
    """Only "too many" says anything about the number of places."""
    limit = ConnectionLimit(2)
    for _ in range(5):
        with pytest.raises(type(error)), limit.slot(StopSignal()):
            raise error
    assert free(limit) == 2


def test_who_waits_for_a_place_leaves_when_told_to() -> None:
    """A request that never ends holds the only place: nobody behind it hangs."""
    limit, stop = ConnectionLimit(1), StopSignal()
    with limit.slot(StopSignal()):
        ended = in_a_thread(lambda: limit.slot(stop).__enter__())
        stop.abort()
        assert isinstance(ended(), InterruptedRunError)
    assert free(limit) == 1


def test_a_limit_that_is_set_anew_holds_for_the_next_request() -> None:
    """Settings may change between two rounds; the same number changes nothing of what refusals taught."""
    limit = ConnectionLimit(4)
    refuse(limit)
    limit.set(4)
    assert free(limit) == 3
    limit.set(6)
    assert free(limit) == 6
    with limit.slot(StopSignal()):
        limit.set(2)
        assert free(limit) == 1
