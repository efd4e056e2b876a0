"""The importer beside a sequential one, one connection and one page at a time, on the same sandbox."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec

from benchmarks.figures import Figure, Scale
from benchmarks.importer import Importer, Ran, importer, run
from benchmarks.sandbox_process import SandboxProcess

LATENCY = 0.2  # seconds an answer, of both services
PER_SECOND, BATCH = 8, 100


def measure(scale: Scale) -> Iterator[Figure]:
    """Both on a link with 0.2 s an answer, at Ometria's limit; then both with nothing in the way but the latency."""
    size = scale.of(20_000, 4_000)
    with SandboxProcess(size, latency=LATENCY, pushes_per_second=PER_SECOND) as sandbox:
        yield from _beside(sandbox, PER_SECOND, f"{size:,} members at Ometria's limit, 0.2 s an answer")
    with SandboxProcess(size, latency=LATENCY) as sandbox:
        yield from _beside(sandbox, 1_000, f"{size:,} members, Ometria unlimited, 0.2 s an answer")


def _beside(sandbox: SandboxProcess, per_second: float, where: str) -> Iterator[Figure]:
    with importer(sandbox, per_second=per_second) as one:
        naive = _naively(sandbox, one)
        slow = sandbox.clear()
        ours = one("sync", "--quiet")
        fast = sandbox.counters()
    if not slow.records or not fast.records:
        raise RuntimeError("one of the two importers pushed nobody")
    speeds = fast.records / ours.wall, slow.records / naive.wall
    yield Figure(f"contacts a second: {where}", speeds[0], "contacts/s", "the sequential importer", speeds[1])
    spent = 1e6 * ours.processor / fast.records, 1e6 * naive.processor / slow.records
    yield Figure("processor, start-up included", spent[0], "µs/contact", "the sequential importer", spent[1])
    yield Figure("memory", ours.peak, "MB", "the sequential importer", naive.peak)


def _naively(sandbox: SandboxProcess, one: Importer) -> Ran:
    account = sandbox.account
    wish = {
        "mailchimp_url": sandbox.place.mailchimp_url,
        "ometria_url": sandbox.place.ometria_url,
        "mailchimp_key": account.mailchimp_key,
        "ometria_key": account.ometria_key,
        "list_key": account.list_key,
    }
    return run([sys.executable, "-m", "benchmarks.naive_importer", msgspec.json.encode(wish).decode()], one.folder)
