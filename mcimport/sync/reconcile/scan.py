"""Everybody on a list, archived or not, passes by and is noted: the walk of a sync, without a push."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

from mcimport.engine import run_windows
from mcimport.engine.page.context import PageContext
from mcimport.models import Conversion, Converted, Member, Outcome, Page, Skipped, Sweep, Window
from mcimport.models.records import Unread
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.planning import cut, first_page
from mcimport.state import runs
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.fingerprints import MemberSnapshot
from mcimport.sync.reconcile.lookup import MemberLookup

_SWEEPS: tuple[Sweep, ...] = ("listed", "archived")


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Up to when everybody was seen, about how many are on the list, and what could not be read."""

    until: int
    total: int
    unread: tuple[Unread, ...]


def scan(lookup: MemberLookup, differences: DifferenceTable, since: int | None, run_id: int | None) -> ScanResult:
    """Notes everybody who changed after `since`; a span that cannot be read is left out, and named.

    `run_id`: the walk stands in this run's log, with its windows.
    """
    list_run = lookup.list_run
    size = list_run.client.mailchimp.window
    firsts = [(sweep, first_page(lookup.mailchimp, list_run.list_key, sweep, since, size)) for sweep in _SWEEPS]
    until = min(page.settled for _, page in firsts)
    planned, pages = _planned(lookup, since, until, firsts)
    if run_id is not None:
        total = sum(page.total for _, page in firsts)
        list_run.warn(firsts[0][1].clock_warning)
        runs.plan(list_run.state, run_id, until, total, planned)
        list_run.reporter.planned(list_run.client.name, list_run.list_key, "reconcile", total, len(planned))
    seen: deque[MemberSnapshot] = deque()
    unread: list[Unread] = []

    def record(outcome: Outcome) -> None:
        differences.note_members(_emptied(seen))
        unread.extend(_unread(outcome))
        if run_id is not None:
            _record(lookup, run_id, outcome)

    run_windows(
        _context(lookup, seen),
        planned,
        record,
        stop=list_run.services.stop,
        workers=list_run.client.mailchimp.connections,
        pages=pages,
        give_up=list_run.services.abort,
    )
    return ScanResult(until, firsts[0][1].total, tuple(unread))


def _planned(
    lookup: MemberLookup, since: int | None, until: int, firsts: list[tuple[Sweep, Page]]
) -> tuple[list[Window], dict[int, Page]]:
    list_run, numbers = lookup.list_run, count()
    planned: list[Window] = []
    pages: dict[int, Page] = {}
    for sweep, page in firsts:
        for window in cut(list_run.client, lookup.mailchimp, list_run.list_key, sweep, (since, until), page):
            planned.append(replace(window, number=next(numbers), page=page.asked))
            if pagination.fits_in_one(page, page.asked):
                pages[planned[-1].number] = page
    return planned, pages


def _unread(outcome: Outcome) -> Iterator[Unread]:
    for letter in outcome.letters:
        if letter.kind == "window":
            yield Unread(letter.sweep, letter.since, letter.until, letter.reason)


def _record(lookup: MemberLookup, run_id: int, moved: Outcome) -> None:
    """Writes no dead letters: a sync that replayed them would bring in whom it leaves out on purpose."""
    list_run = lookup.list_run
    outcome = replace(moved, pushed=0, optins=0, optouts=0, events=0)  # a dry run counts whom it would push
    runs.record(list_run.state, run_id, outcome, list_run.services.meter.drain(), keeps_letters=False)
    list_run.warn(*outcome.warnings)
    list_run.reporter.page_recorded(list_run.client.name, list_run.list_key, replace(outcome, letters=()))


def _context(lookup: MemberLookup, seen: deque[MemberSnapshot]) -> PageContext:
    list_run = lookup.list_run
    return PageContext(
        list_key=list_run.list_key,
        mailchimp=lookup.mailchimp,
        ometria=None,
        convert=_noting(lookup, seen),
        fetch_missing_tags=_no_missing_tags,
        meter=list_run.services.meter,
        trace=list_run.services.trace,
    )


def _noting(lookup: MemberLookup, seen: deque[MemberSnapshot]) -> Callable[[Member, int | None], Conversion]:
    """Remembers what passes by; who cannot be sent has a dead letter already, and gets no second one."""

    def convert(member: Member, _: int | None) -> Conversion:
        converted = lookup.convert(member)
        sight = lookup.snapshot_of(member, converted)
        if sight is not None:
            seen.append(sight)
        return converted if isinstance(converted, Converted) else Skipped("only looked at")

    return convert


def _emptied(seen: deque[MemberSnapshot]) -> Iterator[MemberSnapshot]:
    """Threads add to it meanwhile."""
    while seen:
        yield seen.popleft()


@contextmanager
def _no_missing_tags(_members: list[Member]) -> Iterator[Callable[[], list[Member]]]:
    """Tags are not compared, so nobody is asked for theirs."""
    yield list
