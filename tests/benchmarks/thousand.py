"""A thousand clients in one file: how soon the first request leaves, and an idle round of all, by `--jobs`."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import Importer, importer
from benchmarks.sandbox_process import SandboxProcess

LATENCY, SWEEPS = 0.3, 2
MOST, SOON = 30.0, 2.0
SIZE = 20
TIMES = 3


def measure(scale: Scale) -> Iterator[Figure]:
    clients = scale.of(1_000, 100)
    with (
        SandboxProcess(SIZE, clients=clients) as sandbox,
        importer(sandbox) as one,
        importer(sandbox, clients=1) as alone,
    ):
        for each in (one, alone):
            each("sync", "--since", "now", "--quiet")
        yield from _start(sandbox, one, alone, clients)
        sandbox.clear(latency=LATENCY)
        yield from _rounds(sandbox, one, clients, (8, 16, 32, 48))
        sandbox.clear(latency=0.0)
        single = min(alone("sync", "--quiet").processor for _ in range(TIMES))
        ran = one("sync", "--quiet")
        each_more = 1e3 * (ran.processor - single) / (clients - 1)
        yield Figure("processor a further idle client", each_more, "ms", "processor of a sync of one", 1e3 * single)
        spent = 1e3 * sandbox.counters().processor / clients
        yield Figure("the sandbox's own, a client", spent, "ms", "the importer's, a client", each_more)
        yield Figure(f"memory, {clients:,} idle clients", ran.peak, "MB", "one", alone("sync", "--quiet").peak)


def _start(sandbox: SandboxProcess, one: Importer, alone: Importer, clients: int) -> Iterator[Figure]:
    """The fastest of several, to the end of `status`, and to the first request of `sync`."""
    status, little = (min(each("status").wall for _ in range(TIMES)) for each in (one, alone))
    bound = ("under 2 s", status < SOON)
    yield Figure(f"`status`, {clients:,} clients", status, "s", "one client", little, *bound)
    first, little = (min(_first_request(sandbox, each) for _ in range(TIMES)) for each in (one, alone))
    bound = ("under 2 s", first < SOON)
    yield Figure(f"`sync` to the first request, {clients:,} clients", first, "s", "one client", little, *bound)


def _first_request(sandbox: SandboxProcess, one: Importer) -> float:
    sandbox.clear()
    ran = one("sync", "--quiet")
    return sandbox.counters().began - ran.began


def _rounds(sandbox: SandboxProcess, one: Importer, clients: int, jobs: tuple[int, ...]) -> Iterator[Figure]:
    for number in jobs:
        ran = one("sync", "--quiet", "--jobs", str(number))
        waiting = clients * SWEEPS * LATENCY / number
        name = f"{clients:,} idle clients, --jobs {number}"
        bound = ("under 30 s", ran.wall < MOST) if clients == 1_000 else ("", None)
        yield Figure(name, ran.wall, "s", "waiting for answers alone", waiting, *bound)
    sandbox.clear()
    ran = one("sync", "--quiet")
    bound = ("under 30 s", ran.wall < MOST) if clients == 1_000 else ("", None)
    waiting = clients * SWEEPS * LATENCY
    yield Figure(f"{clients:,} idle clients, default --jobs", ran.wall, "s", "one at a time", waiting, *bound)
    asked = sandbox.counters().mailchimp / clients
    yield Figure("requests a client", asked, "", "sweeps", SWEEPS, "one a sweep", asked == SWEEPS)
