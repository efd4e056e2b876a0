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
from mcimport.services.connections import ClientServices
from mcimport.services.mailchimp import pagination, windows
from mcimport.services.mailchimp.planning import cut, first_page
from mcimport.state import (
    State,
    copy_in_memory,
    dead_letters,
    destinations,
    lists,
    lock_client,
    open_state,
    run_windows,
    runs,
)
from mcimport.sync import count_check, first_sync
from mcimport.sync.list_run import (
    ListRun,
    SyncSession,
    check_nobody_elsewhere,
    execute,
    record_failure,
    resolve_list,
    result_of,
    status_of,
)
from mcimport.sync.reconcile.archive_check import compare_archived
from mcimport.sync.since import Since
from mcimport.sync.spot_check import check_some_pushed

IN_VAIN = 2 * 3_600  # seconds during which a run of which nothing gets through is resumed, and leaves no dead letters


@dataclass(frozen=True)
class SyncOptions:
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


def sync_list(list_run: ListRun, options: SyncOptions) -> None:
    """Finishes what was begun, then carries everything (the first time, or `full`) or what changed since.

    Raises ConfigError before any request, ServiceError, InterruptedRunError or StateError; the runs are in the task.
    """
    runs.mark_interrupted(list_run.state, list_run.row.id)
    unfinished = runs.unfinished(list_run.state, list_run.row.id)
    if unfinished is not None and options.since is not None and _is_first_try(list_run):
        runs.abandon(list_run.state, unfinished.id)  # it sent nobody, and without it a plain sync reads everything
        unfinished = None
    if unfinished is not None and not (options.full or options.dry_run):
        _finish(list_run, options, unfinished)
        unfinished = None
    if list_run.services.stop.requested.is_set():
        raise InterruptedRunError("stopped")
    if options.since == "now":
        with first_sync.first_try(list_run):
            _begin_now(list_run)
        return
    with first_sync.first_try(list_run):
        _begin(list_run, options, unfinished)


def _is_first_try(list_run: ListRun) -> bool:
    """Whether nobody of the list was ever accepted, and no sync point stands for what was left out."""
    return list_run.row.sync_point is None and not destinations.is_bound(list_run.state, list_run.row)


def _begin(list_run: ListRun, options: SyncOptions, instead_of: Run | None) -> None:
    beginning = _beginning(list_run, options)
    if beginning.kind != "full":
        _notice_mapping(list_run)
    moves = _moves(list_run, beginning.listed)
    run_id = runs.begin(list_run.state, list_run.row, beginning.kind, beginning.listed, moves_sync_point=moves)
    list_run.begin(run_id)
    with record_failure(list_run, run_id):
        check_some_pushed(list_run, run_id)
        plan = _planned(list_run, beginning)
        today = min(plan.until, int(time.time()))
        if options.since is None and beginning.listed is not None and beginning.listed > today:
            plan = _planned(list_run, _earlier(list_run, run_id, today))
        runs.plan(
            *(list_run.state, run_id, plan.until, plan.total, plan.windows),
            instead_of=instead_of,
            mapping=_mapping(list_run, beginning.kind),
        )
    _execute(list_run, run_id, plan.windows, plan.pages)


def _execute(list_run: ListRun, run_id: int, pending: Sequence[Window], pages: Mapping[int, Page]) -> None:
    run = execute(list_run, run_id, pending, pages, afterwards=lambda run_id: _check(list_run, run_id))
    if run.kind == "full":
        dead_letters.close_covered(list_run.state, run)


def _check(list_run: ListRun, run_id: int) -> None:
    """The last of a run: did anything get through, was as much read as there is, and are the archived opted out?"""
    run = runs.get(list_run.state, run_id)
    if runs.made_no_progress(list_run.state, run) and not _is_old(list_run, run):
        reason = runs.reset_windows(list_run.state, run)
        raise ServiceDownError(
            f"nothing was imported: {reason}",
            hint="Nothing is lost: the next `mcimport sync` resumes where this one stopped.",
        )
    try:
        count_check.check_read(list_run, run)
    except count_check.TooFewError:
        runs.abandon(list_run.state, run_id)
        raise
    compare_archived(list_run, run_id)


def _is_old(list_run: ListRun, run: Run) -> bool:
    """What fails for hours may be a member's own fault: then it becomes a dead letter, and keeps nobody else waiting.

    Never of a list that was not synced yet: there it is everybody.
    """
    return list_run.row.sync_point is not None and time.time() - run.started_at > IN_VAIN


