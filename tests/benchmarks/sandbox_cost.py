"""The sandbox's own processor time a member: what it can serve is a ceiling to everything that is measured on it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.reading import read
from benchmarks.sandbox_process import SandboxProcess
from mcimport.services.mailchimp.member_fields import default_fields

UNIT = "µs/member"


def measure(scale: Scale) -> Iterator[Figure]:
    """Beside it the importer's whole sync of the same members, which are written already by then."""
    size = scale.of(30_000, 6_000)
    with SandboxProcess(size) as sandbox, importer(sandbox) as one:
        costs = []
        for _ in range(2):
            read(one, sandbox, size, fields=default_fields().query)
            seen = sandbox.clear()
            costs.append(1e6 * seen.processor / seen.members)
        ran = one("sync", "--quiet")
        served = 1e6 * sandbox.counters().processor / size
    ours = 1e6 * ran.processor / size
    beside = "the importer's sync, start-up included"
    yield Figure("serving whom it has to invent", costs[0], UNIT, beside, ours)
    yield Figure("serving whom it has written before", costs[1], UNIT, beside, ours)
    yield Figure("serving and taking a whole sync", served, UNIT, beside, ours)
