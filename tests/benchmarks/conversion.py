"""Processor time a member of each step from a page's bytes to a record's, beside plain `json` on the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.converting import Took, converting
from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.sandbox_process import SandboxProcess

UNIT = "µs/member"
MOST = 15.0  # microseconds of conversion a member, phone numbers aside


def measure(scale: Scale) -> Iterator[Figure]:
    size = scale.of(20_000, 4_000)
    for has_phones in (False, True):
        with SandboxProcess(size, has_phones=has_phones) as sandbox, importer(sandbox) as one:
            took = converting(one, sandbox, size)
        yield from _told(took, "with phone numbers" if has_phones else "no phone numbers", is_bound=not has_phones)


def _told(took: Took, who: str, *, is_bound: bool) -> Iterator[Figure]:
    yield Figure(f"parse ({who})", took.parse, UNIT, "json.loads", took.load)
    bound = ("at most 15 µs", took.convert <= MOST) if is_bound else ("", None)
    yield Figure(f"convert ({who})", took.convert, UNIT, "json.loads + json.dumps", took.floor, *bound)
    yield Figure(f"encode ({who})", took.encode, UNIT, "json.dumps", took.dump)
    yield Figure(f"all three ({who})", took.whole, UNIT, "json.loads + json.dumps", took.floor)
