"""What one call did for one list, gathered from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from mcimport.config import Client
from mcimport.convert import quoted
from mcimport.errors import BusyError, InterruptedRunError, McimportError, ServiceError
from mcimport.models.records import Run, affected
from mcimport.models.remarks import NO_PERMISSION, words
from mcimport.models.results import Comparison, ListResult, Permissions
from mcimport.state import dead_letters, run_warnings, run_windows, runs
from mcimport.sync.list_run import ListRun


def result_of(
    client: Client, list_key: str, list_run: ListRun | None, failure: McimportError | None, seconds: float
) -> ListResult:
    """Returns the result of one list; `list_run` is None where the work ended before there was one."""
    blank = ListResult(client.name, list_key, status_of(failure), seconds=seconds, error=failure)
    if list_run is None:
        return blank
    warned = (*list_run.warnings, *(words(key, number) for key, number in list_run.remarks.items()))
    news = run_warnings.new(warned, run_warnings.of_runs(_runs_before(list_run)))
    if list_run.run_ids:
        run_warnings.record(list_run.state, list_run.run_ids[-1], (*warned, *_from_before(list_run, warned)))
    done = tuple(runs.get(list_run.state, run_id) for run_id in list_run.run_ids)
    written = [letter for run in done for letter in dead_letters.open_from_run(list_run.state, run.id)]
    return replace(
        blank,
        runs=done,
        earlier=list_run.earlier,
        windows_done=_windows_done(list_run, done),
        dead_letters=len(written),
        affected=affected(written),
        ceiling=float(client.ometria.requests_per_second * client.ometria.batch),
        dry_run=list_run.dry_run,
        warnings=warned,
        news=news,
        lacking=dict(list_run.lacking),
        unsendable=dict(list_run.unsendable.most_common()),
        permissions=_permissions(list_run) if list_run.dry_run else None,
        comparison=list_run.comparison,
        hints=_hints(list_run, done),
        spot_check=list_run.spot_check,
    )


def _windows_done(list_run: ListRun, done: Sequence[Run]) -> int:
    of_runs = sum(run_windows.count_done(run_windows.of_run(list_run.state, run.id)) for run in done)
    return of_runs - (list_run.earlier.windows_total - list_run.earlier.windows_dead)


def _from_before(list_run: ListRun, warned: Sequence[str]) -> tuple[str, ...]:
    """Returns the warnings that resumed runs had when they were cut off, so that the last run shows them, too."""
    earlier = run_warnings.of_runs(runs.get(list_run.state, run_id) for run_id in list_run.run_ids)
    return run_warnings.new(earlier, warned)


def status_of(error: McimportError | None) -> str:
    """Returns the status that the result of a list has; None: nothing failed."""
    if error is None:
        return "completed"
    if isinstance(error, InterruptedRunError):
        return "interrupted"
    return "skipped" if isinstance(error, BusyError) else "failed"


def _runs_before(list_run: ListRun) -> list[Run]:
    """Returns the latest runs of the list without those of this call."""
    limit = run_warnings.RUNS_COMPARED + len(list_run.run_ids)
    found = runs.latest(list_run.state, list_id=list_run.row.id, limit=limit)
    return [run for run in found if run.id not in list_run.run_ids]


def _permissions(list_run: ListRun) -> Permissions | None:
    """Counts the members of a dry run who lack the permission: it leaves nothing in the state file to count by."""
    if not list_run.permissions:
        return None
    lacking = sum(number for key, number in list_run.remarks.items() if key.startswith(NO_PERMISSION))
    return Permissions(tuple(sorted(list_run.permissions)), quoted(list_run.client.consent.permission), lacking)


def _hints(list_run: ListRun, done: Sequence[Run]) -> tuple[str, ...]:
    """Returns Ometria's latest validation errors, where they may explain what is not there."""
    compared = list_run.comparison or Comparison()
    # Contacts that are missing, or unchanged after a push: Ometria's validation drops them without a name.
    is_rejected = bool(compared.missing.count or compared.not_taken.count) or any(run.contacts_rejected for run in done)
    if list_run.dry_run or list_run.services.stop.requested.is_set() or not is_rejected:
        return ()
    with suppress(ServiceError, InterruptedRunError):
        return tuple(list_run.services.ometria.latest_errors())
    return ()
