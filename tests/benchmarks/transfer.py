"""Bytes that come from Mailchimp in a first sync, beside a plain request for the same members."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.reading import read
from benchmarks.sandbox_process import SandboxProcess
from benchmarks.told import Counters

MOST = 0.45


def measure(scale: Scale) -> Iterator[Figure]:
    """All answers of a sync, look-ups, fields and whoever is read twice included; the plain ones are not compressed."""
    size = scale.of(30_000, 6_000)
    with SandboxProcess(size) as sandbox:
        seen = _first_sync(sandbox)
        sandbox.clear()
        with importer(sandbox) as one:
            plain = read(one, sandbox, size).body
        listed = sandbox.clear(gzip=True).members
        compressed = _first_sync(sandbox)
    theirs = plain / listed
    for name, body in (("uncompressed", seen.body), ("compressed", compressed.body)):
        ours = body / listed
        bound = ("at most 45 %", ours <= MOST * theirs)
        yield Figure(f"bytes received, {name}", ours, "bytes/member", "a plain request", theirs, *bound)
    yield Figure("members received", seen.members, "", "members on the list", listed)


def _first_sync(mailchimp: SandboxProcess) -> Counters:
    """Returns what Mailchimp saw of a sync into an Ometria that holds no contacts: others are looked up one by one."""
    with SandboxProcess(0) as ometria, importer(mailchimp, ometria=ometria) as one:
        one("sync", "--quiet")
        return mailchimp.counters()
