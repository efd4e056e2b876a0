"""One list at one destination, at work: what its runs share, and how a planned run is carried to its end."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from mcimport.config import Client
from mcimport.convert import quoted
from mcimport.engine import Engine, LocalEngine, RunSpec
from mcimport.engine.page.converter import EventBudget, LazyListFields, event_filters
from mcimport.engine.page.held import allowance
from mcimport.errors import (
    BusyError,
    ConfigError,
    InterruptedRunError,
    McimportError,
    ServiceError,
    StateError,
    WorkersBusyError,
)
from mcimport.errors.machine import as_ours
from mcimport.models import ContactRules, OptedIn, Outcome, Page, Window
from mcimport.models.records import DeadLetter, ListResult, ListRow, Permissions, Run, affected
from mcimport.models.remarks import NO_PERMISSION, words
from mcimport.models.sample import SpotCheck
from mcimport.report.format import moment_utc
from mcimport.report.reporter import Reporter
from mcimport.services.connections import ClientServices, ConnectionPool
from mcimport.services.destination import moved, place_of, ways_on
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.mailchimp.windows import NEVER, new_from
from mcimport.state import (
    State,
    dead_letters,
    destinations,
    elsewhere,
    held_by_this_process,
    lists,
    lock_client,
    run_warnings,
    run_windows,
    runs,
)
from mcimport.sync.dead_letter_windows import never_sent, watched, windows_of


class ClientObserver(Protocol):
    """Is told when each client's work begins and ends; called from the threads of several clients."""

    def begun(self, client: Client) -> None: ...

    def ended(self, client: Client, results: Sequence[ListResult]) -> None: ...


@dataclass(frozen=True)
class SyncSession:
    """What all clients of one call share.

    Attributes:
        observer: whoever is told of each client, if somebody is.
        engine: where windows are worked off.
        clients: all that the settings name, whichever of them this call is about.
    """

    db_path: Path
    accounts: ConnectionPool
    stop: StopSignal
    reporter: Reporter
    observer: ClientObserver | None = None
    engine: Engine = field(default_factory=LocalEngine)
    clients: tuple[Client, ...] = ()

    def observe(self, client: Client, work: Callable[[], list[ListResult]]) -> list[ListResult]:
        """Does one client's work between the two words of the watch."""
        if self.observer is None:
            return work()
        self.observer.begun(client)
        results = work()
        self.observer.ended(client, results)
        return results


