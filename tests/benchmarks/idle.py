"""One list in which nothing happened: its requests, its threads, and its processor time beyond start-up."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.sandbox_process import SandboxProcess

SWEEPS = 2  # members on the list, and the archived
MOST = 10.0  # milliseconds
TIMES = 7
OWN_THREADS = ("leaving", "core")  # they wait for a signal, and for a second to pass


def measure(scale: Scale) -> Iterator[Figure]:
    """Start-up is everything before the first connection; what follows it is the idle list's."""
    with SandboxProcess(scale.of(2_000, 500)) as sandbox, importer(sandbox) as one:
        for _ in range(2):  # the second looks at a few contacts of the first, once a day
            one("sync", "--quiet")
        sandbox.clear()
        ran = [one("sync", "--quiet", is_metered=True) for _ in range(TIMES)]
        seen = sandbox.counters()
    marks = [each.marks for each in ran]
    asked = (seen.mailchimp + seen.ometria) / TIMES
    yield Figure("requests", asked, "", "sweeps", SWEEPS, "one a sweep", asked == SWEEPS)
    worked, started = (1e3 * min(getattr(one, name) for one in marks) for name in ("worked", "started_up"))
    bound = ("at most 10 ms", worked <= MOST)
    yield Figure("processor beyond start-up", worked, "ms", "processor of start-up", started, *bound)
    workers = max(sum(name not in OWN_THREADS for name in one.threads) for one in marks)
    yield Figure("worker threads started", workers, "", "workers allowed", 10, "none", workers == 0)
    yield Figure("seconds from start to end", min(one.wall for one in ran), "s", "processor", (started + worked) / 1e3)
