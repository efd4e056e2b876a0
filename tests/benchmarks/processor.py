"""Processor time a member of whole syncs, bytes in to bytes out, start-up aside, with nothing to wait for."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.converting import converting
from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.sandbox_process import SandboxProcess

MOST = 25.0  # microseconds a member, phone numbers aside
TIMES = 3


def measure(scale: Scale) -> Iterator[Figure]:
    size = scale.of(60_000, 8_000)
    for has_phones in (False, True):
        spent, floor = _spent(size, has_phones=has_phones)
        who = "with phone numbers" if has_phones else "no phone numbers"
        bound = ("", None) if has_phones else ("at most 25 µs", spent <= MOST)
        yield Figure(f"whole sync ({who})", spent, "µs/member", "json.loads + json.dumps", floor, *bound)


def _spent(size: int, *, has_phones: bool) -> tuple[float, float]:
    """Microseconds a member, the smallest of several syncs, and what plain `json` takes for the same."""
    with SandboxProcess(0, has_phones=has_phones) as empty:
        nobody = min(_sync(empty) for _ in range(TIMES))
    with SandboxProcess(size, has_phones=has_phones) as sandbox:
        everybody = min(_sync(sandbox) for _ in range(TIMES))
        with importer(sandbox) as one:
            floor = converting(one, sandbox, min(size, 10_000)).floor
    return 1e6 * (everybody - nobody) / size, floor


def _sync(mailchimp: SandboxProcess) -> float:
    """A first sync, into an Ometria that holds no contacts: where it holds some, opt-ins are looked up one by one."""
    with SandboxProcess(0) as ometria, importer(mailchimp, ometria=ometria) as one:
        return one("sync", "--quiet").processor
