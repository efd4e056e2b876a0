"""One page at a time is decoded, and none while its thread waits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from mcimport.errors import RetriableError
from mcimport.services.http import decode_slot
from mcimport.services.http.retry import RetryPolicy, call_with_retry
from mcimport.services.http.shutdown import StopSignal


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


def test_a_page_that_is_requested_first_takes_the_decode_slot_after_that_wait() -> None:
    """It is not kept from asking by those who decode; if it waits for nothing, it never has the slot."""
    with decode_slot.held(), ThreadPoolExecutor(1) as pool:

        def ask() -> None:
            with decode_slot.held(after_wait=True):
                pass

        pool.submit(ask).result(5)
    with decode_slot.held(after_wait=True):
        with decode_slot.released():
            assert is_slot_free_within(5)
        assert not is_slot_free_within(0.05)
    assert is_slot_free_within(5)


def test_threads_get_the_decode_slot_in_the_order_in_which_they_asked() -> None:
    """Python's own locks may let one of many wait for seconds."""
    order: list[int] = []

    def take(number: int) -> None:
        with decode_slot.held():
            order.append(number)

    threads = []
    with decode_slot.held():
        for number in range(20):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(decode_slot._slot._waiting) <= number:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join(5)
    assert order == list(range(20))


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
