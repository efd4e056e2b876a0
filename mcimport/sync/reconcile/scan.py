"""A list read whole, the archived, too: each member is noted, and none is pushed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from mcimport.engine import run_windows
from mcimport.engine.page.context import make_context
from mcimport.engine.page.process import process_page
from mcimport.engine.page.read import consume
from mcimport.engine.page.result import PageResult
from mcimport.models import SWEEPS, Converted, Member, Outcome
from mcimport.models.results import Unread
from mcimport.state import runs
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.fingerprints import MemberSnapshot
from mcimport.sync.reconcile.lookup import MemberLookup
from mcimport.sync.sweep_plan import plan_sweeps, read_first


class ScanResult(Struct, frozen=True):
    """Holds the second until which every member was seen, about how many are on the list, and what was not read."""

    until: int
    total: int
    unread: tuple[Unread, ...]


def scan(lookup: MemberLookup, differences: DifferenceTable, since: int | None, run_id: int | None) -> ScanResult:
    """Notes every member who changed after `since`; leaves out the spans that cannot be read, and names them.

    `run_id`: the windows are recorded in this run's log; None: in none.
    """
    list_run = lookup.list_run
    with list_run.step("reading the first pages from Mailchimp"):
        firsts = [read_first(list_run, lookup.mailchimp, sweep, since) for sweep in SWEEPS]
        plan = plan_sweeps(list_run, lookup.mailchimp, firsts)
    listed = firsts[0].page
    if run_id is not None:
        list_run.warn(listed.clock_warning)
        runs.plan(list_run.state, run_id, plan.until, plan.total, plan.windows)
        list_run.reporter.planned(list_run.client.name, list_run.list_key, "reconcile", plan.total, len(plan.windows))
    noted = _Noted(lookup)
    unread: list[Unread] = []

    def record(outcome: Outcome) -> None:
        differences.note_members(noted.take())
        dead = (letter for letter in outcome.letters if letter.kind == "window")
        unread.extend(Unread(letter.sweep, letter.since, letter.until, letter.reason) for letter in dead)
        if run_id is not None:
            _record(lookup, run_id, outcome)

    run_windows(
        lambda window, page, on_read: process_page(window, noted.context, page, noted.note, on_read),
        *(plan.windows, record, list_run.services),
        workers=list_run.client.mailchimp.connections,
        pages=plan.pages,
        finishes=list_run.finishes,
    )
    return ScanResult(plan.until, listed.total, tuple(unread))


class _Noted:
    """Collects what the members of each page look like; safe to share between threads."""

    def __init__(self, lookup: MemberLookup) -> None:
        list_run = lookup.list_run
        context = make_context(list_run.services, list_run.list_key, lookup.convert, sender=None)
        self.context = replace(context, mailchimp=lookup.mailchimp)
        self._lookup = lookup
        self._snapshots: deque[MemberSnapshot] = deque()

    def note(self, result: PageResult, members: list[Member], _: Callable[[], None]) -> None:
        """Notes the members of a page, as `Deliver` says. Tags are not compared, so they are not asked for."""
        with self.context.meter.timed("converting"):
            for member in consume(members):
                result.members += 1
                converted = self._lookup.convert(member)
                if (snapshot := self._lookup.snapshot_of(member, converted)) is not None:
                    self._snapshots.append(snapshot)
                if isinstance(converted, Converted):
                    result.pushed += 1  # as in a dry run: whoever would be pushed shows that not every page fails
                    result.note_conversion(converted)
                else:
                    result.skipped += 1

    def take(self) -> Iterator[MemberSnapshot]:
        """Yields what was noted so far, while other threads add to it."""
        while self._snapshots:
            yield self._snapshots.popleft()


def _record(lookup: MemberLookup, run_id: int, outcome: Outcome) -> None:
    """Records a page without dead letters: a sync that replayed them would import members whom it leaves out."""
    list_run = lookup.list_run
    outcome = replace(outcome, pushed=0)  # a scan pushes no one
    runs.record(list_run.state, run_id, outcome, list_run.services.meter.drain(), keeps_letters=False)
    list_run.warn(*outcome.warnings)
    list_run.reporter.page_recorded(list_run.client.name, list_run.list_key, replace(outcome, letters=()))
