"""A story that Hypothesis tells: a list changes, answers break, processes die, time passes; and all arrive."""

from __future__ import annotations

import functools
import re
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from conditions import CONDITIONS, OTHER_KEY, OTHER_SIZE, SETTINGS, SLOW_PACE, Conditions
from conftest import CommandResult, Importer
from consents import breaches_of_consent
from fault_plan import FAULT_PLANS, NO_FAULTS, FaultPlan, apply_plan
from fork_server import ForkServer, Limits, fork_server
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from invariants import LATE, Letter, Scene, breaches, everybody, open_letters_without_cause
from list_events import LIST_EVENTS, OTHER_LIST, ListEvent, apply_events
from member_history import MemberHistory
from passing import time_passes
from process_kills import AWAY, MOMENTS, Moment, limited, run_and_kill
from reported_results import NOBODY, Wrong, keys_of, too_few_missing, untold

from mcimport.models.timestamps import epoch
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.http import retry

MOST_OPEN = 10  # requests; also the pushes that ten workers may have on the way, so that some arrive together
PATIENT, IMPATIENT = 60.0, 0.4  # seconds before an answer is given up
CLOCK_TOLERANCE = 240  # seconds: a server without a clock of its own is only believed to go right within five minutes
BUSY_FIRST = 0.01  # seconds, instead of one, before an account that is busy is asked again: in this process

SINCE = ("--since", "40m")
REPLAY = ("dlq", "replay", "--json")
RECONCILE = ("reconcile", LIST_KEY, "--json")
RECONCILE_OTHER = ("reconcile", OTHER_LIST, "--json")
SYNC_OTHER = ("sync", OTHER_LIST, "--json")
MENDING = ("--mend", "--force-mend", "--yes")  # forced: of a dozen people one is more than five in a hundred
MEND = (*RECONCILE, *MENDING)

manners = st.tuples(
    st.sampled_from([(), (), (), ("--full",), SINCE]),
    st.sampled_from([(), (), ("--window", "10"), ("--window", "30"), ("--window", "50"), ("--window", "200")]),
    st.sampled_from([(), ("--workers", "1"), ("--workers", "2"), ("--workers", "5"), ("--workers", "10")]),
).map(lambda parts: tuple(word for part in parts for word in part))
# Weighted by repetition inside `sampled_from`: of equal branches of `one_of` Hypothesis keeps one.
commands = st.sampled_from([manners] * 6 + [st.just(REPLAY), st.just(MEND), st.just(RECONCILE)]).flatmap(
    lambda some: some
)
turns = st.sampled_from([st.none(), st.just(NO_FAULTS), FAULT_PLANS, FAULT_PLANS, FAULT_PLANS]).flatmap(
    lambda some: some
)
pauses = st.sampled_from([0, 0, 0, 1, 20, 61, 600, 2000, 3_600, 86_400])
# With more open files a run that needs more still waits, in vain, for those of others.
LIMITS = st.builds(Limits, files=st.integers(4, 24)) | st.builds(Limits, threads=st.integers(0, 16))
THIS_MACHINE = re.compile("this machine|the operating system|the state file")


SHOWN = 3  # of those with whom a promise is broken
P = ParamSpec("P")
first_bad_end: list[Exception] = []
"""What the first story that ended badly raised, for it may not end so when Hypothesis tells it again."""