@dataclass
class ListRun:
    """What the runs of one list share in one call; belongs to the thread that owns `state`.

    Attributes:
        row: what is remembered of the list at this destination; read anew after each run.
        run_ids: the runs of this call, in order.
        warnings: words for a person, each once.
        lacking: of a dry run's contacts, how many have no country, phone, name.
        unsendable: how many members could not be sent, by reason.
        remarks: on how many members a remark was made, by its key.
        permissions: the texts of the marketing permissions that members have.
        perhaps_held: an earlier run of this state file may have pushed somebody.
        is_lent: pages of the present run went out to workers, who may have pushed members of it.
        spot_check: what was found of contacts that were pushed before; None where they were not looked at.
    """

    client: Client
    list_key: str
    services: ClientServices
    state: State
    reporter: Reporter
    row: ListRow
    engine: Engine = field(default_factory=LocalEngine)
    dry_run: bool = False
    run_ids: list[int] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    lacking: Counter[str] = field(default_factory=Counter)
    unsendable: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    permissions: set[str] = field(default_factory=set)
    perhaps_held: bool = False
    is_lent: bool = False
    spot_check: SpotCheck | None = None
    _fields: LazyListFields | None = None

    def begin(self, run_id: int) -> None:
        """Another run of this list, under its number from here on."""
        self.run_ids.append(run_id)
        self.services.meter.drain()  # what was asked for after the last run's end is nobody's
        self.services.trace.begin(self.list_key, run_id)
        self.reporter.begun(self.client.name, self.list_key, run_id)

    def refresh(self) -> ListRow:
        self.row = lists.by_id(self.state, self.row.id)
        return self.row

    @property
    def is_first(self) -> bool:
        """Ometria has accepted no contact of this list yet, as far as is known from this state file and a look."""
        return self.row.accepted_at is None and self.row.unchecked_at is None and not self.perhaps_held

    def is_first_run(self, run: Run) -> bool:
        """As `is_first`; a first run that was cut off stays one when it goes on."""
        if self.row.sync_point is not None or self.row.unchecked_at is not None:
            return self.is_first
        return self.is_first or not runs.has_pushed(self.state, self.row.id, except_run=run.id)

    @property
    def rules(self) -> ContactRules:
        return replace(
            self.client.rules(self.list_key, self.row.new_since),
            has_sms=bool(self.row.has_sms),
            permissions=lists.permissions(self.row),
        )

    def prefetch_fields(self) -> None:
        """The list's own fields will be needed: they may be read while something else takes its time."""
        if not self.engine.is_local:
            return
        self._fields = self.new_fields()
        self._fields.begin()

    def take_field_reader(self) -> LazyListFields:
        """For one run: the next one reads them anew."""
        found, self._fields = self._fields or self.new_fields(), None
        return found

    def new_fields(self) -> LazyListFields:
        is_asked = self.row.sync_point is None or bool(self.row.permissions)
        return LazyListFields(self.services.mailchimp, self.list_key, is_asked=is_asked)

    def read_again(self, chosen: Sequence[DeadLetter]) -> list[Window]:
        """Makes the windows that read dead letters afresh, all numbered 0; says how many were closed instead."""
        found, closed = windows_of(self.state, self.row, chosen, self.client.mailchimp.window)
        if closed:
            self.warn(f"dead letters closed because they affect no member that this list imports: {closed:,}")
        return found

    def note_lent(self) -> None:
        """Notes in the state file, before the first page goes out, that workers may have pages of the client."""
        self.is_lent = True
        elsewhere.begin(self.state, self.client.name)

    def warn(self, *texts: str) -> None:
        self.warnings.update(dict.fromkeys(text for text in texts if text))


def check_nobody_elsewhere(state: State, client: Client) -> None:
    """Before anything is pushed here. Raises WorkersBusyError where workers may be about to push for the client.

    What one of them read before would follow what is read now.
    """
    elsewhere.correct(state, client.name)
    if (until := elsewhere.until(state, client.name)) is not None:
        raise WorkersBusyError(
            f"{client.name}: Celery workers may still be processing pages from an earlier run",
            hint=f"`mcimport sync --engine celery` waits for them. They are done by {moment_utc(until)} at the latest.",
        )


def resolve_list(state: State, client: Client, list_key: str, *, new_destination: bool = False) -> ListRow:
    """What is remembered of a list at the destination that the client's Ometria key leads to.

    A client that was renamed keeps its memory: the same list went to the same place under the former name. (Two clients
    that do that at once are refused when the settings are read.)

    Raises ConfigError when Ometria accepted the list's contacts at another one alone: sync point and first sync would
    be wrong there (where nobody was accepted yet, what was tried goes on here); BusyError while a process that began
    under the former name is still at work, WorkersBusyError while workers may be.
    `new_destination`: the operator knows, and everything is sent.
    """
    place = place_of(state, client, list_key)
    known, former = destinations.find(state, place), destinations.bound_elsewhere(state, place)
    if known is None and former is None and (other := destinations.of_renamed_client(state, place)):
        adopt_renamed_client(state, other, client.name)
    if known is None and former is not None and not new_destination:
        raise ConfigError(f"{client.name}: {moved(place, former)}", hint=ways_on(place, former))
    return destinations.get_or_create(state, place)


def adopt_renamed_client(state: State, former: ListRow, client: str) -> None:
    """The list goes on under another client's name; nobody may be at work on it under the former one.

    This very call may be at work on the former client, but then on its other lists: this one is not that client's now.
    """
    held = (
        contextlib.nullcontext()
        if held_by_this_process(state.path, former.client)
        else lock_client(state.path, former.client)
    )
    with held:
        if (until := elsewhere.until(state, former.client)) is not None:
            raise WorkersBusyError(
                f"{client}: Celery workers may still be processing pages from an earlier run as {former.client}",
                hint=f"They are done by {moment_utc(until)} at the latest; run `mcimport sync` again after that.",
            )
        destinations.rename_client(state, former.id, client)


