"""A first sync at the pace that Ometria allows: how much of it is used, and how soon the first push leaves."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from benchmarks.figures import Figure, Scale
from benchmarks.importer import Importer, importer
from benchmarks.sandbox_process import SandboxProcess, environment

PER_SECOND, BATCH = 8, 100  # Ometria's limits
CONNECTIONS = 10  # Mailchimp's
CEILING = PER_SECOND * BATCH
LEAST, SOON = 0.97, 3.0
HANGS = 120  # seconds without a push after which an importer is taken to hang


def measure(scale: Scale) -> Iterator[Figure]:
    size = scale.of(30_000, 8_000)
    with _first_sync(size) as (mailchimp, ometria, one):
        ran = one("sync", "--quiet")
        seen, there = mailchimp.counters(), ometria.counters()
    speed, first = there.pushed_per_second, there.push_began - ran.began
    bound = ("at least 97 %", speed >= LEAST * CEILING)
    yield Figure(f"speed while pushing {size:,}", speed, "contacts/s", "Ometria's limit", CEILING, *bound)
    fill = there.records / (there.ometria * BATCH)
    yield Figure("how full the pushes are", 100 * fill, "%", "records a push allowed", 100)
    yield Figure("pushes in the busiest second", there.most_pushes, "", "Ometria's limit", PER_SECOND)
    yield Figure("answers 429", there.throttled, "", "requests", there.ometria, "none", there.throttled == 0)
    bound = ("at most 10", seen.most_open <= CONNECTIONS)
    yield Figure("connections to Mailchimp", seen.most_open, "", "Mailchimp's limit", CONNECTIONS, *bound)
    with SandboxProcess(0) as empty, importer(empty) as one:
        nobody = one("sync", "--quiet").wall
    yield _first_push(size, first, nobody)
    large = scale.of(1_000_000, 60_000)
    with _first_sync(large) as (_, ometria, one):
        yield _first_push(large, _until_first_push(ometria, one), nobody)


@contextmanager
def _first_sync(size: int) -> Iterator[tuple[SandboxProcess, SandboxProcess, Importer]]:
    """Two services, as they are: one process for both would hear pushes late while it writes pages."""
    with (
        SandboxProcess(size) as mailchimp,
        SandboxProcess(0, pushes_per_second=PER_SECOND) as ometria,
        importer(mailchimp, ometria=ometria, per_second=PER_SECOND) as one,
    ):
        yield mailchimp, ometria, one


def _first_push(size: int, seconds: float, nobody: float) -> Figure:
    name = f"start to first push, {size:,} members"
    return Figure(name, seconds, "s", "a whole sync of an empty list", nobody, "at most 3 s", seconds <= SOON)


def _until_first_push(ometria: SandboxProcess, one: Importer) -> float:
    """Seconds; the importer is killed when its first push has come."""
    began = time.monotonic()
    with subprocess.Popen(one.command("sync", "--quiet"), env=environment() | {"HOME": str(one.folder)}) as process:
        try:
            while not (seen := ometria.counters()).push_began:
                if process.poll() is not None or time.monotonic() > began + HANGS:
                    raise RuntimeError("the importer never pushed anything")
                Event().wait(0.05)
        finally:
            process.kill()
    return seen.push_began - began