def _finish(list_run: ListRun, options: SyncOptions, unfinished: Run) -> None:
    """A run that was cut off is resumed: its windows are spans of time, and mean today what they meant then."""
    if options.since is not None:
        key = list_run.list_key
        raise ConfigError(
            f"{list_run.client.name}: run {unfinished.id} of list {key} is unfinished;"
            " --since would skip the rest of it",
            hint=f"`mcimport sync {key}` finishes it; `mcimport sync --full {key}` imports the whole list again.",
        )
    runs.reopen(list_run.state, unfinished.id)
    list_run.begin(unfinished.id)
    with first_sync.first_try(list_run):
        if list_run.row.accepted_at is None:
            with record_failure(list_run, unfinished.id):
                first_sync.begin(list_run, first_sync.present(list_run))
        with record_failure(list_run, unfinished.id):
            check_some_pushed(list_run, unfinished.id)
        _execute(list_run, unfinished.id, run_windows.pending(list_run.state, unfinished.id), {})


def _beginning(list_run: ListRun, options: SyncOptions) -> _Beginning:
    if isinstance(options.since, int):
        return _Beginning("incremental", options.since, options.since)
    if options.full or list_run.row.sync_point is None:
        return _Beginning("full")
    return _Beginning("incremental", windows.begins(list_run.row, "listed"), windows.begins(list_run.row, "archived"))


def _earlier(list_run: ListRun, run_id: int, until: int) -> _Beginning:
    """The sync point lies after what this run can read up to: whoever changed since it was set might never be read.

    It goes back to the last moment that all clocks agree on; where no run tells, to where the list is carried from.
    """
    row = list_run.row
    agreed = runs.latest_sync_point(list_run.state, row.id, until)
    back = agreed if agreed is not None else min(row.carried_since or 0, until)
    again = f"what changed since {moment_utc(back)}" if back else "the whole list"
    list_run.warn(
        f"the sync point, {moment_utc(row.sync_point or until)}, is later than what this run can read: a clock was"
        f" ahead, or Mailchimp's responses have no Date header now; {again} is read again"
    )
    now = int(time.time())
    lists.rewind(list_run.state, row.id, back, min(runs.first_started_at(list_run.state, row.id) or now, now))
    list_run.refresh()
    since = max(0, back - windows.OVERLAP)
    runs.set_since(list_run.state, run_id, since)
    return _Beginning("incremental", since, since)


def _moves(list_run: ListRun, since: int | None) -> bool:
    """A run that begins after the sync point would leave a gap before it, so it may not move it."""
    point = list_run.row.sync_point
    return since is None or point is None or since <= point


def _mapping(list_run: ListRun, kind: RunKind) -> str | None:
    """What everybody on the list is mapped by, once this run is through; None where that stays as it was."""
    is_first = list_run.row.mapping is None and list_run.row.sync_point is None
    return fingerprint(list_run.rules) if kind == "full" or is_first else None


def _notice_mapping(list_run: ListRun) -> None:
    if list_run.row.sync_point is not None and list_run.row.mapping != fingerprint(list_run.rules):
        list_run.warn(
            "[fields], [consent] or mcimport's own mapping changed since the last full sync: contacts that have not"
            f" changed since then keep their old values; `mcimport sync --full {list_run.list_key}` updates all of them"
        )


def _begin_now(list_run: ListRun) -> None:
    """Imports nobody: what changes from now on is what the next run brings."""
    if list_run.row.sync_point is not None:
        list_run.warn(
            f"--since now: changes made between {moment_utc(list_run.row.sync_point)} and now will not be imported"
        )
    run_id = runs.begin(list_run.state, list_run.row, "incremental", None, moves_sync_point=True)
    list_run.begin(run_id)
    with record_failure(list_run, run_id):
        page = first_page(list_run.services.mailchimp, list_run.list_key, "listed", None, contacts_held.ASKED_FOR)
        list_run.warn(page.clock_warning)
        first_sync.begin(list_run, page)
        runs.plan(list_run.state, run_id, page.settled, 0, [], mapping=_mapping(list_run, "incremental"))
    runs.finish(list_run.state, run_id, "completed", is_accepted=True)


def _planned(list_run: ListRun, beginning: _Beginning) -> _Plan:
    """Both sweeps' first pages, the listed first; then the windows of both, and the letters taken along.

    For a member who is in both, the archived page was read later: its windows come later, too.
    """
    mailchimp, size = list_run.services.mailchimp, list_run.client.mailchimp.window
    begun_before = list_run.row.first_sync_at
    if beginning.kind == "full":
        listed = count_check.first_page_of_list(list_run, size)
    else:
        listed = first_page(mailchimp, list_run.list_key, "listed", beginning.listed, size)
    list_run.warn(listed.clock_warning)
    firsts: list[tuple[Sweep, int | None, Page]] = [("listed", beginning.listed, listed)]
    first_sync.begin(list_run, listed)
    if begun_before is not None:
        archived_since = max(begun_before - windows.OVERLAP - 1, beginning.archived or 0)
        archived = first_page(mailchimp, list_run.list_key, "archived", archived_since, size)
        firsts.append(("archived", archived_since, archived))
    _note_sms(list_run, [page for _, _, page in firsts])
    if not all(pagination.fits_in_one(page, page.asked) for _, _, page in firsts):
        list_run.prefetch_fields()
    until = min(page.settled for _, _, page in firsts)
    numbers = count()
    planned: list[Window] = []
    pages: dict[int, Page] = {}
    for sweep, start, page in firsts:
        for window in cut(list_run.client, mailchimp, list_run.list_key, sweep, (start, until), page):
            numbered = replace(window, number=next(numbers), page=page.asked, new_since=windows.new_from(list_run.row))
            planned.append(numbered)
            if pagination.fits_in_one(page, page.asked):
                pages[numbered.number] = page
    if beginning.kind == "incremental":
        taken_along = list_run.read_again(dead_letters.due_for_retry(list_run.state, list_run.row.id))
        planned.extend(replace(_by_id(window), number=next(numbers)) for window in taken_along)
    return _Plan(until, sum(page.total for _, _, page in firsts), tuple(planned), pages)


