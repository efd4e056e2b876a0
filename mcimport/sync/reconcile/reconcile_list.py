"""Both sides of a list compared and, where that is asked for, mended; and the lists of all clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from mcimport.config import Client
from mcimport.errors import ConfigError, ServiceDownError
from mcimport.models.results import Comparison, DifferingId, ListResult
from mcimport.state import lists, runs
from mcimport.sync import first_sync
from mcimport.sync.clients import ClientRunner, OpenClient, SyncSession, by_client
from mcimport.sync.destination import resolve_list
from mcimport.sync.list_run import ListRun, record_failure
from mcimport.sync.reconcile.compare import SHOWN, Comparer, check_both_sides
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.elsewhere_subscribed import ElsewhereSubscribed
from mcimport.sync.reconcile.lookup import MemberLookup
from mcimport.sync.reconcile.mend import Mend


class ReconcileOptions(Struct, frozen=True):
    """Holds what was typed.

    Attributes:
        mend: push missing and stale members, opt out contacts that are gone.
        opt_in: also opt in members who are subscribed here and opted out in Ometria.
        is_forced: mend however many are gone, or change their consent.
        agree: asks the operator, with what was found, before anything is pushed; None: the operator agreed already.
        take_ids: takes a list's client, key and all who differ in it, before anything is pushed.
        every_id: the result names all who differ, which takes memory for each.
    """

    mend: bool = False
    opt_in: bool = False
    is_forced: bool = False
    agree: Callable[[Client, str, Comparison], bool] | None = None
    take_ids: Callable[[str, str, Iterable[DifferingId]], None] | None = None
    every_id: bool = False


# ---- one list


def reconcile_list(list_run: ListRun, options: ReconcileOptions, session: SyncSession) -> Comparison:
    """Compares both sides, and mends what differs. Raises ConfigError before any request for a list never synced.

    Also raises ServiceError, InterruptedRunError and StateError; the run, and what was mended, is recorded then.
    """
    if list_run.row.sync_point is None:
        raise ConfigError(
            f"{list_run.client.name}: list {list_run.list_key} has not been synced yet, so there is nothing to compare",
            hint=f"`mcimport sync {list_run.list_key}` imports it.",
        )
    runs.mark_interrupted(list_run.state, list_run.row.id)
    if (unfinished := runs.unfinished(list_run.state, list_run.row.id)) is not None:
        list_run.warn(
            f"run {unfinished.id} is unfinished: what it has not imported yet may differ. `mcimport sync"
            f" {list_run.list_key}` finishes it"
        )
    run_id = runs.begin(list_run.state, list_run.row, "reconcile", None, moves_sync_point=False)
    list_run.begin(run_id)
    with (
        first_sync.first_try(list_run),
        record_failure(list_run, run_id),
        closing(DifferenceTable(list_run.state.path.parent)) as differences,
    ):
        with list_run.step("looking for the list in Mailchimp and Ometria"):
            check_both_sides(list_run)
            comparer = Comparer(MemberLookup(list_run), run_id, differences, session.clients)
        found = replace(comparer.compare(), is_opting_in=options.opt_in)
        if options.take_ids is not None:
            options.take_ids(list_run.client.name, list_run.list_key, differences.every_id())
        if options.every_id:
            found = replace(found, every_id=tuple(differences.every_id()))
        if options.mend and found.differing:
            found = _mended(comparer, options, found, session)
    runs.finish(list_run.state, run_id, "completed", usage=list_run.services.meter.drain())
    _remember(list_run, found)
    if options.mend and not found.refusal and not found.left:
        lists.set_unchecked_at(list_run.state, list_run.row.id, None)
    return found


def _mended(comparer: Comparer, options: ReconcileOptions, found: Comparison, session: SyncSession) -> Comparison:
    """Mends what was found, unless that is too much or not agreed to; returns it with what was mended, or why not."""
    list_run = comparer.list_run
    list_run.services.mailchimp.check_not_stopped()
    refusal = "" if options.is_forced else _too_many(list_run, found)
    if not refusal and options.agree is not None:
        with list_run.reporter.paused():
            is_agreed = options.agree(list_run.client, list_run.list_key, found)
        refusal = "" if is_agreed else "nothing was fixed: you did not confirm it"
    if refusal:
        return replace(found, refusal=refusal)
    if list_run.row.accepted_at is None:
        first_sync.begin(list_run, first_sync.present(list_run))
    with ExitStack() as opened, list_run.step(f"fixing {found.differing:,} differences"):
        elsewhere = ElsewhereSubscribed(comparer, session.accounts, opened)
        mend = Mend(comparer, elsewhere, found.differing, is_opting_in=options.opt_in)
        mend.all()
    with list_run.step("reading back from Ometria what was fixed"):
        mend.verify()
    pushes = comparer.differences.pushes
    return replace(found, mended=pushes.count_seen(), not_taken=pushes.not_taken(SHOWN))


def _too_many(list_run: ListRun, found: Comparison) -> str:
    """Returns why nothing is mended; empty where it may be.

    More likely than so many changes at once is a list that was emptied by mistake, a wrong list, or a wrong key.
    """
    limit = list_run.client.reconcile
    if found.gone.count + found.consents <= limit.most_gone * found.held:
        return ""
    of_all = f" of {found.held:,} contacts"
    kinds = []
    if found.gone.count:
        kinds.append(f"{found.gone.count:,}{of_all} would be opted out")
        of_all = ""
    if found.consents:
        kinds.append(f"{found.consents:,}{of_all} would change their consent")
    return (
        f"nothing was fixed: {' and '.join(kinds)}, above the limit of {limit.most} ([reconcile] most). Check the list"
        " and the key, and that the list was not emptied by mistake; if these changes are intended, use --force-mend"
    )


def _remember(list_run: ListRun, found: Comparison) -> None:
    """Writes down what was found: only counts."""
    names = ("missing", "stale", "gone", "said_no", "foreign", "not_taken")
    kinds = {kind: getattr(found, kind).count for kind in names}
    others = {"agree": found.agree, "unclear": found.unclear, "unread": len(found.unread)}
    counts = {**kinds, **others, "mended": found.mended, "left": found.left}
    lists.record_comparison(list_run.state, list_run.row.id, int(time.time()), counts)


# ---- all clients


def reconcile_all(
    pairs: Iterable[tuple[Client, str]], options: ReconcileOptions, session: SyncSession, jobs: int
) -> list[ListResult]:
    """Reconciles each client's lists one after another, `jobs` clients at a time.

    One client at a time where a person is asked, who answers one question after another.
    """
    runner = ClientRunner(session, may_push=options.mend)
    at_once = jobs if options.agree is None else 1
    return runner.run(by_client(pairs, partial(_reconcile_one, options)), at_once)


def _reconcile_one(options: ReconcileOptions, list_key: str, opened: OpenClient) -> ListResult:
    def work(list_run: ListRun) -> None:
        try:
            list_run.comparison = reconcile_list(list_run, options, opened.session)
        except ServiceDownError as error:  # its hint is one for a sync, which goes on where it stopped
            raise ServiceDownError(str(error), hint=f"`mcimport reconcile {list_key}` starts over.") from None

    return opened.run_list(list_key, lambda: resolve_list(opened.state, opened.client, list_key), work)
