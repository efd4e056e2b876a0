"""The importer beside a sequential one, one connection and one page at a time, on the same sandbox."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec

from benchmarks.figures import Figure, Scale
from benchmarks.importer import MOST_PER_SECOND, Importer, Ran, importer, run
from benchmarks.sandbox_process import UNLIMITED, SandboxProcess

LATENCY = 0.2  # seconds an answer, of both services
PER_SECOND = 8


def measure(scale: Scale) -> Iterator[Figure]:
    """Both on a link with 0.2 s an answer, at Ometria's limit; then both with nothing in the way but the latency."""
    size = scale.of(20_000, 4_000)
    with SandboxProcess(size, latency=LATENCY) as mailchimp:
        yield from _beside(mailchimp, PER_SECOND, f"{size:,} members at Ometria's limit, 0.2 s an answer")
        yield from _beside(mailchimp, UNLIMITED, f"{size:,} members, Ometria unlimited, 0.2 s an answer")


def _beside(mailchimp: SandboxProcess, per_second: int, where: str) -> Iterator[Figure]:
    """Each into an Ometria of its own that holds no contacts: where it holds some, ours looks for opt-outs there."""
    most = min(per_second, MOST_PER_SECOND)
    with _ometria(per_second) as ometria, importer(mailchimp, ometria=ometria) as one:
        naive, slow = _naively(mailchimp, ometria, one), ometria.counters()
    with _ometria(per_second) as ometria, importer(mailchimp, ometria=ometria, per_second=most) as one:
        ours, fast = one("sync", "--quiet"), ometria.counters()
    if not slow.records or not fast.records:
        raise RuntimeError("one of the two importers pushed nobody")
    speeds = fast.records / ours.wall, slow.records / naive.wall
    yield Figure(f"contacts a second: {where}", speeds[0], "contacts/s", "the sequential importer", speeds[1])
    spent = 1e6 * ours.processor / fast.records, 1e6 * naive.processor / slow.records
    yield Figure("processor, start-up included", spent[0], "µs/contact", "the sequential importer", spent[1])
    yield Figure("memory", ours.peak, "MB", "the sequential importer", naive.peak)


def _ometria(per_second: int) -> SandboxProcess:
    return SandboxProcess(0, latency=LATENCY, pushes_per_second=per_second)


def _naively(mailchimp: SandboxProcess, ometria: SandboxProcess, one: Importer) -> Ran:
    account = mailchimp.account
    wish = {
        "mailchimp_url": mailchimp.place.mailchimp_url,
        "ometria_url": ometria.place.ometria_url,
        "mailchimp_key": account.mailchimp_key,
        "ometria_key": account.ometria_key,
        "list_key": account.list_key,
    }
    return run([sys.executable, "-m", "benchmarks.naive_importer", msgspec.json.encode(wish).decode()], one.folder)
