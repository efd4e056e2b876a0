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
from mcimport.services.connections import Services
from mcimport.state import State, hold, lists, open_state, runs
from mcimport.sync import first_sync
from mcimport.sync.list_run import House, Task, check_nobody_elsewhere, recorded_end, remembered, result_of
from mcimport.sync.reconcile.compare import SHOWN, Survey
from mcimport.sync.reconcile.differences import Sides
from mcimport.sync.reconcile.elsewhere_subscribed import ElsewhereSubscribed
from mcimport.sync.reconcile.held_now import HeldNow
from mcimport.sync.reconcile.mend import Mend
from mcimport.sync.reconcile.verify import Verification


@dataclass(frozen=True)
class Wish:
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


def reconcile_list(task: Task, wish: Wish, house: House) -> Comparison:
    """Compares, and mends what differs. Raises ConfigError before any request for a list that was never synced.

    Also raises ElsewhereError, ServiceError, InterruptedRunError and StateError; the run, and what was mended, is on
    record then.
    """
    if task.row.sync_point is None:
        raise ConfigError(
            f"{task.client.name}: list {task.list_key} has not been synced yet, so there is nothing to compare",
            hint=f"`mcimport sync {task.list_key}` imports it.",
        )
    if wish.mend:
        check_nobody_elsewhere(task.state, task.client)
    runs.sweep_up(task.state, task.row.id)
    _notice_unfinished(task)
    run_id = runs.begin(task.state, task.row, "reconcile", None, moves_sync_point=False)
    task.begin(run_id)
    with first_sync.first_try(task), recorded_end(task, run_id), Sides(task.state.path.parent) as sides:
        survey = Survey(task, run_id, sides, house.clients)
        found = replace(survey.compare(), is_opting_in=wish.opt_in)
        if wish.mend and found.differing:
            found = _mended(survey, wish, found, house)
    runs.finish(task.state, run_id, "completed", costs=task.services.meter.take())
    _remember(task, found)
    if wish.mend and not found.refusal and not found.left:
        lists.note_unchecked(task.state, task.row.id, None)
    return found


def _notice_unfinished(task: Task) -> None:
    if (run := runs.unfinished(task.state, task.row.id)) is not None:
        task.warn(
            f"run {run.id} is unfinished: what it has not imported yet may differ. `mcimport sync {task.list_key}`"
            " finishes it"
        )


def _mended(survey: Survey, wish: Wish, found: Comparison, house: House) -> Comparison:
    task = survey.task
    if task.services.stop.asked.is_set():
        raise InterruptedRunError("stopped")
    refusal = "" if wish.is_forced else _too_many(task, found)
    if not refusal and wish.agree is not None and not wish.agree(task.client, task.list_key, found):
        refusal = "nothing was fixed: you did not confirm it"
    if refusal:
        return replace(found, refusal=refusal)
    if task.row.accepted_at is None:
        first_sync.begin(task, first_sync.present(task))
    held = HeldNow(task, survey.pages)
    with ElsewhereSubscribed(survey, house.accounts) as elsewhere:
        mend = Mend(survey, held, elsewhere, is_opting_in=wish.opt_in)
        mend.all()
    Verification(survey, held).look(has_pushed=mend.has_pushed)
    sides = survey.sides
    return replace(
        found,
        mended=sides.count_seen(),
        not_taken=Difference(sides.count_unseen(), sides.some_unseen(SHOWN)),
    )


def _too_many(task: Task, found: Comparison) -> str:
    """Likelier than so many changes at once is a list that was emptied by mistake, a wrong one, or a wrong key."""
    limit = task.client.reconcile
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


def _remember(task: Task, found: Comparison) -> None:
    """Counts alone."""
    names = ("missing", "stale", "gone", "said_no", "foreign", "not_taken")
    kinds = {kind: getattr(found, kind).count for kind in names}
    aside = {"agree": found.agree, "unclear": found.unclear, "unread": len(found.unread)}
    counts = {**kinds, **aside, "mended": found.mended, "left": found.left}
    lists.note_reconciled(task.state, task.row.id, int(time.time()), counts)


# ---- all clients


def reconcile_all(pairs: Iterable[tuple[Client, str]], wish: Wish, house: House, jobs: int) -> list[ListResult]:
    """Each client's lists one after another, `jobs` clients at a time. One client's failure touches no other."""
    clients = [(client, [key for _, key in group]) for client, group in groupby(pairs, key=lambda pair: pair[0])]
    if wish.agree is not None or len(clients) == 1:  # who is asked answers one question at a time
        return [result for client, keys in clients for result in _reconcile_client(client, keys, wish, house)]
    with ThreadPoolExecutor(min(jobs, len(clients)) or 1, thread_name_prefix="client") as pool:
        futures = [submit(pool, partial(_reconcile_client, client, keys, wish, house)) for client, keys in clients]
        return [result for future in as_completed(futures) for result in future.result()]


def _reconcile_client(client: Client, list_keys: Sequence[str], wish: Wish, house: House) -> list[ListResult]:
    """Under the client's lock; never raises what `errors` knows: it is in the results."""
    return house.watched(client, lambda: _reconcile_theirs(client, list_keys, wish, house))


def _reconcile_theirs(client: Client, list_keys: Sequence[str], wish: Wish, house: House) -> list[ListResult]:
    results: list[ListResult] = []
    try:
        with ExitStack() as stack:
            stack.enter_context(hold(house.db_path, client.name))
            services = stack.enter_context(house.accounts.open(client))
            state = stack.enter_context(open_state(house.db_path, create=False))
            for key in list_keys:
                results.append(_attempt(client, key, wish, house, services, state))
                house.reporter.ended(results[-1])
    except Exception as raised:  # noqa: BLE001 - whatever it is, it ends this client's work alone
        error = as_ours(raised)
        for key in list_keys[len(results) :]:
            results.append(result_of(client, key, None, error, 0.0))
            house.reporter.ended(results[-1])
    return results


def _attempt(client: Client, list_key: str, wish: Wish, house: House, services: Services, state: State) -> ListResult:
    begun = time.monotonic()
    task, failure, found = None, None, None
    try:
        task = Task(client, list_key, services, state, house.reporter, remembered(state, client, list_key))
        found = reconcile_list(task, wish, house)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this list alone
        failure = as_ours(error)
        if isinstance(error, ServiceDownError):  # its hint is one for a sync, which goes on where it stopped
            error.hint = f"`mcimport reconcile {list_key}` starts over."
    result = result_of(client, list_key, task, failure, time.monotonic() - begun)
    return replace(result, comparison=found, hints=result.hints or _hints(services, found))


def _hints(services: Services, found: Comparison | None) -> tuple[str, ...]:
    """Who is missing, or did not take, may have been dropped by Ometria's validation, which names nobody."""
    if found is None or not (found.missing.count or found.not_taken.count) or services.stop.asked.is_set():
        return ()
    with suppress(ServiceError, InterruptedRunError):
        return tuple(services.ometria.latest_errors())
    return ()
