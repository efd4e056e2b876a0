"""Reading over a wide and slow link: half a second an answer, ten connections, and nothing else in the way."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, Scale
from benchmarks.importer import MOST_PER_SECOND, Importer, importer
from benchmarks.reading import PAGE, read
from benchmarks.sandbox_process import UNLIMITED, SandboxProcess
from benchmarks.told import Counters
from mcimport.services.mailchimp.member_fields import default_fields

LATENCY, CONNECTIONS = 0.5, 10
LEAST = 0.8


def measure(scale: Scale) -> Iterator[Figure]:
    """Once with the audience as it is, in which some have more tags than a page lists, and once without these."""
    size = scale.of(80_000, 20_000)
    with (
        SandboxProcess(size, has_many_tags=False) as mailchimp,
        SandboxProcess(0, reads_per_second=UNLIMITED) as ometria,
        importer(mailchimp, ometria=ometria, reads=MOST_PER_SECOND) as one,
    ):
        yield from _pages(one, mailchimp, ometria, size)
    with SandboxProcess(size) as mailchimp, SandboxProcess(0) as ometria, importer(mailchimp, ometria=ometria) as one:
        yield from _with_tags(one, mailchimp, size)


def _pages(one: Importer, mailchimp: SandboxProcess, ometria: SandboxProcess, size: int) -> Iterator[Figure]:
    bare = _bare(one, mailchimp, size)
    arithmetic = CONNECTIONS * PAGE / LATENCY
    yield Figure("a bare client with ten connections", bare, "members/s", "10 pages of 1,000 each 0.5 s", arithmetic)
    mailchimp.clear(latency=LATENCY)
    ran = one("sync", "--quiet")
    seen = mailchimp.counters()
    bound = ("at least 80 %", seen.walked_per_second >= LEAST * bare)
    yield Figure("reading, planning aside", seen.walked_per_second, "members/s", "the bare client", bare, *bound)
    busy = seen.walk_ended - seen.walk_began
    yield Figure("processor meanwhile", ran.processor, "s", "seconds of reading", busy)
    yield Figure("the whole sync", size / ran.wall, "members/s", "the bare client", bare)
    there = ometria.clear(latency=LATENCY)
    yield Figure("start to first push", there.push_began - ran.began, "s", "an answer", LATENCY)
    mailchimp.clear()
    one("sync", "--quiet", "--full")
    name = "reading, with 0.5 s an answer of Ometria's, too"
    yield Figure(name, mailchimp.counters().walked_per_second, "members/s", "the bare client", bare)


def _with_tags(one: Importer, mailchimp: SandboxProcess, size: int) -> Iterator[Figure]:
    """The requests for members with many tags take connections, too: so their time in use is what is compared."""
    _bare(one, mailchimp, size)
    mailchimp.clear(latency=LATENCY)
    one("sync", "--quiet")
    seen = mailchimp.counters()
    yield Figure("requests for single members", seen.single, "", "all requests to Mailchimp", seen.mailchimp)
    name = "connections in use, with them"
    carried = _in_use(seen)
    yield Figure(name, carried, "", "connections", CONNECTIONS, "at least 80 %", carried >= LEAST * CONNECTIONS)


def _in_use(seen: Counters) -> float:
    """On average, while the list is walked."""
    return (seen.pages + seen.single) * LATENCY / (seen.walk_ended - seen.walk_began)


def _bare(one: Importer, mailchimp: SandboxProcess, size: int) -> float:
    """Members a second; the sandbox has written everybody before, so that what it invents is not what is measured."""
    mailchimp.clear(latency=0.0)
    read(one, mailchimp, size, fields=default_fields().query)
    mailchimp.clear(latency=LATENCY)
    return size / read(one, mailchimp, size, connections=CONNECTIONS, fields=default_fields().query).seconds