def _by_id(window: Window) -> Window:
    """One member, asked for by id in a span that holds nobody: the second of theirs may be an import of thousands."""
    is_empty = window.since is not None and window.since >= window.until  # says that they may be left out
    return window if is_empty or not is_contact_id(window.member_id) else replace(window, since=-1, until=0)


def _note_sms(list_run: ListRun, pages: Iterable[Page]) -> None:
    """Before anybody is converted, as far as these pages show it: a consent in Ometria must pass to no other number."""
    if not list_run.row.has_sms and any(has_sms_status(member) for page in pages for member in page.members):
        lists.set_has_sms(list_run.state, list_run.row.id)
        list_run.refresh()


# ---- all clients


def sync_all(
    pairs: Iterable[tuple[Client, str]], options: SyncOptions, session: SyncSession, jobs: int
) -> list[ListResult]:
    """Each client's lists one after another, `jobs` clients at a time. One client's failure touches no other."""
    clients = [(client, [key for _, key in group]) for client, group in groupby(pairs, key=lambda pair: pair[0])]
    if len(clients) == 1:
        return sync_client(*clients[0], options, session)
    with ThreadPoolExecutor(min(jobs, len(clients)) or 1, thread_name_prefix="client") as pool:
        futures = [submit(pool, partial(sync_client, client, keys, options, session)) for client, keys in clients]
        return [result for future in as_completed(futures) for result in future.result()]


def sync_client(
    client: Client, list_keys: Sequence[str], options: SyncOptions, session: SyncSession
) -> list[ListResult]:
    """One client's lists under its lock; never raises what `errors` knows: it is in the results."""
    return session.observe(client, lambda: _sync_client(client, list_keys, options, session))


def _sync_client(
    client: Client, list_keys: Sequence[str], options: SyncOptions, session: SyncSession
) -> list[ListResult]:
    results: list[ListResult] = []
    try:
        with ExitStack() as stack:
            stack.enter_context(lock_client(session.db_path, client.name))
            stack.enter_context(session.engine.client_lock(client))
            services = stack.enter_context(session.accounts.open(client))
            state = stack.enter_context(
                copy_in_memory(session.db_path) if options.dry_run else open_state(session.db_path)
            )
            if session.engine.is_local and not options.dry_run:
                check_nobody_elsewhere(state, client)
            for key in list_keys:
                _check_not_given_up(results, services, session)
                result = _attempt(client, key, options, session, services, state)
                results.append(result)
                session.reporter.ended(result)
    except Exception as raised:  # noqa: BLE001 - whatever it is, it ends this client's work alone
        error = as_ours(raised)
        for key in list_keys[len(results) :]:
            result = ListResult(client.name, key, status_of(error), error=error, dry_run=options.dry_run)
            results.append(result)
            session.reporter.ended(result)
    return results


def _check_not_given_up(results: Sequence[ListResult], services: ClientServices, session: SyncSession) -> None:
    """A client whose connections had to be closed under hanging requests is through for this call: raises why."""
    if results and results[-1].error and services.stop.requested.is_set() and not session.stop.requested.is_set():
        raise results[-1].error


def _attempt(
    client: Client, list_key: str, options: SyncOptions, session: SyncSession, services: ClientServices, state: State
) -> ListResult:
    begun = time.monotonic()
    list_run, failure = None, None
    try:
        row = resolve_list(state, client, list_key, new_destination=options.full)
        list_run = ListRun(
            client, list_key, services, state, session.reporter, row, session.engine, dry_run=options.dry_run
        )
        sync_list(list_run, options)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this list alone
        failure = as_ours(error)
    result = result_of(client, list_key, list_run, failure, time.monotonic() - begun)
    if list_run is not None and client.any_list and isinstance(failure, UnknownListError):
        lists.delete_unknown(
            state, list_run.row.id
        )  # whatever is typed is such a client's list; a configured one is shown
    return result