def execute(
    list_run: ListRun,
    run_id: int,
    windows: Sequence[Window],
    pages: Mapping[int, Page],
    *,
    until: int | None = None,
    afterwards: Callable[[int], None] = lambda _: None,
) -> Run:
    """Works off a planned run and ends it. Raises what ended it early, once that is on record.

    `until`: the last second that is read, of a run that has none by itself. `afterwards` is called with the run's id
    when all windows are worked off, and is a part of the run.
    """
    run = runs.get(list_run.state, run_id)
    if list_run.client.ometria.force_optin:
        list_run.warn("force_optin is on: consent sent from here overrides every other source of consent in Ometria")
    list_run.reporter.planned(list_run.client.name, list_run.list_key, run.kind, run.members_total, len(windows))
    windows = [_judged(list_run.row, window) for window in windows]
    rules, event_budget = _event_budget(list_run, run, windows, until)
    with record_failure(list_run, run_id):
        is_silenced = list_run.engine.run(
            _spec(list_run, run, rules, event_budget),
            windows,
            pages,
            lambda outcome: _record(list_run, run_id, outcome),
        )
        afterwards(run_id)
    done = runs.finish(
        list_run.state, run_id, "completed", usage=list_run.services.meter.drain(), is_silenced=is_silenced
    )
    list_run.refresh()
    return done


def _judged(row: ListRow, window: Window) -> Window:
    """A window that an earlier version planned does not say yet from when on an opt-in is new to it."""
    return window if window.new_since is not None else replace(window, new_since=new_from(row))


@contextlib.contextmanager
def record_failure(list_run: ListRun, run_id: int) -> Iterator[None]:
    """Whatever ends a run before its time is on record before it is raised on."""
    try:
        yield
    except InterruptedRunError:
        runs.finish(list_run.state, run_id, "interrupted", usage=list_run.services.meter.drain())
        raise
    except Exception as raised:  # noqa: BLE001 - whatever it is, the run must not be left as if it still went on
        error = as_ours(raised)
        # A state file that cannot be written cannot be told so either: the run is found as interrupted next time.
        with contextlib.suppress(StateError):
            runs.finish(list_run.state, run_id, "failed", str(error), usage=list_run.services.meter.drain())
        raise error from None


def _record(list_run: ListRun, run_id: int, outcome: Outcome) -> None:
    sample_size = list_run.client.ometria.spot_check
    runs.record(list_run.state, run_id, outcome, list_run.services.meter.drain(), sample_size=sample_size)
    list_run.warn(*outcome.warnings)
    list_run.lacking.update(dict(outcome.lacking))
    list_run.unsendable.update(dict(outcome.unsendable))
    list_run.remarks.update(dict(outcome.remarks))
    list_run.permissions.update(outcome.permissions)
    list_run.reporter.page_recorded(list_run.client.name, list_run.list_key, outcome)


def _spec(list_run: ListRun, run: Run, rules: ContactRules, event_budget: EventBudget) -> RunSpec:
    return RunSpec(
        client=list_run.client,
        list_key=list_run.list_key,
        run_id=run.id,
        services=list_run.services,
        rules=rules,
        event_budget=event_budget,
        fields=list_run.take_field_reader(),
        watched=watched(list_run.state, list_run.row),
        never_sent=never_sent(list_run.state, list_run.row),
        is_first=list_run.is_first_run(run),
        carried_until=list_run.row.carried_until,
        look_ups=allowance(),
        account_known_good=runs.has_pushed(list_run.state, run.list_id),
        is_dry=list_run.dry_run,
        state_id=list_run.state.state_id,
        warn=list_run.warn,
        waits=lambda words: list_run.reporter.waits(list_run.client.name, list_run.list_key, words),
        lent=list_run.note_lent,
        given_back=lambda: elsewhere.end(list_run.state, list_run.client.name),
    )


