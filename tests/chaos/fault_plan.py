"""What may go wrong with the answers of a sandbox for a while, as values that Hypothesis draws."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st
from invariants import LATE
from passing import time_passes

from mcimport.sandbox.audience.audience import Audience, random_change
from mcimport.sandbox.audience.member_list import LISTED, MemberView
from mcimport.sandbox.audience.stored_member import number_of, second_of
from mcimport.sandbox.clock import Clock
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.server import Sandbox

MOST_PEOPLE = 450  # so that a story takes seconds

AT_ONCE = (
    *("500", "502", "503", "504", "404", "403-blocked", "reset", "reset-body", "truncated", "lost"),
    *("empty", "html", "error-object", "wrong-shape"),
)
"""Faults that cost the importer no time: their next try follows at once."""
SLOW = ("429", "403-bare", "silent", "endless")
"""Faults that cost the importer waiting: rarer, so that a story takes seconds."""
FINAL = ("401", "403")
"""Refusals that end a run at once."""


@dataclass(frozen=True)
class Outage:
    """From the request `after` on (counted on one side, from when the plan began), each is answered so."""

    side: str
    fault: str
    after: int


@dataclass(frozen=True)
class FaultPlan:
    """Named as the sandbox's knobs where it is one.

    Attributes:
        outage: one side is away, or refuses.
        stirred: changes of any kind to single members for each page that is chosen, before it is written.
        stirred_after: the same, when it is written.
        departing: members of the second that most share, who change after each page that is written.
        late: newcomers for each page that is written are dated so many seconds ago: Mailchimp commits them late.
        pause: seconds that pass before each first page, after some joined: the two sweeps then begin far apart.
        dice: what decides about them.
        empty: the share of Mailchimp's answers that hold nobody, whole and proper.
        rejected: how many of the first listed have a record that Ometria refuses.
        dropped: how many of those who changed last have a record that Ometria accepts, and drops; and half as many of
            the first listed.
        refused_for: seconds from its beginning in which Ometria answers 400 to every push.
    """

    faults: Mapping[str, float] = field(default_factory=dict)
    outage: Outage | None = None
    count_lies: int = 0
    count_lies_share: float = 1.0
    no_date: bool = False
    edge_skew: float = 0.0
    empty: float = 0.0
    max_page: int | None = None
    broken: tuple[str, ...] = ()
    broken_lookups: bool = False
    connections: int = 10
    over_limit: str = "429"
    latency: float = 0.0
    latency_spread: float = 0.0
    churn: float = 0.0
    stirred: int = 0
    stirred_after: int = 0
    departing: int = 0
    late: int = 0
    pause: int = 0
    dice: int = 0
    rejected: int = 0
    reject_batches: bool = False
    dropped: int = 0
    refused_for: int = 0

    @property
    def rough(self) -> bool:
        """A run may fail, and members may become dead letters."""
        services = self.faults or self.outage or self.max_page or self.empty
        return bool(services or self.broken or self.rejected or self.count_lies or self.refused_for)

    @property
    def endless(self) -> bool:
        """The importer gives up requests that the sandbox goes on counting as open for a moment."""
        return any(name.endswith(("silent", "endless")) for name in self.faults)


NO_FAULTS = FaultPlan()


def apply_plan(plan: FaultPlan, sandbox: Sandbox, rejects: set[str], drops: set[str], began: float) -> None:
    """Turns all knobs at once. `rejects`, `drops`: ids of records; `began`: by the services' clock."""
    knobs = sandbox.settings
    knobs.faults = {**plan.faults, **({"mailchimp:nobody": plan.empty} if plan.empty else {})}
    knobs.fault = _fault(plan, sandbox)
    for name in (
        *("count_lies", "count_lies_share", "no_date", "edge_skew", "max_page", "broken_lookups"),
        *("connections", "over_limit", "latency", "latency_spread", "churn"),
    ):
        setattr(knobs, name, getattr(plan, name))
    knobs.broken = list(plan.broken)
    knobs.rejects, knobs.drops = rejects, drops
    refused_until = began + plan.refused_for
    knobs.rejects_record = (lambda _: sandbox.clock.now() < refused_until) if plan.refused_for else None
    knobs.reject_batches = plan.reject_batches or sandbox.clock.now() < refused_until
    knobs.on_page = _stirring(plan, plan.stirred, sandbox.clock)
    knobs.after_page = _stirring(replace(plan, dice=plan.dice + 1), plan.stirred_after, sandbox.clock, after=True)


def _fault(plan: FaultPlan, sandbox: Sandbox) -> Callable[[Request], str | None] | None:
    if not plan.outage and not plan.pause:
        return None
    outage, asked = plan.outage or Outage("neither", "", 0), itertools.count(1)

    def decide(request: Request) -> str | None:
        if plan.pause and _is_first_page(request):
            sandbox.audience().join()
            time_passes(plan.pause)
        return outage.fault if request.service == outage.side and next(asked) > outage.after else None

    return decide


