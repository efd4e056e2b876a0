"""The sync of one list, and of the lists of all clients.

A run reads the first pages, cuts what does not fit into them into windows, records those, and only then pushes. It ends
when no window is pending; then the sync point moves, and not before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from mcimport.config import Client
from mcimport.convert import fingerprint, has_sms_status
from mcimport.errors import ConfigError, ServiceDownError, UnknownListError
from mcimport.errors.machine import beside
from mcimport.models import SWEEPS, RunKind
from mcimport.models.records import Run
from mcimport.models.results import ListResult, RunCounts
from mcimport.report.format import moment_utc
from mcimport.services import contacts_held
from mcimport.services.mailchimp import windows
from mcimport.services.mailchimp.planning import first_page
from mcimport.state import dead_letters, lists, run_windows, runs
from mcimport.sync import count_check, first_sync, probed
from mcimport.sync.clients import ClientRunner, OpenClient, SyncSession, by_client
from mcimport.sync.dead_letter_windows import by_id
from mcimport.sync.destination import resolve_list
from mcimport.sync.list_run import ListRun, execute, record_failure
from mcimport.sync.reconcile.archive_check import compare_archived
from mcimport.sync.since import Since
from mcimport.sync.spot_check import check_some_pushed
from mcimport.sync.sweep_plan import FirstPage, SweepPlan, plan_sweeps, read_first
from mcimport.sync.turns import RoundTurns

IN_VAIN = 2 * 3_600  # seconds for which a run that gets nothing through is resumed, and leaves no dead letters


class SyncOptions(Struct, frozen=True):
    """Holds what was typed.

    Attributes:
        since: begin there instead of at the sync point; "now": only move the sync point.
        full: import every member, whatever is remembered.
        dry_run: read and convert; push nothing and remember nothing.
    """

    since: Since | None = None
    full: bool = False
    dry_run: bool = False

    @property
    def by_name(self) -> bool:
        """Says whether something was asked for that is left undone where another process holds the client."""
        return self.full or self.since is not None


class _Beginning(Struct, frozen=True):
    """Says from which second on each sweep is read (None: from its beginning), and what kind of run that is."""

    kind: RunKind
    listed: int | None = None
    archived: int | None = None


# ---- one list


def sync_list(list_run: ListRun, options: SyncOptions) -> None:
    """Resumes an unfinished run, then imports everything (the first time, or `full`) or what changed since.

    Raises ConfigError before any request, ServiceError, InterruptedRunError or StateError; `list_run` has the runs.
    """
    runs.mark_interrupted(list_run.state, list_run.row.id)
    unfinished = runs.unfinished(list_run.state, list_run.row.id)
    if unfinished is not None and options.since is not None and _is_first_try(list_run):
        runs.abandon(list_run.state, unfinished.id)  # it sent nothing, and without it a plain sync reads everything
        unfinished = None
    if unfinished is not None and not (options.full or options.dry_run):
        _finish(list_run, options, unfinished)
        unfinished = None
    list_run.services.mailchimp.check_not_stopped()
    with first_sync.first_try(list_run):
        if options.since == "now":
            _begin_now(list_run)
        else:
            _begin(list_run, options, unfinished)


def _is_first_try(list_run: ListRun) -> bool:
    """Says whether Ometria accepted no contact of the list yet, and no sync point tells what was left out."""
    return list_run.row.sync_point is None and not runs.has_pushed(list_run.state, list_run.row.id)


def _begin(list_run: ListRun, options: SyncOptions, instead_of: Run | None) -> None:
    beginning = _beginning(list_run, options)
    if beginning.kind != "full":
        _notice_mapping(list_run)
    point = list_run.row.sync_point  # a run that begins after it would leave a gap
    moves = beginning.listed is None or point is None or beginning.listed <= point
    run_id = runs.begin(list_run.state, list_run.row, beginning.kind, beginning.listed, moves_sync_point=moves)
    list_run.begin(run_id)
    with record_failure(list_run, run_id):
        check_some_pushed(list_run, run_id)
        plan = _plan(list_run, beginning)
        today = min(plan.until, int(time.time()))
        if options.since is None and beginning.listed is not None and beginning.listed > today:
            plan = _plan(list_run, _earlier(list_run, run_id, today))
        runs.plan(
            *(list_run.state, run_id, plan.until, plan.total, plan.windows),
            instead_of=instead_of,
            mapping=_mapping(list_run, beginning.kind),
        )
    execute(list_run, run_id, plan.windows, plan.pages, afterwards=partial(_check, list_run))


def _check(list_run: ListRun, run_id: int) -> None:
    """Checks a run at its end: whether anything got through, and as much was read as there is; opts out the archived.

    Raises ServiceDownError, TooFewError, and what the services raise.
    """
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
    """Says whether the run has failed for hours, perhaps because of single members, who then become dead letters.

    Never of a list that was not synced yet: there a dead letter would hold the whole list.
    """
    return list_run.row.sync_point is not None and time.time() - run.started_at > IN_VAIN


def _finish(list_run: ListRun, options: SyncOptions, unfinished: Run) -> None:
    """Resumes a run that was interrupted: its windows are spans of time, and mean the same as when it began.

    Raises ConfigError where `--since` would skip what is left of it.
    """
    if options.since is not None:
        name, key = list_run.client.name, list_run.list_key
        raise ConfigError(
            f"{name}: run {unfinished.id} of list {key} is unfinished; --since would skip the rest of it",
            hint=f"`mcimport sync {key}` finishes it; `mcimport sync --full {key}` imports the whole list again.",
        )
    runs.reopen(list_run.state, unfinished.id)
    list_run.begin(unfinished.id)
    with first_sync.first_try(list_run):
        with record_failure(list_run, unfinished.id):
            if list_run.row.accepted_at is None:
                first_sync.begin(list_run, first_sync.present(list_run))
            check_some_pushed(list_run, unfinished.id)
        left = run_windows.pending(list_run.state, unfinished.id)
        list_run.earlier = _done_before(unfinished, len(left))
        execute(list_run, unfinished.id, left, {}, afterwards=partial(_check, list_run))


def _done_before(run: Run, left: int) -> RunCounts:
    """Returns what an earlier call did of a run. `left`: its windows that are still to be processed."""
    done = RunCounts(*(getattr(run, name) for name in RunCounts.__struct_fields__))
    return replace(done, members_total=run.members_read, windows_total=run.windows_total - left)


def _beginning(list_run: ListRun, options: SyncOptions) -> _Beginning:
    if isinstance(options.since, int):
        return _Beginning("incremental", options.since, options.since)
    if options.full or list_run.row.sync_point is None:
        return _Beginning("full")
    return _Beginning("incremental", *(windows.next_since(list_run.row, sweep) for sweep in SWEEPS))


def _earlier(list_run: ListRun, run_id: int, until: int) -> _Beginning:
    """Moves the sync point back, because it lies after what this run can read up to, and has the run begin earlier.

    Else members who changed since it was set might never be read. It goes back to the last moment that all clocks agree
    on; where no run tells, to the second from which on the list is imported.
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


