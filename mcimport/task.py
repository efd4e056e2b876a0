"""One list at one destination, at work: what its runs share, and how a planned run is carried to its end."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mcimport.accounts import Accounts, Services
from mcimport.config import Client
from mcimport.engine import drive
from mcimport.errors import BusyError, ConfigError, InterruptedRunError, McimportError, ServiceError, StateError
from mcimport.limits import Stop
from mcimport.models import ContactRules, Outcome, Page, Window
from mcimport.move import Job
from mcimport.records import ListResult, ListRow, Run
from mcimport.report.reporter import Reporter
from mcimport.run_converter import RunConverter, Welcome, events_ahead
from mcimport.state import State, hold, letters, lists, runs


@dataclass(frozen=True)
class House:
    """What all clients of one call share."""

    db_path: Path
    accounts: Accounts
    stop: Stop
    reporter: Reporter


@dataclass
class Task:
    """What the runs of one list share in one call; belongs to the thread that owns `state`.

    Attributes:
        row: what is remembered of the list at this destination; read anew after each run.
        run_ids: the runs of this call, in order.
        warnings: words for a person, each once.
        lacking: of a dry run's contacts, how many have no country, phone, name.
    """

    client: Client
    list_key: str
    services: Services
    state: State
    reporter: Reporter
    row: ListRow
    dry_run: bool = False
    run_ids: list[int] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    lacking: Counter[str] = field(default_factory=Counter)

    def refresh(self) -> ListRow:
        self.row = lists.by_id(self.state, self.row.id)
        return self.row

    @property
    def rules(self) -> ContactRules:
        return self.client.rules(self.list_key, self.row.first_sync_at)

    def warn(self, *texts: str) -> None:
        self.warnings.update(dict.fromkeys(text for text in texts if text))


def remembered(state: State, client: Client, list_key: str, *, new_destination: bool = False) -> ListRow:
    """What is remembered of a list at the destination that the client's Ometria key leads to.

    A client that was renamed keeps its memory: the same list went to the same place under the former name. (Two clients
    that do that at once are refused when the settings are read.)

    Raises ConfigError when the list was only ever sent to another one: sync point and first sync would be wrong there;
    BusyError while a process that began under the former name is still at work.
    `new_destination`: the operator knows, and everything is sent.
    """
    collection = client.collection(list_key)
    destination = state.destination(client.ometria_key().get_secret_value())
    place = (client.name, list_key, collection, destination)
    known = lists.find(state, *place)
    if known is None and (former := lists.under_another_name(state, *place)):
        with hold(state.path, former.client):
            lists.rename(state, former.id, client.name)
        known = lists.by_id(state, former.id)
    if known is None and not new_destination and lists.has_other_destination(state, *place):
        raise ConfigError(
            f"{client.name}: the Ometria key is not the one that list {list_key} was sent with",
            hint=f"Another account: `mcimport sync --full {list_key}` sends everybody there.  "
            f"The same account, a renewed key: `mcimport keys accept {client.name}`.",
        )
    return known or lists.ensure(state, *place)


def carry_out(task: Task, run_id: int, windows: Sequence[Window], pages: Mapping[int, Page]) -> Run:
    """Works off a planned run and ends it. Raises what ended it early, once that is on record."""
    run = runs.run(task.state, run_id)
    if task.client.ometria.force_optin:
        task.warn("force_optin is on: what is sent overrides every other source of consent in Ometria")
    task.services.ometria.has_taken |= runs.has_pushed(task.state, run.list_id)
    task.reporter.planned(task.client.name, task.list_key, run.kind, run.members_total, len(windows))
    with recorded_end(task, run_id):
        drive(
            _job(task, run),
            windows,
            lambda outcome: _record(task, run_id, outcome),
            stop=task.services.stop,
            workers=task.client.mailchimp.connections,
            pages=pages,
            give_up=task.services.give_up,
        )
    return runs.finish(task.state, run_id, "completed")


@contextlib.contextmanager
def recorded_end(task: Task, run_id: int) -> Iterator[None]:
    """Whatever ends a run before its time is on record before it is raised on."""
    try:
        yield
    except InterruptedRunError:
        runs.finish(task.state, run_id, "interrupted")
        raise
    except McimportError as error:
        # A state file that cannot be written cannot be told so either: the run is found as interrupted next time.
        with contextlib.suppress(StateError):
            runs.finish(task.state, run_id, "failed", str(error))
        raise


def _record(task: Task, run_id: int, outcome: Outcome) -> None:
    runs.record(task.state, run_id, outcome)
    task.warn(*outcome.warnings)
    task.lacking.update(dict(outcome.lacking))
    task.reporter.moved(task.client.name, task.list_key, outcome)


def _job(task: Task, run: Run) -> Job:
    return Job(
        list_key=task.list_key,
        mailchimp=task.services.mailchimp,
        ometria=None if task.dry_run else task.services.ometria,
        convert=RunConverter(task.services.mailchimp, task.rules, _welcome(task, run), task.warn),
        watched=letters.watched(task.state, task.row.id),
    )


def _welcome(task: Task, run: Run) -> Welcome:
    """A replay may meet people of any earlier run, and as many as it may."""
    is_replay = run.kind == "replay"
    events = events_ahead(task.rules, None if is_replay else task.row.sync_point, run.since)
    return Welcome(task.client.ometria.welcome_limit, sys.maxsize if is_replay else run.members_total, events)


# ---- what came of it


def result_of(
    client: Client, list_key: str, task: Task | None, failure: McimportError | None, seconds: float
) -> ListResult:
    """What a call did for one list, gathered from what was recorded."""
    blank = ListResult(client.name, list_key, status_of(failure), seconds=seconds, error=failure)
    if task is None:
        return blank
    done = tuple(runs.run(task.state, run_id) for run_id in task.run_ids)
    return replace(
        blank,
        runs=done,
        windows_done=sum(runs.windows_done(runs.windows(task.state, run.id)) for run in done),
        dead_letters=sum(letters.written_by(task.state, run.id) for run in done),
        ceiling=float(client.ometria.requests_per_second * client.ometria.batch),
        dry_run=task.dry_run,
        warnings=tuple(task.warnings),
        lacking=dict(task.lacking),
        unsendable=letters.reasons(task.state, task.run_ids) if task.dry_run else {},
        hints=_hints(task, done),
    )


def _hints(task: Task, done: Iterable[Run]) -> tuple[str, ...]:
    if task.dry_run or task.services.stop.asked.is_set() or not any(run.contacts_rejected for run in done):
        return ()
    with contextlib.suppress(ServiceError, InterruptedRunError):
        return tuple(task.services.ometria.latest_errors())
    return ()


def status_of(error: McimportError | None) -> str:
    if error is None:
        return "completed"
    if isinstance(error, InterruptedRunError):
        return "interrupted"
    return "skipped" if isinstance(error, BusyError) else "failed"
