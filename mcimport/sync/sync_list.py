"""The whole story of one list on one page; of all clients on the next.

A run asks for its first pages, cuts what does not fit into them into windows, writes those down, and only then pushes.
It ends when no window is pending; the sync point moves then, and only then.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, groupby

from mcimport.config import Client
from mcimport.convert import fingerprint, has_sms_status, is_contact_id
from mcimport.errors import (
    ConfigError,
    InterruptedRunError,
    ServiceDownError,
    UnknownListError,
)
from mcimport.errors.machine import as_ours, submit
from mcimport.models import Page, RunKind, Sweep, Window
from mcimport.models.records import ListResult, Run
from mcimport.report.format import moment_utc
from mcimport.services import contacts_held
from mcimport.services.connections import Services
from mcimport.services.mailchimp import windows
from mcimport.services.mailchimp.planning import cut, first_page
from mcimport.state import State, dead_letters, destinations, dry_copy, hold, lists, open_state, runs
from mcimport.sync import few, first_sync
from mcimport.sync.list_run import (
    House,
    Task,
    carry_out,
    check_nobody_elsewhere,
    recorded_end,
    remembered,
    result_of,
    status_of,
)
from mcimport.sync.reconcile.archive_check import compare_archived
from mcimport.sync.since import Since
from mcimport.sync.spot_check import check_some_pushed

IN_VAIN = 2 * 3_600  # seconds during which a run of which nothing gets through is resumed, and leaves no dead letters


@dataclass(frozen=True)
class Wish:
    """What was typed.

    Attributes:
        since: begin there instead of at the sync point; "now": only move the sync point.
        full: everything, whatever is remembered.
        dry_run: read and convert; push nothing and remember nothing.
    """

    since: Since | None = None
    full: bool = False
    dry_run: bool = False

    @property
    def by_name(self) -> bool:
        """Something was asked for that a busy client means was not done."""
        return self.full or self.since is not None


@dataclass(frozen=True)
class _Beginning:
    """From where on each sweep is read, None: from its beginning; and what that is called."""

    kind: RunKind
    listed: int | None = None
    archived: int | None = None


@dataclass(frozen=True)
class _Plan:
    until: int
    total: int
    windows: tuple[Window, ...]
    pages: dict[int, Page]


# ---- one list


def sync_list(task: Task, wish: Wish) -> None:
    """Finishes what was begun, then carries everything (the first time, or `full`) or what changed since.

    Raises ConfigError before any request, ServiceError, InterruptedRunError or StateError; the runs are in the task.
    """
    runs.sweep_up(task.state, task.row.id)
    unfinished = runs.unfinished(task.state, task.row.id)
    if unfinished is not None and wish.since is not None and _is_first_try(task):
        runs.give_up(task.state, unfinished.id)  # it sent nobody, and without it a plain sync reads everything
        unfinished = None
    if unfinished is not None and not (wish.full or wish.dry_run):
        _finish(task, wish, unfinished)
        unfinished = None
    if task.services.stop.asked.is_set():
        raise InterruptedRunError("stopped")
    if wish.since == "now":
        with first_sync.first_try(task):
            _begin_now(task)
        return
    with first_sync.first_try(task):
        _begin(task, wish, unfinished)


def _is_first_try(task: Task) -> bool:
    """Whether nobody of the list was ever accepted, and no sync point stands for what was left out."""
    return task.row.sync_point is None and not destinations.is_bound(task.state, task.row)


def _begin(task: Task, wish: Wish, instead_of: Run | None) -> None:
    beginning = _beginning(task, wish)
    if beginning.kind != "full":
        _notice_mapping(task)
    moves = _moves(task, beginning.listed)
    run_id = runs.begin(task.state, task.row, beginning.kind, beginning.listed, moves_sync_point=moves)
    task.begin(run_id)
    with recorded_end(task, run_id):
        check_some_pushed(task, run_id)
        plan = _planned(task, beginning)
        today = min(plan.until, int(time.time()))
        if wish.since is None and beginning.listed is not None and beginning.listed > today:
            plan = _planned(task, _earlier(task, run_id, today))
        runs.plan(
            *(task.state, run_id, plan.until, plan.total, plan.windows),
            instead_of=instead_of,
            mapping=_mapping(task, beginning.kind),
        )
    _carry_out(task, run_id, plan.windows, plan.pages)


def _carry_out(task: Task, run_id: int, pending: Sequence[Window], pages: Mapping[int, Page]) -> None:
    run = carry_out(task, run_id, pending, pages, afterwards=lambda run_id: _check(task, run_id))
    if run.kind == "full":
        dead_letters.close_covered(task.state, run)


def _check(task: Task, run_id: int) -> None:
    """The last of a run: did anything get through, was as much read as there is, and are the archived opted out?"""
    run = runs.run(task.state, run_id)
    if runs.is_in_vain(task.state, run) and not _is_old(task, run):
        reason = runs.take_back(task.state, run)
        raise ServiceDownError(
            f"nothing was imported: {reason}",
            hint="Nothing is lost: the next `mcimport sync` resumes where this one stopped.",
        )
    try:
        few.check_read(task, run)
    except few.TooFewError:
        runs.give_up(task.state, run_id)
        raise
    compare_archived(task, run_id)


def _is_old(task: Task, run: Run) -> bool:
    """What fails for hours may be a member's own fault: then it becomes a dead letter, and keeps nobody else waiting.

    Never of a list that was not synced yet: there it is everybody.
    """
    return task.row.sync_point is not None and time.time() - run.started_at > IN_VAIN


def _finish(task: Task, wish: Wish, unfinished: Run) -> None:
    """A run that was cut off is resumed: its windows are spans of time, and mean today what they meant then."""
    if wish.since is not None:
        key = task.list_key
        raise ConfigError(
            f"{task.client.name}: run {unfinished.id} of list {key} is unfinished; --since would skip the rest of it",
            hint=f"`mcimport sync {key}` finishes it; `mcimport sync --full {key}` imports the whole list again.",
        )
    runs.reopen(task.state, unfinished.id)
    task.begin(unfinished.id)
    with first_sync.first_try(task):
        if task.row.accepted_at is None:
            with recorded_end(task, unfinished.id):
                first_sync.begin(task, first_sync.present(task))
        with recorded_end(task, unfinished.id):
            check_some_pushed(task, unfinished.id)
        _carry_out(task, unfinished.id, runs.pending(task.state, unfinished.id), {})


def _beginning(task: Task, wish: Wish) -> _Beginning:
    if isinstance(wish.since, int):
        return _Beginning("incremental", wish.since, wish.since)
    if wish.full or task.row.sync_point is None:
        return _Beginning("full")
    return _Beginning("incremental", windows.begins(task.row, "listed"), windows.begins(task.row, "archived"))


def _earlier(task: Task, run_id: int, until: int) -> _Beginning:
    """The sync point lies after what this run can read up to: whoever changed since it was set might never be read.

    It goes back to the last moment that all clocks agree on; where no run tells, to where the list is carried from.
    """
    row = task.row
    agreed = runs.agreed(task.state, row.id, until)
    back = agreed if agreed is not None else min(row.carried_since or 0, until)
    again = f"what changed since {moment_utc(back)}" if back else "the whole list"
    task.warn(
        f"the sync point, {moment_utc(row.sync_point or until)}, is later than what this run can read: a clock was"
        f" ahead, or Mailchimp's responses have no Date header now; {again} is read again"
    )
    now = int(time.time())
    lists.step_back(task.state, row.id, back, min(runs.first_began(task.state, row.id) or now, now))
    task.refresh()
    since = max(0, back - windows.OVERLAP)
    runs.begin_earlier(task.state, run_id, since)
    return _Beginning("incremental", since, since)


def _moves(task: Task, since: int | None) -> bool:
    """A run that begins after the sync point would leave a gap before it, so it may not move it."""
    point = task.row.sync_point
    return since is None or point is None or since <= point


def _mapping(task: Task, kind: RunKind) -> str | None:
    """What everybody on the list is mapped by, once this run is through; None where that stays as it was."""
    is_first = task.row.mapping is None and task.row.sync_point is None
    return fingerprint(task.rules) if kind == "full" or is_first else None


def _notice_mapping(task: Task) -> None:
    if task.row.sync_point is not None and task.row.mapping != fingerprint(task.rules):
        task.warn(
            "[fields], [consent] or mcimport's own mapping changed since the last full sync: contacts that have not"
            f" changed since then keep their old values; `mcimport sync --full {task.list_key}` updates all of them"
        )


def _begin_now(task: Task) -> None:
    """Imports nobody: what changes from now on is what the next run brings."""
    if task.row.sync_point is not None:
        task.warn(f"--since now: changes made between {moment_utc(task.row.sync_point)} and now will not be imported")
    run_id = runs.begin(task.state, task.row, "incremental", None, moves_sync_point=True)
    task.begin(run_id)
    with recorded_end(task, run_id):
        page = first_page(task.services.mailchimp, task.list_key, "listed", None, contacts_held.ASKED_FOR)
        task.warn(page.clock_warning)
        first_sync.begin(task, page)
        runs.plan(task.state, run_id, page.settled, 0, [], mapping=_mapping(task, "incremental"))
    runs.finish(task.state, run_id, "completed", is_accepted=True)


def _planned(task: Task, beginning: _Beginning) -> _Plan:
    """Both sweeps' first pages, the listed first; then the windows of both, and the letters taken along.

    For a member who is in both, the archived page was read later: its windows come later, too.
    """
    mailchimp, size = task.services.mailchimp, task.client.mailchimp.window
    begun_before = task.row.first_sync_at
    if beginning.kind == "full":
        listed = few.first_page_of_list(task, size)
    else:
        listed = first_page(mailchimp, task.list_key, "listed", beginning.listed, size)
    task.warn(listed.clock_warning)
    firsts: list[tuple[Sweep, int | None, Page]] = [("listed", beginning.listed, listed)]
    first_sync.begin(task, listed)
    if begun_before is not None:
        archived_since = max(begun_before - windows.OVERLAP - 1, beginning.archived or 0)
        archived = first_page(mailchimp, task.list_key, "archived", archived_since, size)
        firsts.append(("archived", archived_since, archived))
    _note_sms(task, [page for _, _, page in firsts])
    if not all(windows.fits_in_one(page, page.asked) for _, _, page in firsts):
        task.read_ahead()
    until = min(page.settled for _, _, page in firsts)
    numbers = count()
    planned: list[Window] = []
    pages: dict[int, Page] = {}
    for sweep, start, page in firsts:
        for window in cut(task.client, mailchimp, task.list_key, sweep, (start, until), page):
            numbered = replace(window, number=next(numbers), page=page.asked, new_since=windows.new_from(task.row))
            planned.append(numbered)
            if windows.fits_in_one(page, page.asked):
                pages[numbered.number] = page
    if beginning.kind == "incremental":
        taken_along = task.read_again(dead_letters.to_take_along(task.state, task.row.id))
        planned.extend(replace(_by_id(window), number=next(numbers)) for window in taken_along)
    return _Plan(until, sum(page.total for _, _, page in firsts), tuple(planned), pages)


def _by_id(window: Window) -> Window:
    """One member, asked for by id in a span that holds nobody: the second of theirs may be an import of thousands."""
    is_empty = window.since is not None and window.since >= window.until  # says that they may be left out
    return window if is_empty or not is_contact_id(window.only) else replace(window, since=-1, until=0)


def _note_sms(task: Task, pages: Iterable[Page]) -> None:
    """Before anybody is converted, as far as these pages show it: a consent in Ometria must pass to no other number."""
    if not task.row.has_sms and any(has_sms_status(member) for page in pages for member in page.members):
        lists.note_sms(task.state, task.row.id)
        task.refresh()


# ---- all clients


def sync_all(pairs: Iterable[tuple[Client, str]], wish: Wish, house: House, jobs: int) -> list[ListResult]:
    """Each client's lists one after another, `jobs` clients at a time. One client's failure touches no other."""
    clients = [(client, [key for _, key in group]) for client, group in groupby(pairs, key=lambda pair: pair[0])]
    if len(clients) == 1:
        return sync_client(*clients[0], wish, house)
    with ThreadPoolExecutor(min(jobs, len(clients)) or 1, thread_name_prefix="client") as pool:
        futures = [submit(pool, partial(sync_client, client, keys, wish, house)) for client, keys in clients]
        return [result for future in as_completed(futures) for result in future.result()]


def sync_client(client: Client, list_keys: Sequence[str], wish: Wish, house: House) -> list[ListResult]:
    """One client's lists under its lock; never raises what `errors` knows: it is in the results."""
    return house.watched(client, lambda: _sync_client(client, list_keys, wish, house))