def _mapping(list_run: ListRun, kind: RunKind) -> str | None:
    """Returns the fingerprint of the rules that the whole list is mapped by after this run; None: as before."""
    is_first = list_run.row.mapping is None and list_run.row.sync_point is None
    return fingerprint(list_run.rules) if kind == "full" or is_first else None


def _notice_mapping(list_run: ListRun) -> None:
    """Warns where the rules are not those that the whole list was last mapped by."""
    if list_run.row.sync_point is not None and list_run.row.mapping != fingerprint(list_run.rules):
        list_run.warn(
            "[fields], [consent] or mcimport's own mapping changed since the last full sync: contacts that have not"
            f" changed since then keep their old values; `mcimport sync --full {list_run.list_key}` updates all of them"
        )


def _begin_now(list_run: ListRun) -> None:
    """Imports no member: the next run imports what changes from now on."""
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


def _plan(list_run: ListRun, beginning: _Beginning) -> SweepPlan:
    """Plans the windows of both sweeps and, in an incremental run, of the dead letters that are due."""
    with list_run.step("reading the first page from Mailchimp"):
        firsts = _first_pages(list_run, beginning)
    _note_sms(list_run, firsts)
    with (
        list_run.step("looking up where the time ranges begin"),
        beside(partial(plan_sweeps, list_run, list_run.services.mailchimp, firsts)) as planned,
    ):
        first_sync.begin(list_run, firsts[0].page)
        plan = planned()
    new_since = windows.optins_new_since(list_run.row)
    plan = replace(plan, windows=tuple(replace(window, new_since=new_since) for window in plan.windows))
    if beginning.kind != "incremental":
        return plan
    due = list_run.read_again(dead_letters.due_for_retry(list_run.state, list_run.row.id), len(plan.windows))
    return replace(plan, windows=(*plan.windows, *map(by_id, due)))


def _first_pages(list_run: ListRun, beginning: _Beginning) -> list[FirstPage]:
    """Reads the first page of the members on the list, then that of the archived, if an earlier run has begun.

    A member in both was archived in between: the archived page is the later one, and its windows come later, too.
    """
    begun_before, mailchimp = list_run.row.first_sync_at, list_run.services.mailchimp
    if beginning.kind == "full":
        listed = FirstPage("listed", None, count_check.first_page_of_list(list_run))
    else:
        listed = read_first(list_run, mailchimp, "listed", beginning.listed)
    doubt = probed.doubt_by_first_page(list_run.state, list_run.client, list_run.list_key, listed.page)
    list_run.warn(listed.page.clock_warning, doubt)
    if not listed.is_whole:
        list_run.prefetch_fields()
    if begun_before is None:
        return [listed]
    since = max(begun_before - windows.OVERLAP - 1, beginning.archived or 0)
    return [listed, read_first(list_run, mailchimp, "archived", since)]


def _note_sms(list_run: ListRun, firsts: Sequence[FirstPage]) -> None:
    """Remembers that members of the list have an SMS status, as far as these pages show it.

    Done before any member is converted: a consent to text messages that Ometria holds must pass to no other number.
    """
    members = (member for first in firsts for member in first.page.members)
    if not list_run.row.has_sms and any(map(has_sms_status, members)):
        lists.set_has_sms(list_run.state, list_run.row.id)
        list_run.refresh()


# ---- all clients


def sync_all(
    pairs: Iterable[tuple[Client, str]],
    options: SyncOptions,
    session: SyncSession,
    jobs: int,
    turns: RoundTurns | None = None,
) -> list[ListResult]:
    """Syncs each client's lists one after another, `jobs` clients at a time.

    `turns`: of a round beside which others may go on.
    """
    runner = ClientRunner(
        session, may_push=not options.dry_run, dry_run=options.dry_run, creates_state=True, turns=turns
    )
    return runner.run(by_client(pairs, partial(_sync_one, options)), jobs)


def _sync_one(options: SyncOptions, list_key: str, opened: OpenClient) -> ListResult:
    state, client = opened.state, opened.client
    result = opened.run_list(
        list_key,
        lambda: resolve_list(state, client, list_key, new_destination=options.full),
        lambda list_run: sync_list(list_run, options),
    )
    if client.any_list and isinstance(result.error, UnknownListError) and result.runs:
        # Whatever is typed counts as such a client's list. One that the settings name stays, to be seen in `status`.
        lists.delete_unknown(state, result.runs[-1].list_id)
    return result
