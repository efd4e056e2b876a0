"""Reading over a wide and slow link: half a second an answer, ten connections, and nothing else in the way."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.box import Box
from benchmarks.figures import Figure, Scale
from benchmarks.importer import importer
from benchmarks.reading import PAGE, read
from mcimport.mailchimp import MEMBER_FIELDS

LATENCY, CONNECTIONS = 0.5, 10
LEAST = 0.8


def measure(scale: Scale) -> Iterator[Figure]:
    """The sandbox has written everybody before, so that what it invents is not what is measured."""
    size = scale.of(80_000, 20_000)
    with Box(size) as mailchimp, Box(0) as ometria, importer(mailchimp, ometria=ometria) as one:
        read(one, mailchimp, size, fields=MEMBER_FIELDS)
        mailchimp.clear(latency=LATENCY)
        bare = size / read(one, mailchimp, size, connections=CONNECTIONS, fields=MEMBER_FIELDS).seconds
        mailchimp.clear()
        ran = one("sync", "--quiet")
        seen = mailchimp.counters()
        seen_there = ometria.clear(latency=LATENCY)
        mailchimp.clear()
        one("sync", "--quiet", "--full")
        slow = mailchimp.counters()
    arithmetic = CONNECTIONS * PAGE / LATENCY
    yield Figure("a bare client with ten connections", bare, "members/s", "10 pages of 1,000 each 0.5 s", arithmetic)
    speed = seen.walked_per_second
    bound = ("at least 80 %", speed >= LEAST * bare)
    yield Figure("reading, planning aside", speed, "members/s", "the bare client", bare, *bound)
    busy = seen.walk_ended - seen.walk_began
    yield Figure("processor meanwhile", ran.processor, "s", "seconds of reading", busy)
    yield Figure("the whole sync", size / ran.wall, "members/s", "the bare client", bare)
    yield Figure("requests for single members", seen.single, "", "all requests to Mailchimp", seen.mailchimp)
    yield Figure("start to first push", seen_there.push_began - ran.began, "s", "an answer", LATENCY)
    name = "reading, with 0.5 s an answer of Ometria's, too"
    yield Figure(name, slow.walked_per_second, "members/s", "the bare client", bare)
