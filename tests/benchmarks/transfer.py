"""Bytes that come from Mailchimp in a first sync, beside a plain request for the same members."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.reading import read
from benchmarks.sandbox_process import SandboxProcess

MOST = 0.45


def measure(scale: Scale) -> Iterator[Figure]:
    """All answers of a sync, look-ups, fields and whoever is read twice included; the plain ones are not compressed."""
    size = scale.of(30_000, 6_000)
    with SandboxProcess(size) as sandbox, importer(sandbox) as one:
        one("sync", "--quiet")
        seen = sandbox.clear()
        plain = read(one, sandbox, size).body
        listed = sandbox.clear(gzip=True).members
        one("sync", "--quiet", "--full")
        compressed = sandbox.counters()
    theirs = plain / listed
    for name, body in (("uncompressed", seen.body), ("compressed", compressed.body)):
        ours = body / listed
        bound = ("at most 45 %", ours <= MOST * theirs)
        yield Figure(f"bytes received, {name}", ours, "bytes/member", "a plain request", theirs, *bound)
    yield Figure("members received", seen.members, "", "members on the list", listed)