def noted(step: Callable[P, None]) -> Callable[P, None]:
    """Keeps what a step of a Story raises, with the story up to it."""

    @functools.wraps(step)
    def take(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(*args, **kwargs)
        except Exception as error:
            story = args[0]
            if isinstance(story, Story) and not first_bad_end:
                error.add_note("\n".join(["The story:", *story.steps]))
                first_bad_end.append(error)
            raise

    return take


class Story(RuleBasedStateMachine):
    """Checked after every command: what is due by the sync point, the limits, the sync point itself, and secrecy.

    Not part of the promises, and so not asked for: a service's clock that is set back further than the overlap hides
    what changes meanwhile; people who were deleted for good stay in Ometria as they were until both sides are compared.
    """

    server: ForkServer

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.plan = NO_FAULTS
        self.plan_began = 0.0  # by the services' clock
        self.point = 0
        self.has_wandered = False  # an edge's clock did
        self.is_lost = False  # a state file was, since which both sides were not compared
        self.steps: list[str] = []
        self.letters: list[Letter] = []  # open ones of the list, at the last look
        self.wrong = NOBODY  # before a comparison
        self.held: set[tuple[str, str]] = set()  # in Ometria, before a command
        self.is_over = False  # nothing happens any more

    # ---- how it begins and ends

    @initialize(conditions=CONDITIONS)
    def a_list_and_its_importer(self, conditions: Conditions) -> None:
        self.steps.append(f"{conditions}")
        knobs = SandboxSettings(
            size=conditions.size,
            seed=conditions.seed,
            clock_skew=conditions.ahead,
            since_includes=conditions.since_includes,
            before_includes=conditions.before_includes,
            unstable_order=conditions.unstable_order,
            pushes_per_second=100_000,
            reads_per_second=100_000,
            settling=0.0,
            silence=2.0,
            without_address=conditions.without_address,
            single_contacts=conditions.single_contacts,
        )
        self.sandbox = self.stack.enter_context(Sandbox(knobs))
        self.sandbox.add_account(OTHER_KEY, self.sandbox.ometria_key, {OTHER_LIST: OTHER_SIZE})
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.importer = Importer(self.sandbox, folder)
        batch = 8 if conditions.pace == SLOW_PACE else 25
        self.settings = {"window": str(conditions.window), "pace": str(conditions.pace), "batch": str(batch)}
        self.conditions = conditions
        self.audience = self.sandbox.audience()
        self.history = MemberHistory(self.audience)
        self.other = self.sandbox.audience(OTHER_LIST)
        self.history_of_other = MemberHistory(self.other, f"mc-{OTHER_LIST}")
        self._apply_plan(NO_FAULTS)
        self._sync_the_other()

    @noted
    def teardown(self) -> None:
        """Quiet returns: a sync, a replay and a sync later everybody is where they should be.

        And after a comparison that mends nobody at all is opted in who is not subscribed today: another finds nothing.
        """
        with self.stack:
            if hasattr(self, "sandbox"):
                self._apply_plan(NO_FAULTS)
                self.is_over = True
                time_passes(max(0, self.conditions.ahead))  # so that no change lies in what is the future here
                syncs = (self._sync(()), SYNC_OTHER)
                mends = (MEND, (*RECONCILE_OTHER, *MENDING), RECONCILE_OTHER, RECONCILE)
                for words in (*syncs, REPLAY, *syncs, *mends):
                    time_passes(2 * LATE)
                    result = self._command(*words)
                    self._judge(result, words)
                assert result.code == 0, result.err
                self._look(finally_=True)
                self._consents()

    # ---- what happens: people change, time passes, faults begin and end, and then something is done

    @rule(what=LIST_EVENTS, command=commands, turn=turns, pause=pauses, away=st.sampled_from([False] * 9 + [True]))
    @noted
    def a_command(
        self, *, what: Sequence[ListEvent], command: Sequence[str], turn: FaultPlan | None, pause: int, away: bool
    ) -> None:
        """A sync, a replay or a comparison; now and then nobody listens on either side."""
        words = self._prepared(what, command, turn, pause)
        with self.sandbox.offline() if away else nullcontext():
            result = self._command(*words)
        self._judge(result, words, may_fail=away)
        self._look()

    @rule(
        what=LIST_EVENTS,
        command=commands,
        turn=turns,
        pause=pauses,
        number=st.sampled_from([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]),
        moment=st.sampled_from(MOMENTS),
        nth=st.integers(1, 4) | st.integers(1, 25),
    )
    @noted
    def the_process_dies(
        self,
        *,
        what: Sequence[ListEvent],
        command: Sequence[str],
        turn: FaultPlan | None,
        pause: int,
        number: signal.Signals,
        moment: Moment,
        nth: int,
    ) -> None:
        """At the nth request that arrives, or page that is chosen or written: wherever its ten workers are then."""
        words = self._prepared(what, command, turn, pause)
        self.steps.append(f"which gets {number.name} when {moment}, for the {nth}. time")
        self._begin(words)
        result = run_and_kill(self.server, self.importer, words, number, moment, nth)
        self._limits()
        if result.code == AWAY[number]:
            self._keeps_secrets(result.out + result.err)
        else:  # it was over before its moment came
            self._judge(result, words)
        self._look()

    @rule(
        what=LIST_EVENTS,
        command=commands,
        turn=st.sampled_from([st.just(NO_FAULTS), turns]).flatmap(lambda some: some),
        pause=pauses,
        limits=LIMITS,
    )
    @noted
    def the_machine_runs_out_of_files_or_threads(
        self, *, what: Sequence[ListEvent], command: Sequence[str], turn: FaultPlan | None, pause: int, limits: Limits
    ) -> None:
        """The run fails in words, and nobody has a dead letter for it."""
        words = self._prepared(what, command, turn, pause)
        self.steps.append(f"with {limits}")
        self._begin(words)
        result = limited(self.server, self.importer, words, limits)
        self._limits()
        self._judge(result, words, may_fail=True)
        before = self.letters
        self._look()
        if not self.plan.rough:
            assert result.code != 1 or THIS_MACHINE.search(result.err), result.err
            new = [one for one in self.letters if one["id"] not in {each["id"] for each in before}]
            groundless = open_letters_without_cause(new, everybody(self.audience))
            assert groundless == [], groundless[:SHOWN]

    @rule(turn=turns)
    @noted
    def the_other_client_is_synced(self, *, turn: FaultPlan | None) -> None:
        """Whose list goes to the same Ometria account; whatever comes of it under that plan."""
        self.steps.append(f"the other client is synced in {turn}")
        self._apply_plan(turn or self.plan)
        self._keeps_secrets(self.importer(*SYNC_OTHER).err)

    @rule(lost=st.sampled_from([True, False, False]))
    @noted
    def the_state_file_is_lost(self, *, lost: bool) -> None:
        """And nobody has a copy. (The other client's list is synced again at once.)"""
        if not (lost and self.point):
            return
        self.steps.append("the state file is lost")
        for file in self.importer.folder.glob(f"{self.importer.db.name}*"):
            file.unlink()
        self.point, self.is_lost = 0, True
        plan = self.plan
        self._apply_plan(NO_FAULTS)
        self._sync_the_other()
        self._apply_plan(plan)

    # ---- how

    def _sync_the_other(self) -> None:
        result = self.importer(*SYNC_OTHER)
        assert result.code in {0, 3}, result.err

    def _apply_plan(self, plan: FaultPlan) -> None:
        """A server without a clock is read by ours, which then must not go before it.

        Nor begins a first sync without one here: who is new is counted from then on, and ours may be far behind. Nor is
        an edge's clock before the one that dates changes where ours is: not both at once, which is taken on trust.
        """
        if plan is not self.plan:
            self.plan_began = self.sandbox.clock.now()
        behind = self.sandbox.clock.now() < time.time() - CLOCK_TOLERANCE
        if plan.no_date and (behind or not self.point):
            plan = replace(plan, no_date=False)
        if behind:
            plan = replace(plan, edge_skew=min(0.0, plan.edge_skew))
        self.plan = plan = replace(plan, latency=max(plan.latency, self.conditions.latency))
        self.has_wandered |= plan.edge_skew != 0
        first = list(self.audience.listed()[: plan.rejected])
        rejects = {f"{self.sandbox.list_key}-{self.history.contact_ids[one.number]}".lower() for one in first}
        apply_plan(plan, self.sandbox, rejects, self._dropped(plan.dropped), self.plan_began)
        timeout = IMPATIENT if plan.endless else PATIENT
        others = {"other_list": OTHER_LIST, "other_key": OTHER_KEY}
        self.importer.configure(SETTINGS, **self.settings, **others, timeout=str(timeout))

    def _dropped(self, number: int) -> set[str]:
        """Ids of some who change seldom, and of some who just did: they are the next to be pushed."""
        people = self.audience.listed()
        some = [*people[: number // 2], *people[max(0, len(people) - number) :]] if number else []
        keys = {self.history.key_of(one.number) for one in some}
        self.history.dropped.update(keys)
        return {own for _, own in keys}

    def _prepared(
        self, what: Sequence[ListEvent], command: Sequence[str], turn: FaultPlan | None, pause: int
    ) -> Sequence[str]:
        """A list that was never synced cannot be compared yet."""
        is_comparison = command in (MEND, RECONCILE)
        is_sync = not self.point if is_comparison else command != REPLAY
        words = self._sync(() if is_comparison else command) if is_sync else command
        self.steps.append(f"{what}, {pause} s pass, {turn}, {' '.join(words)}")
        apply_events(what, self.sandbox, self.history)
        time_passes(pause)
        self._apply_plan(turn or self.plan)
        return words

    def _sync(self, manner: Sequence[str]) -> list[str]:
        """`--since` on a list that was never synced would leave people out, as was asked for."""
        refused = () if self.point else SINCE
        return ["sync", self.sandbox.list_key, "--json", *(word for word in manner if word not in refused)]

    def _begin(self, words: Sequence[str]) -> None:
        self.history.begin(self.sandbox.clock.second())
        self.sandbox.clear_requests()
        self.held = keys_of(self.sandbox.contacts())
        self.wrong = Wrong.of(self._scene()) if words[:2] == RECONCILE[:2] else NOBODY

    def _command(self, *words: str) -> CommandResult:
        self._begin(words)
        result = self.importer(*words)
        self._limits()
        return result

    # ---- what must hold

    def _judge(self, result: CommandResult, words: Sequence[str], *, may_fail: bool = False) -> None:
        """The exit code is one that the plan explains, and what was printed is nobody's business.

        2: `--since` refuses while a run is not finished.
        """
        allowed = {0, 3} | ({1} if may_fail or self.plan.rough else set()) | ({2} if "--since" in words else set())
        assert result.code in allowed, (result.code, result.err)
        assert "Traceback" not in result.err, result.err
        self._keeps_secrets(result.out + result.err)
        done = [line["status"] for line in result.lines] if result.code != 2 else []
        assert set(done) <= ({"failed"} if result.code == 1 else {"completed"}), result.out
        self._claims(result, words)

    def _claims(self, result: CommandResult, words: Sequence[str]) -> None:
        if words[:2] == RECONCILE[:2]:
            unsaid = untold(result, self.wrong, Wrong.of(self._scene()), quiet=self.is_over)
            assert unsaid == [], unsaid[:SHOWN]
        elif words[:2] == ("sync", LIST_KEY):
            unsaid = list(too_few_missing(result, self.sandbox.requests, self.held))
            assert unsaid == [], unsaid

    def _limits(self) -> None:
        if not self.plan.endless:
            assert self.sandbox.max_open() <= MOST_OPEN
        assert self.sandbox.pushes_in_any_second() <= self.conditions.pace + MOST_OPEN

    def _scene(self, *, finally_: bool = False) -> Scene:
        """By the letters and the sync point of the last look."""
        return Scene(
            self.sandbox.list_key,
            everybody(self.audience),
            self.sandbox.contacts(),
            self.letters,
            None if finally_ or self.is_over else self.point - LATE,
            self.history,
            archived_due=finally_ or not self.is_lost,
        )

    def _look(self, *, finally_: bool = False) -> None:
        point = self._sync_point()
        # Without a clock in the answers a run reads up to some minutes ago, and goes back to what is vouched for; as it
        # does when the clock of an edge was ahead before.
        assert point >= self.point or self.plan.no_date or self.has_wandered, "the sync point moved backwards"
        self.point = point
        self._keeps_secrets(self._state())
        self.letters = [one for one in self._lines("dlq", "list") if one["list_key"] == self.sandbox.list_key]
        scene = replace(self._scene(finally_=finally_), drops_told=finally_)
        if finally_:
            groundless = open_letters_without_cause(self.letters, scene.people)
            assert groundless == [], groundless[:SHOWN]
        broken = breaches(scene)
        assert broken == [], broken[:SHOWN]

    def _consents(self) -> None:
        """By the account's rule, over all its lists."""
        sides = [(self.audience, self.history), (self.other, self.history_of_other)]
        broken = breaches_of_consent(self.sandbox.mailable(), self.sandbox.contacts(), sides)
        assert broken == [], broken[:SHOWN]

    def _sync_point(self) -> int:
        lines = [one for one in self._lines("status") if one["list_key"] == self.sandbox.list_key]
        return (epoch(lines[0]["sync_point"]) or 0) if lines else 0

    def _lines(self, *words: str) -> list[dict[str, Any]]:
        result = self.importer(*words, "--json")
        assert result.code in {0, 3}, result.err  # 3: there are dead letters
        return result.lines

    def _state(self) -> str:
        """All bytes that are at rest: the state file, its log, its locks."""
        files = sorted(self.importer.folder.glob(f"{self.importer.db.name}*"))
        return "\n".join(file.read_bytes().decode("utf-8", "replace") for file in files)

    def _keeps_secrets(self, text: str) -> None:
        assert self.history.secrets_in(text) == 0
        assert self.history_of_other.secrets_in(text) == 0
        assert self.sandbox.mailchimp_key not in text
        assert self.sandbox.ometria_key not in text


def run_stories(story: type[Story], *, stories: int, steps: int, derandomize: bool = False) -> None:
    """Raises what the first story with a bad end raised, with its steps as a note.

    Nothing is shrunk: sockets, threads and killed processes are never twice the same to the microsecond, and a story of
    a dozen steps can be read as it is.
    """
    first_bad_end.clear()
    with pytest.MonkeyPatch.context() as patch, fork_server() as story.server:
        patch.setattr(retry, "BUSY_FIRST", BUSY_FIRST)
        try:
            run_state_machine_as_test(
                story,
                settings=settings(
                    max_examples=stories,
                    stateful_step_count=steps,
                    derandomize=derandomize,
                    database=None,
                    deadline=None,
                    phases=[Phase.generate],
                    report_multiple_bugs=False,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        except Exception as told_again:
            if not first_bad_end:
                raise
            raise first_bad_end[0] from told_again
