"""First syncs of lists of several sizes with nothing to wait for, each made once, for whoever wants to know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from benchmarks.figures import Scale
from benchmarks.importer import Ran, importer
from benchmarks.sandbox_process import SandboxProcess
from benchmarks.told import Counters


@dataclass(frozen=True, slots=True)
class Whole:
    """One first sync."""

    size: int
    ran: Ran
    seen: Counters


def sizes(scale: Scale) -> tuple[int, int, int]:
    return scale.of((30_000, 300_000, 1_000_000), (5_000, 20_000, 60_000))


@cache
def carried(size: int) -> Whole:
    with SandboxProcess(size) as sandbox, importer(sandbox) as one:
        ran = one("sync", "--quiet")
        return Whole(size, ran, sandbox.counters())
