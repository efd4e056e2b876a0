"""One list at one destination: what its runs share in one call, and how a planned run is executed to its end."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from mcimport.config import Client
from mcimport.engine import Engine, RunSpec
from mcimport.engine.page.held import allowance
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget, event_filters
from mcimport.errors import InterruptedRunError, StateError
from mcimport.errors.machine import as_ours
from mcimport.models import ContactRules, OptedIn, Outcome, Page, Window
from mcimport.models.records import DeadLetter, ListRow, Run, SpotCheck
from mcimport.models.results import Comparison, RunCounts
from mcimport.report.reporter import Reporter
from mcimport.services.connections import ClientServices
from mcimport.services.mailchimp.windows import NEVER, optins_new_since
from mcimport.state import State, elsewhere, lists, run_windows, runs
from mcimport.sync import probed
from mcimport.sync.dead_letter_windows import never_sent, watched, windows_of


@dataclass
class ListRun:
    """Holds what the runs of one list share in one call; belongs to the thread that owns `state`.

    Attributes:
        row: what is remembered of the list at this destination; read again after each run.
        run_ids: the runs of this call, in order.
        earlier, warnings, lacking, unsendable, spot_check, comparison: see `ListResult`.
        remarks: on how many members a remark was made, by its key in `remarks.REMARKS`.
        permissions: the texts of the marketing permissions that members have.
        perhaps_held: an earlier run of this state file may have pushed contacts.
        is_lent: pages of the present run went out to workers, who may have pushed members of it.
    """

    client: Client
    list_key: str
    services: ClientServices
    state: State
    reporter: Reporter
    row: ListRow
    engine: Engine
    dry_run: bool
    run_ids: list[int] = field(default_factory=list)
    earlier: RunCounts = field(default_factory=RunCounts)
    warnings: dict[str, None] = field(default_factory=dict)
    lacking: Counter[str] = field(default_factory=Counter)
    unsendable: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    permissions: set[str] = field(default_factory=set)
    perhaps_held: bool = False
    is_lent: bool = False
    spot_check: SpotCheck | None = None
    comparison: Comparison | None = None
    _step: str = ""
    _fields: LazyListFields | None = None

    def begin(self, run_id: int) -> None:
        """Begins another run of this list: requests are counted and logged as this run's from here on."""
        self.run_ids.append(run_id)
        self.services.meter.drain()  # requests made after the end of the last run belong to no run
        self.services.trace.begin(self.list_key, run_id)
        self.reporter.begun(self.client.name, self.list_key, run_id)

    @contextlib.contextmanager
    def step(self, words: str) -> Iterator[None]:
        """Reports in these words what the block does that is not counted in pages."""
        before, self._step = self._step, words
        self._report_step()
        try:
            yield
        finally:
            self._step = before
            self._report_step()

    def say_step(self, words: str) -> None:
        """Reports the present step in other words, from any thread."""
        self._step = words
        self._report_step()

    def settle(self, seconds: float) -> None:
        """Waits so long for Ometria to validate what was pushed. Raises InterruptedRunError."""
        if seconds > 0:
            self.reporter.settles(self.client.name, self.list_key, seconds)
            self.services.stop.requested.wait(seconds)
            self._report_step()
        self.services.mailchimp.check_not_stopped()

    def accepted(self, contacts: int) -> None:
        """Reports that Ometria accepted so many contacts of pages that are not recorded yet, from any thread."""
        self.reporter.accepted(self.client.name, self.list_key, contacts)

    def looks_up(self, contacts: int) -> None:
        """Reports that so many more contacts are being looked up in Ometria, from any thread; below 0: were."""
        self.reporter.looks_up(self.client.name, self.list_key, contacts)

    def finishes(self, pages: int) -> None:
        """Reports how many pages may still end once a stop was requested."""
        self.reporter.finishes(self.client.name, self.list_key, pages)

    def _report_step(self) -> None:
        self.reporter.step(self.client.name, self.list_key, self._step)

    def refresh(self) -> None:
        """Reads again what is remembered of the list."""
        self.row = lists.by_id(self.state, self.row.id)

    def is_first_run(self, run: Run) -> bool:
        """Says whether Ometria accepted no contact of this list before the run, by the state file and a look there.

        A first run that was interrupted is still one when it is resumed.
        """
        row = self.row
        is_first = row.accepted_at is None and row.unchecked_at is None and not self.perhaps_held
        if row.sync_point is not None or row.unchecked_at is not None:
            return is_first
        return is_first or not runs.has_pushed(self.state, row.id, except_run=run.id)

    @property
    def rules(self) -> ContactRules:
        return replace(
            self.client.rules(self.list_key, self.row.new_since),
            has_sms=bool(self.row.has_sms),
            permissions=lists.permissions(self.row),
        )

    def prefetch_fields(self) -> None:
        """Begins to read the list's own fields, which will be needed, while something else takes its time.

        Only where pages are processed here: Celery workers read the fields themselves.
        """
        if self.engine.is_local:
            self._fields = self.new_fields()
            self._fields.begin()

    def take_field_reader(self) -> LazyListFields:
        """Returns the reader of the list's own fields for one run, and forgets it: the next run reads them again."""
        reader, self._fields = self._fields or self.new_fields(), None
        return reader

    def new_fields(self) -> LazyListFields:
        """Makes a reader that has read nothing yet."""
        is_asked = self.row.sync_point is None or bool(self.row.permissions)
        return LazyListFields(self.services.mailchimp, self.list_key, is_asked=is_asked)

    def read_again(self, chosen: Sequence[DeadLetter], first: int = 0) -> list[Window]:
        """Returns the windows that read dead letters again, numbered from `first` on; warns how many were closed."""
        found, closed = windows_of(self.state, self.row, chosen, self.client.mailchimp.window)
        if closed:
            self.warn(f"dead letters closed because they affect no member that this list imports: {closed:,}")
        return [replace(window, number=number) for number, window in enumerate(found, first)]

    def note_lent(self) -> None:
        """Notes in the state file, before the first page goes out, that workers may have pages of the client."""
        self.is_lent = True
        elsewhere.begin(self.state, self.client.name)

    def record_extra(self, run_id: int, outcome: Outcome) -> None:
        """Records a page that is in no window of the run, with the dead letters of single contacts only."""
        kept = tuple(letter for letter in outcome.letters if letter.kind == "contact")
        outcome = replace(outcome, window=None, letters=kept)
        runs.record(self.state, run_id, outcome, self.services.meter.drain())
        self.warn(*outcome.warnings)
        self.remarks.update(dict(outcome.remarks))

    def warn(self, *texts: str) -> None:
        """Adds texts for a person, each once; empty ones are left out."""
        self.warnings.update(dict.fromkeys(text for text in texts if text))


