"""Everybody on a list, archived or not, passes by and is noted: the walk of a sync, without a push."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

from mcimport.engine import drive
from mcimport.engine.page.context import Job
from mcimport.models import Conversion, Converted, Member, Outcome, Page, Skipped, Sweep, Window
from mcimport.models.records import Unread
from mcimport.services.mailchimp import windows
from mcimport.services.mailchimp.planning import cut, first_page
from mcimport.state import runs
from mcimport.sync.reconcile.differences import Sides
from mcimport.sync.reconcile.fingerprints import Seen
from mcimport.sync.reconcile.lookup import Look

_SWEEPS: tuple[Sweep, ...] = ("listed", "archived")


@dataclass(frozen=True, slots=True)
class Walked:
    """Up to when everybody was seen, about how many are on the list, and what could not be read."""

    until: int
    total: int
    unread: tuple[Unread, ...]


def walk(look: Look, sides: Sides, since: int | None, run_id: int | None) -> Walked:
    """Notes everybody who changed after `since`; a span that cannot be read is left out, and named.

    `run_id`: the walk stands in this run's log, with its windows.
    """
    task = look.task
    size = task.client.mailchimp.window
    firsts = [(sweep, first_page(look.mailchimp, task.list_key, sweep, since, size)) for sweep in _SWEEPS]
    until = min(page.settled for _, page in firsts)
    planned, pages = _planned(look, since, until, firsts)
    if run_id is not None:
        total = sum(page.total for _, page in firsts)
        task.warn(firsts[0][1].clock_warning)
        runs.plan(task.state, run_id, until, total, planned)
        task.reporter.planned(task.client.name, task.list_key, "reconcile", total, len(planned))
    seen: deque[Seen] = deque()
    unread: list[Unread] = []

    def record(outcome: Outcome) -> None:
        sides.note_members(_emptied(seen))
        unread.extend(_unread(outcome))
        if run_id is not None:
            _record(look, run_id, outcome)

    drive(
        _job(look, seen),
        planned,
        record,
        stop=task.services.stop,
        workers=task.client.mailchimp.connections,
        pages=pages,
        give_up=task.services.give_up,
    )
    return Walked(until, firsts[0][1].total, tuple(unread))


def _planned(
    look: Look, since: int | None, until: int, firsts: list[tuple[Sweep, Page]]
) -> tuple[list[Window], dict[int, Page]]:
    task, numbers = look.task, count()
    planned: list[Window] = []
    pages: dict[int, Page] = {}
    for sweep, page in firsts:
        for window in cut(task.client, look.mailchimp, task.list_key, sweep, (since, until), page):
            planned.append(replace(window, number=next(numbers), page=page.asked))
            if windows.fits_in_one(page, page.asked):
                pages[planned[-1].number] = page
    return planned, pages


def _unread(outcome: Outcome) -> Iterator[Unread]:
    for letter in outcome.letters:
        if letter.kind == "window":
            yield Unread(letter.sweep, letter.since, letter.until, letter.reason)


def _record(look: Look, run_id: int, moved: Outcome) -> None:
    """Writes no dead letters: a sync that replayed them would bring in whom it leaves out on purpose."""
    task = look.task
    outcome = replace(moved, pushed=0, optins=0, optouts=0, events=0)  # a dry run counts whom it would push
    runs.record(task.state, run_id, outcome, task.services.meter.take(), keeps_letters=False)
    task.warn(*outcome.warnings)
    task.reporter.moved(task.client.name, task.list_key, replace(outcome, letters=()))


def _job(look: Look, seen: deque[Seen]) -> Job:
    task = look.task
    return Job(
        list_key=task.list_key,
        mailchimp=look.mailchimp,
        ometria=None,
        convert=_noting(look, seen),
        aside=_nobody_aside,
        meter=task.services.meter,
        trace=task.services.trace,
    )


def _noting(look: Look, seen: deque[Seen]) -> Callable[[Member, int | None], Conversion]:
    """Remembers what passes by; who cannot be sent has a dead letter already, and gets no second one."""

    def convert(member: Member, _: int | None) -> Conversion:
        converted = look.convert(member)
        sight = look.seen(member, converted)
        if sight is not None:
            seen.append(sight)
        return converted if isinstance(converted, Converted) else Skipped("only looked at")

    return convert


def _emptied(seen: deque[Seen]) -> Iterator[Seen]:
    """Threads add to it meanwhile."""
    while seen:
        yield seen.popleft()


@contextmanager
def _nobody_aside(_members: list[Member]) -> Iterator[Callable[[], list[Member]]]:
    """Tags are not compared, so nobody is asked for theirs."""
    yield list
