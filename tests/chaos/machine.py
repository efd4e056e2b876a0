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
from chronicle import Chronicle
from claims import NOBODY, Wrong, keys_of, too_few_missing, untold
from conftest import Ended, Importer
from consents import breaches_of_consent
from death import AWAY, MOMENTS, Moment, limited, struck_down
from fork_server import ForkServer, Limits, fork_server
from happenings import HAPPENINGS, OTHER_LIST, Happening, happen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from nature import NATURES, OTHER_KEY, OTHER_SIZE, SETTINGS, SLOW_PACE, Nature
from passing import time_passes
from promises import LATE, Letter, Scene, breaches, everybody, open_letters_without_cause
from weather import CALM, WEATHERS, Weather, let_it_be

from mcimport.convert import epoch
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
turns = st.sampled_from([st.none(), st.just(CALM), WEATHERS, WEATHERS, WEATHERS]).flatmap(lambda some: some)
pauses = st.sampled_from([0, 0, 0, 1, 20, 61, 600, 2000, 3_600, 86_400])
# With more open files a run that needs more still waits, in vain, for those of others.
LIMITS = st.builds(Limits, files=st.integers(4, 24)) | st.builds(Limits, threads=st.integers(0, 16))
THIS_MACHINE = re.compile("this machine|the state file")


