"""The most resident memory, by the size of the list; and with eight clients at full speed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import MOST_PER_SECOND, importer
from benchmarks.sandbox_process import SandboxProcess
from benchmarks.whole import carried, sizes

MOST, MOST_OF_EIGHT = 120.0, 300.0  # MB
GROWTH = 1.1
CLIENTS = 8
CEILING = 8  # Ometria's pushes a second


def measure(scale: Scale) -> Iterator[Figure]:
    with SandboxProcess(0) as empty, importer(empty) as one:
        nobody = one("sync", "--quiet").peak
    peaks = []
    for size in sizes(scale):
        peaks.append(peak := carried(size).ran.peak)
        yield Figure(f"{size:,} members", peak, "MB", "an empty list", nobody, "below 120 MB", peak < MOST)
    bound = ("less than 10 % more", peaks[-1] < GROWTH * peaks[-2])
    yield Figure("growth, the largest list", peaks[-1], "MB", "the one before", peaks[-2], *bound)
    for per_second in (CEILING, MOST_PER_SECOND):
        yield _eight(scale.of(20_000, 3_000), per_second, nobody)


def _eight(size: int, per_second: int, nobody: float) -> Figure:
    pace = "Ometria's limit" if per_second == CEILING else "no limit"
    with SandboxProcess(size, clients=CLIENTS) as sandbox, importer(sandbox, per_second=per_second) as one:
        peak = one("sync", "--quiet").peak
    name = f"{CLIENTS} clients of {size:,}, {pace}"
    return Figure(name, peak, "MB", "an empty list", nobody, "below 300 MB", peak < MOST_OF_EIGHT)