def _event_budget(
    list_run: ListRun, run: Run, windows: Sequence[Window], until: int | None
) -> tuple[ContactRules, EventBudget]:
    """Who is new to the list, and how many events that may be: for nobody else is the time of an opt-in sent.

    Who of them is new to a span, its window says: dead letters that are read again are spans of their own.
    """
    replayed = [window for window in windows if window.letter_id is not None and window.new_since != NEVER]
    spans = [OptedIn(window.since, window.until, window.new_since) for window in replayed]
    many = sum(1 if window.member_id else sys.maxsize for window in replayed)
    rules = replace(list_run.rules, until=until if run.until is None else run.until)
    if run.kind != "replay":
        spans, many = [OptedIn(run.since, None, new_from(list_run.row)), *spans], many + _perhaps_new(run, rules)
    return rules, EventBudget(list_run.client.ometria.welcome_limit, many, event_filters(rules, spans))


def _perhaps_new(run: Run, rules: ContactRules) -> int:
    """How many of a run's members may be new: of a list's first run nobody, for all of them changed before it began."""
    is_first = run.until is not None and rules.new_since is not None and run.until < rules.new_since
    return 0 if is_first and rules.subscription_events == "new" else run.members_total


# ---- what came of it


def result_of(
    client: Client, list_key: str, list_run: ListRun | None, failure: McimportError | None, seconds: float
) -> ListResult:
    """What a call did for one list, gathered from what was recorded."""
    blank = ListResult(client.name, list_key, status_of(failure), seconds=seconds, error=failure)
    if list_run is None:
        return blank
    warned = (*list_run.warnings, *(words(key, number) for key, number in list_run.remarks.items()))
    news = run_warnings.new(warned, _before(list_run))
    if list_run.run_ids:
        run_warnings.record(list_run.state, list_run.run_ids[-1], warned)
    done = tuple(runs.get(list_run.state, run_id) for run_id in list_run.run_ids)
    written = [letter for run in done for letter in dead_letters.open_from_run(list_run.state, run.id)]
    return replace(
        blank,
        runs=done,
        windows_done=sum(run_windows.count_done(run_windows.of_run(list_run.state, run.id)) for run in done),
        dead_letters=len(written),
        affected=affected(written),
        ceiling=float(client.ometria.requests_per_second * client.ometria.batch),
        dry_run=list_run.dry_run,
        warnings=warned,
        news=news,
        lacking=dict(list_run.lacking),
        unsendable=dict(list_run.unsendable.most_common()),
        permissions=_permissions(list_run) if list_run.dry_run else None,
        hints=_hints(list_run, done),
        spot_check=list_run.spot_check,
    )


def _before(list_run: ListRun) -> list[Run]:
    """The latest runs of the list but for those of this call."""
    found = runs.latest(
        list_run.state, list_id=list_run.row.id, limit=run_warnings.RUNS_COMPARED + len(list_run.run_ids)
    )
    return [one for one in found if one.id not in list_run.run_ids]


def _permissions(list_run: ListRun) -> Permissions | None:
    """Of those who were read. (A dry run leaves nothing behind: what it saw is in the task alone.)"""
    if not list_run.permissions:
        return None
    lacking = sum(number for key, number in list_run.remarks.items() if key.startswith(NO_PERMISSION))
    return Permissions(tuple(sorted(list_run.permissions)), quoted(list_run.client.permission), lacking)


def _hints(list_run: ListRun, done: Iterable[Run]) -> tuple[str, ...]:
    if list_run.dry_run or list_run.services.stop.requested.is_set() or not any(run.contacts_rejected for run in done):
        return ()
    with contextlib.suppress(ServiceError, InterruptedRunError):
        return tuple(list_run.services.ometria.latest_errors())
    return ()


def status_of(error: McimportError | None) -> str:
    if error is None:
        return "completed"
    if isinstance(error, InterruptedRunError):
        return "interrupted"
    return "skipped" if isinstance(error, BusyError) else "failed"