def _sync_client(client: Client, list_keys: Sequence[str], wish: Wish, house: House) -> list[ListResult]:
    results: list[ListResult] = []
    try:
        with ExitStack() as stack:
            stack.enter_context(hold(house.db_path, client.name))
            stack.enter_context(house.engine.turn(client))
            services = stack.enter_context(house.accounts.open(client))
            state = stack.enter_context(dry_copy(house.db_path) if wish.dry_run else open_state(house.db_path))
            if house.engine.reads_here and not wish.dry_run:
                check_nobody_elsewhere(state, client)
            for key in list_keys:
                _check_not_given_up(results, services, house)
                result = _attempt(client, key, wish, house, services, state)
                results.append(result)
                house.reporter.ended(result)
    except Exception as raised:  # noqa: BLE001 - whatever it is, it ends this client's work alone
        error = as_ours(raised)
        for key in list_keys[len(results) :]:
            result = ListResult(client.name, key, status_of(error), error=error, dry_run=wish.dry_run)
            results.append(result)
            house.reporter.ended(result)
    return results


def _check_not_given_up(results: Sequence[ListResult], services: Services, house: House) -> None:
    """A client whose connections had to be closed under hanging requests is through for this call: raises why."""
    if results and results[-1].error and services.stop.asked.is_set() and not house.stop.asked.is_set():
        raise results[-1].error


def _attempt(client: Client, list_key: str, wish: Wish, house: House, services: Services, state: State) -> ListResult:
    begun = time.monotonic()
    task, failure = None, None
    try:
        row = remembered(state, client, list_key, new_destination=wish.full)
        task = Task(client, list_key, services, state, house.reporter, row, house.engine, dry_run=wish.dry_run)
        sync_list(task, wish)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this list alone
        failure = as_ours(error)
    result = result_of(client, list_key, task, failure, time.monotonic() - begun)
    if task is not None and client.any_list and isinstance(failure, UnknownListError):
        lists.forget_unknown(state, task.row.id)  # whatever is typed is such a client's list; a configured one is shown
    return result