def execute(
    list_run: ListRun,
    run_id: int,
    windows: Sequence[Window],
    pages: MutableMapping[int, Page],
    *,
    until: int | None = None,
    afterwards: Callable[[int], None] = lambda _: None,
) -> Run:
    """Processes the windows of a planned run and ends it. Raises what ended it early, once that is recorded.

    `pages`: see `Engine.run`. `until`: the last second that is read, for a
    run that has none of its own (a replay). `afterwards` is called with the run's id when all windows are processed,
    and is a part of the run.
    """
    run = runs.get(list_run.state, run_id)
    if list_run.client.ometria.force_optin:
        list_run.warn("force_optin is on: consent sent from here overrides every other source of consent in Ometria")
    _report_plan(list_run, run, len(windows))
    # Earlier versions did not write down from when on an opt-in is new.
    new_since = optins_new_since(list_run.row)
    windows = [window if window.new_since is not None else replace(window, new_since=new_since) for window in windows]
    rules, event_budget = _event_budget(list_run, run, windows, until)
    with record_failure(list_run, run_id):
        spec = _spec(list_run, run, rules, event_budget)
        is_silenced = list_run.engine.run(spec, windows, pages, partial(_record, list_run, run_id))
        _compare_with_probe(list_run, run_id)
        afterwards(run_id)
    usage = list_run.services.meter.drain()
    done = runs.finish(list_run.state, run_id, "completed", usage=usage, is_silenced=is_silenced)
    list_run.refresh()
    return done


def _compare_with_probe(list_run: ListRun, run_id: int) -> None:
    client, bounds = list_run.client, run_windows.bounds_seen(list_run.state, run_id)
    lacks_single = list_run.services.contacts.lacks_single(client.collection(list_run.list_key))
    list_run.warn(probed.doubt_by_run(list_run.state, client, list_run.list_key, bounds, lacks_single=lacks_single))


def _report_plan(list_run: ListRun, run: Run, left: int) -> None:
    """Reports of how much the run consists, and how far it has come already. `left`: windows to process."""
    where = (list_run.client.name, list_run.list_key, run.kind)
    done = run.windows_total - left
    list_run.reporter.planned(*where, run.members_total, run.windows_total, read=run.members_read, done=done)


@contextlib.contextmanager
def record_failure(list_run: ListRun, run_id: int) -> Iterator[None]:
    """Records what ends a run before its time, as interrupted or failed, and raises it."""
    try:
        yield
    except InterruptedRunError:
        runs.finish(list_run.state, run_id, "interrupted", usage=list_run.services.meter.drain())
        raise
    except Exception as raised:  # noqa: BLE001 - whatever it is, the run must not stay marked as running
        error = as_ours(raised)
        # Where the state file cannot be written, this cannot be recorded either: the next call marks it interrupted.
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
        imported_until=list_run.row.imported_until,
        look_ups=allowance(),
        account_known_good=runs.has_pushed_to_account(list_run.state, list_run.row),
        is_dry=list_run.dry_run,
        state_id=list_run.state.state_id,
        warn=list_run.warn,
        waits=lambda words: list_run.reporter.waits(list_run.client.name, list_run.list_key, words),
        accepted=list_run.accepted,
        looks_up=list_run.looks_up,
        finishes=list_run.finishes,
        lent=list_run.note_lent,
        given_back=lambda: elsewhere.end(list_run.state, list_run.client.name),
    )


def _event_budget(
    list_run: ListRun, run: Run, windows: Sequence[Window], until: int | None
) -> tuple[ContactRules, EventBudget]:
    """Returns the rules of the run, and how many subscription events it may cause.

    The time of an opt-in is sent only of members who are new to the list; it is what causes an event. A window of a
    dead letter has a span of its own, in which other members may be new.
    """
    replayed = [window for window in windows if window.letter_id is not None and window.new_since != NEVER]
    spans = [OptedIn(window.since, window.until, window.new_since) for window in replayed]
    most = sum(1 if window.member_id else sys.maxsize for window in replayed)
    rules = replace(list_run.rules, until=until if run.until is None else run.until)
    if run.kind != "replay":
        spans.insert(0, OptedIn(run.since, None, optins_new_since(list_run.row)))
        most += _perhaps_new(run, rules)
    return rules, EventBudget(list_run.client.ometria.welcome_limit, most, event_filters(rules, spans))


def _perhaps_new(run: Run, rules: ContactRules) -> int:
    """Returns how many of a run's members may be new: in a list's first run, all changed before it."""
    is_first = run.until is not None and rules.new_since is not None and run.until < rules.new_since
    return 0 if is_first and rules.subscription_events == "new" else run.members_total
