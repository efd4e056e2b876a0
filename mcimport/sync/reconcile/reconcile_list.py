"""Both sides of a list are compared and, if that is wanted, mended; of all clients, one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from mcimport.config import Client
from mcimport.errors import ConfigError, InterruptedRunError, ServiceDownError, ServiceError
from mcimport.errors.machine import as_ours, submit
from mcimport.models.records import Comparison, Difference, ListResult
from mcimport.services.connections import ClientServices
from mcimport.state import State, lists, lock_client, open_state, runs
from mcimport.sync import first_sync
from mcimport.sync.list_run import ListRun, SyncSession, check_nobody_elsewhere, record_failure, resolve_list, result_of
from mcimport.sync.reconcile.compare import SHOWN, Comparer
from mcimport.sync.reconcile.contact_reader import ContactReader
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.elsewhere_subscribed import ElsewhereSubscribed
from mcimport.sync.reconcile.mend import Mend
from mcimport.sync.reconcile.verify import Verification


@dataclass(frozen=True)
class ReconcileOptions:
    """What was typed.

    Attributes:
        mend: push the missing and the stale, opt out the gone.
        opt_in: mend those, too, who are subscribed here and opted out in Ometria.
        is_forced: however many are gone, or change their consent.
        agree: asked, with what was found, before anything is pushed; None: whoever typed it has agreed already.
    """

    mend: bool = False
    opt_in: bool = False
    is_forced: bool = False
    agree: Callable[[Client, str, Comparison], bool] | None = None


# ---- one list


def reconcile_list(list_run: ListRun, options: ReconcileOptions, session: SyncSession) -> Comparison:
    """Compares, and mends what differs. Raises ConfigError before any request for a list that was never synced.

    Also raises WorkersBusyError, ServiceError, InterruptedRunError and StateError; the run, and what was mended, is on
    record then.
    """
    if list_run.row.sync_point is None:
        raise ConfigError(
            f"{list_run.client.name}: list {list_run.list_key} has not been synced yet, so there is nothing to compare",
            hint=f"`mcimport sync {list_run.list_key}` imports it.",
        )
    if options.mend:
        check_nobody_elsewhere(list_run.state, list_run.client)
    runs.mark_interrupted(list_run.state, list_run.row.id)
    _notice_unfinished(list_run)
    run_id = runs.begin(list_run.state, list_run.row, "reconcile", None, moves_sync_point=False)
    list_run.begin(run_id)
    with (
        first_sync.first_try(list_run),
        record_failure(list_run, run_id),
        DifferenceTable(list_run.state.path.parent) as differences,
    ):
        comparer = Comparer(list_run, run_id, differences, session.clients)
        found = replace(comparer.compare(), is_opting_in=options.opt_in)
        if options.mend and found.differing:
            found = _mended(comparer, options, found, session)
    runs.finish(list_run.state, run_id, "completed", usage=list_run.services.meter.drain())
    _remember(list_run, found)
    if options.mend and not found.refusal and not found.left:
        lists.set_unchecked_at(list_run.state, list_run.row.id, None)
    return found


def _notice_unfinished(list_run: ListRun) -> None:
    if (run := runs.unfinished(list_run.state, list_run.row.id)) is not None:
        list_run.warn(
            f"run {run.id} is unfinished: what it has not imported yet may differ. `mcimport sync {list_run.list_key}`"
            " finishes it"
        )


def _mended(comparer: Comparer, options: ReconcileOptions, found: Comparison, session: SyncSession) -> Comparison:
    list_run = comparer.list_run
    if list_run.services.stop.requested.is_set():
        raise InterruptedRunError("stopped")
    refusal = "" if options.is_forced else _too_many(list_run, found)
    if not refusal and options.agree is not None and not options.agree(list_run.client, list_run.list_key, found):
        refusal = "nothing was fixed: you did not confirm it"
    if refusal:
        return replace(found, refusal=refusal)
    if list_run.row.accepted_at is None:
        first_sync.begin(list_run, first_sync.present(list_run))
    held = ContactReader(list_run, comparer.pages)
    with ElsewhereSubscribed(comparer, session.accounts) as elsewhere:
        mend = Mend(comparer, held, elsewhere, is_opting_in=options.opt_in)
        mend.all()
    Verification(comparer, held).run(has_pushed=mend.has_pushed)
    differences = comparer.differences
    return replace(
        found,
        mended=differences.count_seen(),
        not_taken=Difference(differences.count_unseen(), differences.some_unseen(SHOWN)),
    )


def _too_many(list_run: ListRun, found: Comparison) -> str:
    """Likelier than so many changes at once is a list that was emptied by mistake, a wrong one, or a wrong key."""
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
    """Counts alone."""
    names = ("missing", "stale", "gone", "said_no", "foreign", "not_taken")
    kinds = {kind: getattr(found, kind).count for kind in names}
    fetch_missing_tags = {"agree": found.agree, "unclear": found.unclear, "unread": len(found.unread)}
    counts = {**kinds, **fetch_missing_tags, "mended": found.mended, "left": found.left}
    lists.record_comparison(list_run.state, list_run.row.id, int(time.time()), counts)


# ---- all clients


def reconcile_all(
    pairs: Iterable[tuple[Client, str]], options: ReconcileOptions, session: SyncSession, jobs: int
) -> list[ListResult]:
    """Each client's lists one after another, `jobs` clients at a time. One client's failure touches no other."""
    clients = [(client, [key for _, key in group]) for client, group in groupby(pairs, key=lambda pair: pair[0])]
    if options.agree is not None or len(clients) == 1:  # who is asked answers one question at a time
        return [result for client, keys in clients for result in _reconcile_client(client, keys, options, session)]
    with ThreadPoolExecutor(min(jobs, len(clients)) or 1, thread_name_prefix="client") as pool:
        futures = [submit(pool, partial(_reconcile_client, client, keys, options, session)) for client, keys in clients]
        return [result for future in as_completed(futures) for result in future.result()]


def _reconcile_client(
    client: Client, list_keys: Sequence[str], options: ReconcileOptions, session: SyncSession
) -> list[ListResult]:
    """Under the client's lock; never raises what `errors` knows: it is in the results."""
    return session.observe(client, lambda: _reconcile_theirs(client, list_keys, options, session))


