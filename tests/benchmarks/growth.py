"""How requests and processor time grow with the list: both beside what a straight line would make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.sandbox_process import SandboxProcess
from benchmarks.whole import Whole, carried, sizes

SLACK = 1.1


def measure(scale: Scale) -> Iterator[Figure]:
    """What a list of any size costs (start-up, the list's fields) is taken off first."""
    with SandboxProcess(0) as empty, importer(empty) as one:
        ran = one("sync", "--quiet")
        nobody = Whole(0, ran, empty.counters())
    for smaller, larger in pairwise(map(carried, sizes(scale))):
        yield _beside_a_line("requests", "a million", smaller, larger, lambda one: _requests(one) - _requests(nobody))
        yield _beside_a_line("processor", "s a million", smaller, larger, lambda one: _spent(one) - _spent(nobody))


def _requests(one: Whole) -> float:
    return one.seen.mailchimp + one.seen.ometria


def _spent(one: Whole) -> float:
    return one.ran.processor


def _beside_a_line(what: str, unit: str, smaller: Whole, larger: Whole, cost: Callable[[Whole], float]) -> Figure:
    """A straight line makes as much a member of the larger list as of the smaller one."""
    value, line = (1e6 * cost(one) / one.size for one in (larger, smaller))
    name = f"{what}, {larger.size:,} members"
    return Figure(name, value, unit, f"{smaller.size:,} members", line, "linear (within 10 %)", value <= SLACK * line)
