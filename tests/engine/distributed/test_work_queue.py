"""What a run over a broker still has to do: whatever becomes of its orders, no work is forgotten, or recorded twice."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from mcimport.engine.distributed.messages import is_same_work
from mcimport.engine.distributed.work_queue import REVOCATIONS, WorkQueue
from mcimport.engine.interface import stage
from mcimport.models import Window

MOST = 3
PARTS = 2  # pages that each window takes

Deed = tuple[str, int]


def window(number: int) -> Window:
    return Window(
        number=number, sweep="archived" if number % 3 == 2 else "listed", since=number * 100, until=number * 100 + 99
    )


class Coordinator:
    """A backlog with what was sent from it, each order with its window, and what was recorded of it.

    An order stays `out` after it was answered or recalled: workers that were taken for dead may answer, too, or again.
    """

    def __init__(self, many: int) -> None:
        self.backlog = WorkQueue(map(window, range(many)), MOST)
        self.out: dict[str, Window] = {}
        self.at_work: dict[str, Window] = {}
        self.done: list[Window] = []
        self._sent = 0

    def fill(self) -> None:
        while (begun := self.backlog.begin(name := str(self._sent))) is not None:
            assert not any(is_same_work(begun, other) for other in self.at_work.values())
            assert not any(is_same_work(begun, other) for other in self.done)
            assert all(stage(other) >= stage(begun) for other in self.at_work.values())
            self.out[name] = self.at_work[name] = begun
            self._sent += 1
        assert len(self.at_work) <= MOST
        if any(self.backlog.losses(one) for one in self.at_work.values()):
            assert len(self.at_work) == 1
        assert self.backlog.is_under_way == bool(self.at_work)

    def take_local_work(self) -> None:
        own = self.backlog.take_local_work()
        assert not own or self.at_work == {}
        for one in own:
            first = one.since or 0
            self.done += [replace(one, since=first + later) for later in range(PARTS - first % 100)]

    def moved(self, name: str) -> None:
        part = self.out[name]
        self.at_work.pop(name, None)
        if not self.backlog.claim(name, part):
            return
        self.done.append(part)
        moment = part.since or 0
        if moment % 100 < PARTS - 1:
            self.backlog.add_rest(replace(part, since=moment + 1))

    def slow(self, name: str) -> None:
        """An outcome that carried nobody: the same part is to be asked for again, in smaller pages."""
        part = self.out[name]
        self.at_work.pop(name, None)
        if self.backlog.claim(name, part):
            self.backlog.add_rest(replace(part, page=max(1, part.page // 2)))

    def unmoved(self, name: str, kind: str) -> None:
        if kind == "begun":
            self.backlog.begun(name)
            return
        self.at_work.pop(name, None)
        if (flight := self.backlog.land(name)) is None:
            return
        if kind == "lost":
            if self.backlog.worker_lost(flight):
                self.done.append(flight.window)
        elif kind == "returned":
            self.backlog.again(flight.window)
        elif kind == "late":
            self.backlog.timed_out(flight.window)
        else:
            self.backlog.revoked(flight.window)

    def recall(self) -> None:
        self.at_work = {}
        self.backlog.recall()

    def do(self, kind: str, which: int) -> None:
        names = list(self.out)
        if kind == "recall":
            self.recall()
        elif names and kind in ("moved", "slow"):
            (self.moved if kind == "moved" else self.slow)(names[which % len(names)])
        elif names:
            self.unmoved(names[which % len(names)], kind)

    def step(self) -> None:
        self.fill()
        self.take_local_work()


KINDS = ("moved", "slow", "begun", "lost", "returned", "late", "revoked", "recall")
deeds = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 40)), max_size=60)


def ended(one: Coordinator) -> list[tuple[int, int]]:
    """From here on every order is done in its turn; what was recorded, by number and part."""
    one.step()
    while not one.backlog.is_empty:
        for name in list(one.at_work):
            one.moved(name)
        one.step()
    return sorted((part.number, (part.since or 0) % 100) for part in one.done)


@given(many=st.integers(1, 5), deeds=deeds)
@example(many=1, deeds=[("lost", 0), ("slow", 0)])
def test_whatever_becomes_of_orders_all_work_is_recorded_once(many: int, deeds: list[Deed]) -> None:
    """Whether they are answered, lost, late, answered twice or by somebody who was taken for dead.

    Never is the same work with two, nor more of it out than may be, nor anything beside what a worker may have died of.
    """
    one = Coordinator(many)
    for kind, which in deeds:
        one.step()
        one.do(kind, which)
    found = ended(one)
    assert len(found) == len(set(found))
    assert {number for number, _ in found} == set(range(many))


@given(deeds=st.lists(st.sampled_from(("moved", "returned", "recall", "late", "revoked")), max_size=40))
def test_nothing_is_buried_while_no_worker_dies(deeds: list[str]) -> None:
    """Then all parts of all windows are recorded, and those that no worker ends are the coordinator's own."""
    one = Coordinator(3)
    for number, kind in enumerate(deeds):
        one.step()
        one.do(kind, number)
    assert ended(one) == [(number, part) for number in range(3) for part in range(PARTS)]


def test_the_outcome_of_a_former_order_leaves_the_present_one_under_way() -> None:
    """A worker that was taken for dead spoke after all: the one that has the page now may be about to push it."""
    one = Coordinator(1)
    one.fill()
    (former,) = one.at_work
    one.recall()
    one.fill()
    (present,) = one.at_work
    assert one.backlog.claim(former, one.out[former])
    assert one.backlog.is_under_way
    assert not one.backlog.is_empty
    assert not one.backlog.claim(present, one.out[present])
    assert one.backlog.is_empty


def test_a_page_is_to_blame_when_two_workers_died_of_it_alone() -> None:
    """One may have died of something else just then: of another client's page, or because somebody killed it."""
    one = Coordinator(1)
    for has_begun in (False, False, True, True):
        assert one.done == []
        one.fill()
        ((name, part),) = one.at_work.items()
        assert one.backlog.is_suspect(part) == has_begun
        if has_begun:
            one.unmoved(name, "begun")
        one.unmoved(name, "lost")
    assert [part.number for part in one.done] == [0]
    assert one.backlog.is_empty


def test_an_outcome_that_is_heard_again_claims_nothing() -> None:
    """The line broke before it was acknowledged; what it left to be done is the very same part, in smaller pages."""
    one = Coordinator(1)
    one.fill()
    (name,) = one.at_work
    one.slow(name)
    one.fill()
    assert not one.backlog.claim(name, one.out[name])
    assert len(one.at_work) == 1
    assert one.backlog.is_under_way


def test_a_page_that_breaks_off_its_worker_each_time_is_asked_of_no_more_workers() -> None:
    """It keeps them from telling the broker that they live, and would do so for ever."""
    one = Coordinator(1)
    for _ in range(REVOCATIONS):
        assert one.backlog.take_local_work() == []
        one.fill()
        (name,) = one.at_work
        one.unmoved(name, "revoked")
    assert one.backlog.take_local_work() == [window(0)]
    assert one.backlog.is_empty


def test_a_worker_that_leaves_counts_for_nothing() -> None:
    """However often that happens, the page is the next worker's."""
    one = Coordinator(1)
    for _ in range(10 * REVOCATIONS):
        one.fill()
        (name,) = one.at_work
        one.unmoved(name, "returned")
    assert one.backlog.take_local_work() == []
    one.fill()
    assert len(one.at_work) == 1