SHOWN = 3  # of those with whom a promise is broken
P = ParamSpec("P")
first_bad_end: list[Exception] = []
"""What the first story of a `tell` that ended badly raised, for it may not end so when Hypothesis tells it again."""


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
        self.weather = CALM
        self.weather_began = 0.0  # by the services' clock
        self.point = 0
        self.has_wandered = False  # an edge's clock did
        self.is_lost = False  # a state file was, since which both sides were not compared
        self.steps: list[str] = []
        self.letters: list[Letter] = []  # open ones of the list, at the last look
        self.wrong = NOBODY  # before a comparison
        self.held: set[tuple[str, str]] = set()  # in Ometria, before a command
        self.is_over = False  # nothing happens any more

    # ---- how it begins and ends

    @initialize(nature=NATURES)
    def a_list_and_its_importer(self, nature: Nature) -> None:
        self.steps.append(f"{nature}")
        knobs = SandboxSettings(
            size=nature.size,
            seed=nature.seed,
            clock_skew=nature.ahead,
            since_includes=nature.since_includes,
            before_includes=nature.before_includes,
            unstable_order=nature.unstable_order,
            pushes_per_second=100_000,
            reads_per_second=100_000,
            settling=0.0,
            silence=2.0,
            without_address=nature.without_address,
            single_contacts=nature.single_contacts,
        )
        self.box = self.stack.enter_context(Sandbox(knobs))
        self.box.add_account(OTHER_KEY, self.box.ometria_key, {OTHER_LIST: OTHER_SIZE})
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.importer = Importer(self.box, folder)
        batch = 8 if nature.pace == SLOW_PACE else 25
        self.settings = {"window": str(nature.window), "pace": str(nature.pace), "batch": str(batch)}
        self.nature = nature
        self.audience = self.box.audience()
        self.chronicle = Chronicle(self.audience)
        self.other = self.box.audience(OTHER_LIST)
        self.chronicle_of_other = Chronicle(self.other, f"mc-{OTHER_LIST}")
        self._let_it_be(CALM)
        self._sync_the_other()

    @noted
    def teardown(self) -> None:
        """Quiet returns: a sync, a replay and a sync later everybody is where they should be.

        And after a comparison that mends nobody at all is opted in who is not subscribed today: another finds nothing.
        """
        with self.stack:
            if hasattr(self, "box"):
                self._let_it_be(CALM)
                self.is_over = True
                time_passes(max(0, self.nature.ahead))  # so that no change lies in what is the future here
                syncs = (self._sync(()), SYNC_OTHER)
                mends = (MEND, (*RECONCILE_OTHER, *MENDING), RECONCILE_OTHER, RECONCILE)
                for words in (*syncs, REPLAY, *syncs, *mends):
                    time_passes(2 * LATE)
                    ended = self._command(*words)
                    self._judge(ended, words)
                assert ended.code == 0, ended.err
                self._look(finally_=True)
                self._consents()

    # ---- what happens: people change, time passes, the weather turns, and then something is done

    @rule(what=HAPPENINGS, command=commands, turn=turns, pause=pauses, away=st.sampled_from([False] * 9 + [True]))
    @noted
    def a_command(
        self, *, what: Sequence[Happening], command: Sequence[str], turn: Weather | None, pause: int, away: bool
    ) -> None:
        """A sync, a replay or a comparison; now and then nobody listens on either side."""
        words = self._prepared(what, command, turn, pause)
        with self.box.offline() if away else nullcontext():
            ended = self._command(*words)
        self._judge(ended, words, may_fail=away)
        self._look()

    @rule(
        what=HAPPENINGS,
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
        what: Sequence[Happening],
        command: Sequence[str],
        turn: Weather | None,
        pause: int,
        number: signal.Signals,
        moment: Moment,
        nth: int,
    ) -> None:
        """At the nth request that arrives, or page that is chosen or written: wherever its ten workers are then."""
        words = self._prepared(what, command, turn, pause)
        self.steps.append(f"which gets {number.name} when {moment}, for the {nth}. time")
        self._begin(words)
        ended = struck_down(self.server, self.importer, words, number, moment, nth)
        self._limits()
        if ended.code == AWAY[number]:
            self._keeps_secrets(ended.out + ended.err)
        else:  # it was over before its moment came
            self._judge(ended, words)
        self._look()

    @rule(
        what=HAPPENINGS,
        command=commands,
        turn=st.sampled_from([st.just(CALM), turns]).flatmap(lambda some: some),
        pause=pauses,
        limits=LIMITS,
    )
    @noted
    def the_machine_runs_out_of_files_or_threads(
        self, *, what: Sequence[Happening], command: Sequence[str], turn: Weather | None, pause: int, limits: Limits
    ) -> None:
        """The run fails in words, and nobody has a dead letter for it."""
        words = self._prepared(what, command, turn, pause)
        self.steps.append(f"with {limits}")
        self._begin(words)
        ended = limited(self.server, self.importer, words, limits)
        self._limits()
        self._judge(ended, words, may_fail=True)
        before = self.letters
        self._look()
        if not self.weather.rough:
            assert ended.code != 1 or THIS_MACHINE.search(ended.err), ended.err
            new = [one for one in self.letters if one["id"] not in {each["id"] for each in before}]
            groundless = open_letters_without_cause(new, everybody(self.audience))
            assert groundless == [], groundless[:SHOWN]

    @rule(turn=turns)
    @noted
    def the_other_client_is_synced(self, *, turn: Weather | None) -> None:
        """Whose list goes to the same Ometria account; whatever comes of it in that weather."""
        self.steps.append(f"the other client is synced in {turn}")
        self._let_it_be(turn or self.weather)
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
        weather = self.weather
        self._let_it_be(CALM)
        self._sync_the_other()
        self._let_it_be(weather)

    # ---- how

    def _sync_the_other(self) -> None:
        ended = self.importer(*SYNC_OTHER)
        assert ended.code in {0, 3}, ended.err

    def _let_it_be(self, weather: Weather) -> None:
        """A server without a clock is read by ours, which then must not go before it.

        Nor begins a first sync without one here: who is new is counted from then on, and ours may be far behind. Nor is
        an edge's clock before the one that dates changes where ours is: not both at once, which is taken on trust.
        """
        if weather is not self.weather:
            self.weather_began = self.box.clock.now()
        behind = self.box.clock.now() < time.time() - CLOCK_TOLERANCE
        if weather.no_date and (behind or not self.point):
            weather = replace(weather, no_date=False)
        if behind:
            weather = replace(weather, edge_skew=min(0.0, weather.edge_skew))
        self.weather = weather = replace(weather, latency=max(weather.latency, self.nature.latency))
        self.has_wandered |= weather.edge_skew != 0
        first = list(self.audience.listed()[: weather.rejected])
        rejects = {f"{self.box.list_key}-{self.chronicle.contact_ids[one.number]}".lower() for one in first}
        let_it_be(weather, self.box, rejects, self._dropped(weather.dropped), self.weather_began)
        timeout = IMPATIENT if weather.endless else PATIENT
        others = {"other_list": OTHER_LIST, "other_key": OTHER_KEY}
        self.importer.configure(SETTINGS, **self.settings, **others, timeout=str(timeout))

    def _dropped(self, number: int) -> set[str]:
        """Ids of some who change seldom, and of some who just did: they are the next to be pushed."""
        people = self.audience.listed()
        some = [*people[: number // 2], *people[max(0, len(people) - number) :]] if number else []
        keys = {self.chronicle.key_of(one.number) for one in some}
        self.chronicle.dropped.update(keys)
        return {own for _, own in keys}

    def _prepared(
        self, what: Sequence[Happening], command: Sequence[str], turn: Weather | None, pause: int
    ) -> Sequence[str]:
        """A list that was never synced cannot be compared yet."""
        is_comparison = command in (MEND, RECONCILE)
        is_sync = not self.point if is_comparison else command != REPLAY
        words = self._sync(() if is_comparison else command) if is_sync else command
        self.steps.append(f"{what}, {pause} s pass, {turn}, {' '.join(words)}")
        happen(what, self.box, self.chronicle)
        time_passes(pause)
        self._let_it_be(turn or self.weather)
        return words

    def _sync(self, manner: Sequence[str]) -> list[str]:
        """`--since` on a list that was never synced would leave people out, as was asked for."""
        refused = () if self.point else SINCE
        return ["sync", self.box.list_key, "--json", *(word for word in manner if word not in refused)]

    def _begin(self, words: Sequence[str]) -> None:
        self.chronicle.begin(self.box.clock.second())
        self.box.clear_requests()
        self.held = keys_of(self.box.contacts())
        self.wrong = Wrong.of(self._scene()) if words[:2] == RECONCILE[:2] else NOBODY

    def _command(self, *words: str) -> Ended:
        self._begin(words)
        ended = self.importer(*words)
        self._limits()
        return ended

    # ---- what must hold

    def _judge(self, ended: Ended, words: Sequence[str], *, may_fail: bool = False) -> None:
        """The exit code is one that the weather explains, and what was printed is nobody's business.

        2: `--since` refuses while a run is not finished.
        """
        allowed = {0, 3} | ({1} if may_fail or self.weather.rough else set()) | ({2} if "--since" in words else set())
        assert ended.code in allowed, (ended.code, ended.err)
        assert "Traceback" not in ended.err, ended.err
        self._keeps_secrets(ended.out + ended.err)
        done = [line["status"] for line in ended.lines] if ended.code != 2 else []
        assert set(done) <= ({"failed"} if ended.code == 1 else {"completed"}), ended.out
        self._claims(ended, words)

    def _claims(self, ended: Ended, words: Sequence[str]) -> None:
        if words[:2] == RECONCILE[:2]:
            unsaid = untold(ended, self.wrong, Wrong.of(self._scene()), quiet=self.is_over)
            assert unsaid == [], unsaid[:SHOWN]
        elif words[:2] == ("sync", LIST_KEY):
            unsaid = list(too_few_missing(ended, self.box.requests, self.held))
            assert unsaid == [], unsaid

    def _limits(self) -> None:
        if not self.weather.endless:
            assert self.box.max_open() <= MOST_OPEN
        assert self.box.pushes_in_any_second() <= self.nature.pace + MOST_OPEN

    def _scene(self, *, finally_: bool = False) -> Scene:
        """By the letters and the sync point of the last look."""
        return Scene(
            self.box.list_key,
            everybody(self.audience),
            self.box.contacts(),
            self.letters,
            None if finally_ or self.is_over else self.point - LATE,
            self.chronicle,
            archived_due=finally_ or not self.is_lost,
        )

    def _look(self, *, finally_: bool = False) -> None:
        point = self._sync_point()
        # Without a clock in the answers a run reads up to some minutes ago, and goes back to what is vouched for; as it
        # does when the clock of an edge was ahead before.
        assert point >= self.point or self.weather.no_date or self.has_wandered, "the sync point moved backwards"
        self.point = point
        self._keeps_secrets(self._state())
        self.letters = [one for one in self._lines("dlq", "list") if one["list_key"] == self.box.list_key]
        scene = replace(self._scene(finally_=finally_), drops_told=finally_)
        if finally_:
            groundless = open_letters_without_cause(self.letters, scene.people)
            assert groundless == [], groundless[:SHOWN]
        broken = breaches(scene)
        assert broken == [], broken[:SHOWN]

    def _consents(self) -> None:
        """By the account's rule, over all its lists."""
        sides = [(self.audience, self.chronicle), (self.other, self.chronicle_of_other)]
        broken = breaches_of_consent(self.box.mailable(), self.box.contacts(), sides)
        assert broken == [], broken[:SHOWN]

    def _sync_point(self) -> int:
        lines = [one for one in self._lines("status") if one["list_key"] == self.box.list_key]
        return (epoch(lines[0]["sync_point"]) or 0) if lines else 0

    def _lines(self, *words: str) -> list[dict[str, Any]]:
        ended = self.importer(*words, "--json")
        assert ended.code in {0, 3}, ended.err  # 3: there are dead letters
        return ended.lines

    def _state(self) -> str:
        """All bytes that are at rest: the state file, its log, its locks."""
        files = sorted(self.importer.folder.glob(f"{self.importer.db.name}*"))
        return "\n".join(file.read_bytes().decode("utf-8", "replace") for file in files)

    def _keeps_secrets(self, text: str) -> None:
        assert self.chronicle.secrets_in(text) == 0
        assert self.chronicle_of_other.secrets_in(text) == 0
        assert self.box.mailchimp_key not in text
        assert self.box.ometria_key not in text


def tell(story: type[Story], *, stories: int, steps: int, derandomize: bool = False) -> None:
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
