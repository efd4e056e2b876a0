"""The present commit beside an earlier one, run after run in turn: speed, processor, memory and start-up.

A figure is the median of several runs, beside the earlier commit's: the machine's moods are in both.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Scale
from benchmarks.importer import MOST_PER_SECOND, Importer, Ran
from benchmarks.reading import read, used_fields
from benchmarks.sandbox_process import UNLIMITED, SandboxProcess
from benchmarks.told import Counters

PEERS_LATENCY, WIDE_LATENCY = 0.2, 0.5  # seconds an answer
CONNECTIONS, PAGE = 10, 1_000
PER_SECOND, BATCH = 8, 100  # Ometria's limits
TIMES = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One first sync, or an idle one: the process, and what both services saw of it."""

    ran: Ran
    mailchimp: Counters
    ometria: Counters


Value = Callable[[Seen], float]


def measure(scale: Scale, present: str, base: str) -> Iterator[Figure]:
    """`present`, `base`: the Pythons that have what is measured, and the earlier commit."""
    times, size = scale.of(TIMES, 1), scale.of(20_000, 2_000)
    yield from _first_syncs(
        size,
        times,
        (present, base),
        {
            f"members/s, {PEERS_LATENCY} s an answer": ("members/s", lambda seen: size / seen.ran.wall),
            "processor of that": ("µs/member", lambda seen: 1e6 * seen.ran.processor / size),
            "peak memory of that": ("MB", lambda seen: seen.ran.peak),
        },
        latency=PEERS_LATENCY,
        ometria_latency=PEERS_LATENCY,
    )
    carried = CONNECTIONS * PAGE / WIDE_LATENCY
    wide = scale.of(40_000, 4_000)
    yield from _first_syncs(
        wide,
        scale.of(3, 1),
        (present, base),
        {
            f"read over a wide link of {WIDE_LATENCY} s, of what ten connections carry": (
                "%",
                lambda seen: 100 * seen.mailchimp.walked_per_second / carried,
            ),
        },
        latency=WIDE_LATENCY,
        has_many_tags=False,
    )
    yield from _first_syncs(
        scale.of(40_000, 4_000),
        scale.of(3, 1),
        (present, base),
        {"processor of a sync that waits for nothing": ("s", lambda seen: seen.ran.processor)},
    )
    limited = scale.of(30_000, 4_000)
    yield from _first_syncs(
        limited,
        1,
        (present, base),
        {
            "of Ometria's limit": ("%", lambda seen: 100 * seen.ometria.pushed_per_second / (PER_SECOND * BATCH)),
            "pushes in the busiest second": ("", lambda seen: float(seen.ometria.most_pushes)),
            "answers 429": ("", lambda seen: float(seen.ometria.throttled)),
        },
        per_second=PER_SECOND,
    )
    yield from _idle(scale.of(2_000, 500), scale.of(2 * TIMES, 1), (present, base))
    yield from _idle_clients(scale.of(150, 20), scale.of(TIMES, 1), (present, base))


def _first_syncs(
    size: int,
    times: int,
    pythons: tuple[str, str],
    values: Mapping[str, tuple[str, Value]],
    *,
    latency: float = 0.0,
    ometria_latency: float = 0.0,
    has_many_tags: bool = True,
    per_second: int | None = None,
) -> Iterator[Figure]:
    """Each run has a fresh Ometria and a fresh state file, and the list was written by the sandbox before."""
    seen: dict[str, list[Seen]] = {python: [] for python in pythons}
    with SandboxProcess(size, has_phones=False, has_many_tags=has_many_tags) as mailchimp:
        with tempfile.TemporaryDirectory() as folder:
            for fields in used_fields():
                read(Importer(Path(folder)), mailchimp, size, fields=fields)
        for _ in range(times):
            for python, runs in seen.items():
                with (
                    SandboxProcess(0, pushes_per_second=per_second or UNLIMITED) as ometria,
                    tempfile.TemporaryDirectory() as folder,
                ):
                    one = Importer(Path(folder), python)
                    accounts = mailchimp.place.accounts
                    one.configure(mailchimp, ometria, accounts, per_second=per_second or MOST_PER_SECOND)
                    mailchimp.clear(latency=latency)
                    ometria.clear(latency=ometria_latency)
                    runs.append(Seen(one("sync", "--quiet"), mailchimp.counters(), ometria.counters()))
    yield from _figures(seen, pythons, values)


def _idle(size: int, times: int, pythons: tuple[str, str]) -> Iterator[Figure]:
    seen: dict[str, list[Seen]] = {python: [] for python in pythons}
    with SandboxProcess(size) as sandbox, tempfile.TemporaryDirectory() as folder:
        importers = {}
        for number, python in enumerate(seen):
            (Path(folder) / str(number)).mkdir()
            importers[python] = Importer(Path(folder) / str(number), python)
            importers[python].configure(sandbox, sandbox, sandbox.place.accounts)
            for _ in range(2):  # the second looks at a few contacts of the first, once a day
                importers[python]("sync", "--quiet")
        for _ in range(times):
            for python, runs in seen.items():
                sandbox.clear()
                ran = importers[python]("sync", "--quiet", is_metered=True)
                counters = sandbox.counters()
                runs.append(Seen(ran, counters, counters))
    values: dict[str, tuple[str, Value]] = {
        "idle list, processor beyond start-up": ("ms", lambda one: 1e3 * one.ran.marks.worked),
        "start to first request": ("ms", lambda one: 1e3 * (one.ran.marks.connected_at - one.ran.began)),
    }
    yield from _figures(seen, pythons, values)


def _idle_clients(clients: int, times: int, pythons: tuple[str, str]) -> Iterator[Figure]:
    """One idle client, start-up included, and how much each further one of a call costs beyond it."""
    alone: dict[str, list[float]] = {python: [] for python in pythons}
    each: dict[str, list[float]] = {python: [] for python in pythons}
    with SandboxProcess(20, clients=clients) as sandbox, tempfile.TemporaryDirectory() as folder:
        importers = {}
        for number, python in enumerate(pythons):
            for name, some in (("one", 1), ("all", clients)):
                home = Path(folder) / f"{number}{name}"
                home.mkdir()
                importers[python, name] = Importer(home, python)
                importers[python, name].configure(sandbox, sandbox, sandbox.place.accounts[:some])
                for words in (("--since", "now"), ()):
                    importers[python, name]("sync", "--quiet", *words)
        for _ in range(times):
            for python in pythons:
                alone[python].append(1e3 * importers[python, "one"]("sync", "--quiet").processor)
                spent = 1e3 * importers[python, "all"]("sync", "--quiet").processor
                each[python].append((spent - alone[python][-1]) / (clients - 1))
    for name, found in (("a sync of one idle client, processor", alone), ("each further idle client", each)):
        ours, theirs = (found[python] for python in pythons)
        yield Figure(
            f"{name} {_range(ours)}", statistics.median(ours), "ms", f"BASE {_range(theirs)}", statistics.median(theirs)
        )


def _figures(
    seen: Mapping[str, list[Seen]], pythons: tuple[str, str], values: Mapping[str, tuple[str, Value]]
) -> Iterator[Figure]:
    for name, (unit, value) in values.items():
        ours, theirs = ([value(one) for one in seen[python]] for python in pythons)
        yield Figure(
            f"{name} {_range(ours)}", statistics.median(ours), unit, f"BASE {_range(theirs)}", statistics.median(theirs)
        )


def _range(values: list[float]) -> str:
    return f"[{min(values):,.3g} to {max(values):,.3g}]" if len(values) > 1 else ""