def _reconcile_theirs(
    client: Client, list_keys: Sequence[str], options: ReconcileOptions, session: SyncSession
) -> list[ListResult]:
    results: list[ListResult] = []
    try:
        with ExitStack() as stack:
            stack.enter_context(lock_client(session.db_path, client.name))
            services = stack.enter_context(session.accounts.open(client))
            state = stack.enter_context(open_state(session.db_path, create=False))
            for key in list_keys:
                results.append(_attempt(client, key, options, session, services, state))
                session.reporter.ended(results[-1])
    except Exception as raised:  # noqa: BLE001 - whatever it is, it ends this client's work alone
        error = as_ours(raised)
        for key in list_keys[len(results) :]:
            results.append(result_of(client, key, None, error, 0.0))
            session.reporter.ended(results[-1])
    return results


def _attempt(
    client: Client,
    list_key: str,
    options: ReconcileOptions,
    session: SyncSession,
    services: ClientServices,
    state: State,
) -> ListResult:
    begun = time.monotonic()
    list_run, failure, found = None, None, None
    try:
        list_run = ListRun(client, list_key, services, state, session.reporter, resolve_list(state, client, list_key))
        found = reconcile_list(list_run, options, session)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this list alone
        failure = as_ours(error)
        if isinstance(error, ServiceDownError):  # its hint is one for a sync, which goes on where it stopped
            error.hint = f"`mcimport reconcile {list_key}` starts over."
    result = result_of(client, list_key, list_run, failure, time.monotonic() - begun)
    return replace(result, comparison=found, hints=result.hints or _hints(services, found))


def _hints(services: ClientServices, found: Comparison | None) -> tuple[str, ...]:
    """Who is missing, or did not take, may have been dropped by Ometria's validation, which names nobody."""
    if found is None or not (found.missing.count or found.not_taken.count) or services.stop.requested.is_set():
        return ()
    with suppress(ServiceError, InterruptedRunError):
        return tuple(services.ometria.latest_errors())
    return ()
