"""Bytes that come from Mailchimp in a first sync, beside a plain request for the same members."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.box import Box
from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.reading import read

MOST = 0.45


def measure(scale: Scale) -> Iterator[Figure]:
    """All answers of a sync, look-ups, fields and whoever is read twice included; the plain ones are not compressed."""
    size = scale.of(30_000, 6_000)
    with Box(size) as box, importer(box) as one:
        one("sync", "--quiet")
        seen = box.clear()
        plain = read(one, box, size).body
        listed = box.clear(gzip=True).members
        one("sync", "--quiet", "--full")
        compressed = box.counters()
    theirs = plain / listed
    for name, body in (("uncompressed", seen.body), ("compressed", compressed.body)):
        ours = body / listed
        bound = ("at most 45 %", ours <= MOST * theirs)
        yield Figure(f"bytes received, {name}", ours, "bytes/member", "a plain request", theirs, *bound)
    yield Figure("members received", seen.members, "", "members on the list", listed)
