"""Both sides compared, and what differs mended: how long that takes, in how much memory, and at what pace."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import MOST_PER_SECOND, Ran, importer
from benchmarks.mirror import OTHERWISE
from benchmarks.sandbox_process import UNLIMITED, SandboxProcess
from benchmarks.whole import sizes

READS = 4  # a second, Ometria's limit
MOST = 200.0  # MB
MOST_OVER = 1.25
LATENCY = 0.3  # seconds an answer


def measure(scale: Scale) -> Iterator[Figure]:
    with SandboxProcess(0, mirrors=True) as empty, importer(empty, reads=MOST_PER_SECOND) as one:
        one("sync", "--since", "now", "--quiet")
        nobody = one("reconcile", "--quiet")
    for size in sizes(scale):
        with SandboxProcess(size, mirrors=True, reads_per_second=UNLIMITED) as sandbox:
            ran = _mended(sandbox, reads=MOST_PER_SECOND)
            spent = sandbox.counters().processor
        what = f"{size:,} members, {OTHERWISE} mended, no limit"
        yield Figure(f"{what}: time", ran.wall, "s", "the sandbox's own processor time", spent)
        yield Figure(f"{what}: processor", ran.processor, "s", "an empty list", nobody.processor)
        yield Figure(f"{what}: memory", ran.peak, "MB", "an empty list", nobody.peak, "below 200 MB", ran.peak < MOST)
    yield from _at_the_pace_allowed(scale.of(30_000, 5_000))


def _at_the_pace_allowed(size: int) -> Iterator[Figure]:
    """Two passes over Ometria's contacts, for somebody differs; the way to both services takes its time."""
    with SandboxProcess(size, mirrors=True, reads_per_second=READS, latency=LATENCY) as sandbox:
        ran = _mended(sandbox, reads=READS)
        seen = sandbox.counters()
    name = f"{size:,} members, Ometria's limit, {LATENCY} s an answer: time"
    least = seen.ometria / READS
    bound = (f"at most {MOST_OVER:.0%} of it", ran.wall <= MOST_OVER * least)
    yield Figure(name, ran.wall, "s", f"{seen.ometria} requests at {READS} a second", least, *bound)
    yield Figure("answers 429", seen.throttled, "", "requests", seen.ometria, "none", seen.throttled == 0)


def _mended(sandbox: SandboxProcess, *, reads: float) -> Ran:
    with importer(sandbox, reads=reads) as one:
        one("sync", "--since", "now", "--quiet")
        sandbox.clear()
        return one("reconcile", "--mend", "--yes", "--quiet")
