"""Whose turn it is: no client in two rounds, no more at a time than there are turns, half of them for first syncs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mcimport.sync.turns import RoundTurns, Turns

PATIENT = 30.0  # seconds after which what a test waits for never comes


class Workers:
    """Clients that work, each in a thread, until they are let go."""

    def __init__(self) -> None:
        self.working: list[str] = []
        self._change = threading.Condition()
        self._let_go: set[str] = set()
        self._threads: list[threading.Thread] = []

    def begin(self, turns: RoundTurns, *names: str) -> None:
        for name in names:
            self._threads.append(threading.Thread(target=self._work, args=(turns, name)))
            self._threads[-1].start()

    def let_go(self, *names: str) -> None:
        with self._change:
            self._let_go.update(names)
            self._change.notify_all()

    def wait_for(self, *names: str) -> None:
        """Waits until these have worked, or work."""
        with self._change:
            assert self._change.wait_for(lambda: set(names) <= set(self.working), PATIENT)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENT)

    def _work(self, turns: RoundTurns, name: str) -> None:
        with turns.turn(name), self._change:
            self.working.append(name)
            self._change.notify_all()
            self._change.wait_for(lambda: name in self._let_go, PATIENT)


@pytest.fixture
def workers() -> Iterator[Workers]:
    found = Workers()
    yield found
    found.let_go(*"abcdef")
    found.join()


def test_a_client_is_in_no_round_while_an_earlier_one_has_it(workers: Workers) -> None:
    """Whether it works or waits for its turn; and the next round after that has it again."""
    turns = Turns(jobs=1)
    first = turns.begin_round("ab")
    workers.begin(first, "a")
    workers.wait_for("a")
    assert set(turns.begin_round("abc").names) == {"c"}
    workers.let_go("a")
    workers.join()
    assert set(turns.begin_round("abc").names) == {"a"}


def test_what_a_round_never_came_to_is_left_to_the_next() -> None:
    """Its end gives back nothing that a later round has meanwhile."""
    turns = Turns(jobs=4)
    first = turns.begin_round("ab")
    with first.turn("a"):
        pass
    second = turns.begin_round("ab")
    assert set(second.names) == {"a"}
    first.end()
    assert set(turns.begin_round("ab").names) == {"b"}


def test_first_syncs_leave_turns_to_clients_that_were_synced_before(workers: Workers) -> None:
    """However many of them wait, in whichever round, another client has its turn at once."""
    turns = Turns(jobs=4)
    workers.begin(turns.begin_round("abcd", firsts="abcd"), *"abcd")
    workers.begin(turns.begin_round("ef"), "e", "f")
    workers.wait_for("e", "f")
    workers.let_go(*"abcd")
    workers.wait_for(*"abcd")


@pytest.mark.parametrize(("firsts", "most"), [("", 4), ("abcdefgh", 2)])
def test_so_many_clients_work_at_a_time_whatever_their_rounds(firsts: str, most: int) -> None:
    """`jobs` of them, and half as many where all are first syncs; each waits here until so many have their turns."""
    turns, together, at_once = Turns(jobs=4), threading.Barrier(most), []
    working: set[str] = set()

    def work(of_round: RoundTurns, name: str) -> None:
        with of_round.turn(name):
            working.add(name)
            at_once.append(len(working))
            together.wait(PATIENT)
            working.discard(name)
            together.wait(PATIENT)

    with ThreadPoolExecutor(8) as pool:
        rounds = [turns.begin_round("abcd", firsts), turns.begin_round("efgh", firsts)]
        ended = [pool.submit(work, of_round, name) for of_round in rounds for name in of_round.names]
        for future in ended:
            future.result()
    assert max(at_once) == most