def _is_first_page(request: Request) -> bool:
    """Nothing else is on the way then, so no answer is dated later than it was read."""
    query = request.query
    whole = "members.status" in query.get("fields", "")
    return request.path.endswith("/members") and whole and "before_last_changed" not in query


def _stirring(plan: FaultPlan, times: int, clock: Clock, *, after: bool = False) -> Callable[[Audience], None] | None:
    departing, late_by = (plan.departing, plan.late) if after else (0, 0)
    if not (times or departing or late_by):
        return None
    chance = random.Random(plan.dice)  # noqa: S311 - a story must be repeatable, not secret

    def stir_some(audience: Audience) -> None:
        for _ in range(times):
            random_change(audience, chance)
        if departing:
            audience.change(who=_some_of_the_largest_second(audience, departing, chance))
        if late_by and len(audience.rows) < MOST_PEOPLE:
            audience.join_in_second(2, clock.second() - late_by)

    return stir_some


def _some_of_the_largest_second(audience: Audience, most: int, chance: random.Random) -> list[MemberView]:
    with audience.lock:
        keys = audience.orders[LISTED]
        largest = Counter(map(second_of, keys)).most_common(1)
        there = [number_of(key) for key in keys if largest and second_of(key) == largest[0][0]]
        return [audience.member(number) for number in chance.sample(there, min(most, len(there)))]


def _on_a_side(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, f"mailchimp:{name}", f"ometria:{name}"])


_shares = st.dictionaries(
    st.sampled_from(AT_ONCE).flatmap(_on_a_side), st.sampled_from([0.05, 0.15, 0.3, 0.7]), max_size=3
)
_few = st.dictionaries(st.sampled_from(SLOW).flatmap(_on_a_side), st.just(0.03), max_size=1)
_outages = st.builds(
    Outage,
    side=st.sampled_from(["mailchimp", "ometria"]),
    fault=st.sampled_from([*FINAL, "500", "503", "reset", "html", "lost", "404"]),
    after=st.integers(0, 4) | st.integers(0, 40),
)
_ranks = st.tuples(st.integers(0, 400), st.integers(0, 3)).map(lambda pair: f"{pair[0]}-{sum(pair)}")

FAULTS = st.builds(FaultPlan, faults=st.builds(lambda some, few: {**some, **few}, _shares, _few))
OUTAGES = st.builds(FaultPlan, outage=_outages)
ODDITIES = st.builds(
    FaultPlan,
    count_lies=st.sampled_from([0, 0, -40, -3, 3, 40]),
    count_lies_share=st.sampled_from([0.3, 1.0]),
    no_date=st.booleans(),
    edge_skew=st.sampled_from([0.0, 0.0, 130.0, 7_200.0, -130.0]),
    empty=st.sampled_from([0.0, 0.0, 0.03]),
)
LIMITS = st.builds(
    FaultPlan,
    max_page=st.sampled_from([None, 60, 49, 20, 5]),
    connections=st.sampled_from([10, 6, 2]),
    over_limit=st.sampled_from(["429", "403-bare"]),
    latency=st.sampled_from([0.0, 0.004]),
)
BROKEN = st.builds(
    FaultPlan,
    broken=st.lists(_ranks, min_size=1, max_size=3).map(tuple),
    broken_lookups=st.booleans(),
    rejected=st.integers(0, 6),
    reject_batches=st.booleans(),
)
RESTLESS = st.builds(
    FaultPlan,
    churn=st.sampled_from([0.0, 60.0, 400.0]),
    stirred=st.integers(0, 4),
    stirred_after=st.integers(0, 4),
    departing=st.integers(0, 3),
    late=st.sampled_from([0, 0, 20, 50]),
    pause=st.sampled_from([0, 2 * LATE]),
    latency=st.sampled_from([0.0, 0.01]),
    latency_spread=st.sampled_from([0.0, 0.03]),
    dice=st.integers(0, 2**16),
)


def both(one: FaultPlan, other: FaultPlan) -> FaultPlan:
    """Where the second says something, it wins."""
    told = {name: value for name, value in vars(other).items() if value != getattr(NO_FAULTS, name)}
    return replace(one, **told)


SLOW_START = st.just(FaultPlan(pause=2 * LATE))
REFUSALS = st.just(FaultPlan(refused_for=3_600))
DROPS = st.builds(FaultPlan, dropped=st.integers(1, 20))
_kinds = st.one_of(FAULTS, OUTAGES, ODDITIES, LIMITS, BROKEN, RESTLESS, SLOW_START, REFUSALS, DROPS)
FAULT_PLANS = st.one_of(
    _kinds, st.builds(both, _kinds, RESTLESS), st.builds(both, FAULTS, st.builds(both, _kinds, _kinds))
)
