"""What was done in a period: sums of what the runs in it recorded, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcimport.models import NewDeadLetter, Outcome
from mcimport.models.activity import RunSums
from mcimport.models.records import Run
from mcimport.models.timestamps import iso
from mcimport.state import State, activity, dead_letters, lists, open_state, retention, runs
from mcimport.state.destinations import Destination, get_or_create

NOW = 1_795_507_200  # 2026-11-24 08:00:00 UTC
DAY = 86_400
KEEP = 90 * DAY
CLIENTS = {"acme": ("1a2d7ebf82", "9f8e7d6c5b"), "globex": ("1a2d7ebf82",)}
PLACES = [(client, list_key) for client, keys in CLIENTS.items() for list_key in keys]
SUMMED = [name for name in RunSums.__struct_fields__ if name not in ("runs", "runs_failed", "members_compared")]
MOMENTS = st.integers(NOW - 4 * DAY, NOW + 4 * DAY)
RUNS = st.fixed_dictionaries(
    {
        "place": st.integers(0, len(PLACES) - 1),
        "kind": st.sampled_from(["full", "incremental", "replay", "reconcile"]),
        "status": st.sampled_from(["completed", "failed", "interrupted", "abandoned", "running"]),
        "started_at": MOMENTS,
        **{name: st.integers(0, 10**9) for name in SUMMED},
    }
)


@pytest.fixture(name="state")
def a_state(tmp_path: Path) -> Iterator[State]:
    """A state file in which each client has its lists, and nothing was done yet."""
    with open_state(tmp_path / "state.db") as state:
        for client, list_key in PLACES:
            get_or_create(state, Destination(client, list_key, "mailchimp", "a@b"))
        yield state


def insert_runs(state: State, found: list[dict[str, Any]]) -> None:
    state.write("DELETE FROM runs")
    rows = lists.all_lists(state)
    by_place = {(row.client, row.list_key): row.id for row in rows}
    with state.transaction():
        for one in found:
            client, list_key = PLACES[one["place"]]
            values = {name: value for name, value in one.items() if name != "place"}
            place = {"list_id": by_place[client, list_key], "client": client, "list_key": list_key}
            state.insert("runs", **{**place, **values, "started_at": iso(one["started_at"])})


def sums_of(counted: list[Run]) -> RunSums:
    """The sums, added up one run at a time."""
    failed = sum(run.status == "failed" for run in counted)
    compared = sum(run.members_read for run in counted if run.kind == "reconcile")
    summed = {name: sum(getattr(run, name) for run in counted) for name in SUMMED}
    return RunSums(runs=len(counted), runs_failed=failed, members_compared=compared, **summed)


def test_the_sums_are_those_of_the_clients_own_runs_in_the_period(state: State) -> None:
    """Whatever runs there are: a run outside of the period, or of another client or list, counts nowhere."""

    @given(st.lists(RUNS, max_size=12), MOMENTS, st.integers(0, 6 * DAY))
    def holds(found: list[dict[str, Any]], since: int, length: int) -> None:
        insert_runs(state, found)
        until = since + length
        recorded = [run for run in runs.latest(state, limit=-1) if since <= run.started_at <= until]
        reported = activity.of_clients(state, CLIENTS, since, until, KEEP)
        assert [one.client for one in reported] == [*CLIENTS]
        for one in reported:
            own = [run for run in recorded if run.client == one.client]
            assert one.sums == sums_of(own)
            assert sum(one.days.values()) == one.sums.contacts_pushed
            for part in one.lists:
                assert part.sums == sums_of([run for run in own if run.list_key == part.list_key])
        assert set(activity.active_clients(state, since, until)) == {run.client for run in recorded}

    holds()


def test_the_days_have_no_gap_and_begin_with_the_log(state: State) -> None:
    """A day without a run is shown as one; the days before the first run of all are not."""
    usual = {"place": 0, "kind": "full", "status": "completed"}
    insert_runs(
        state,
        [
            {**usual, "started_at": NOW - 3 * DAY, "contacts_pushed": 5},
            {**usual, "started_at": NOW, "contacts_pushed": 7},
        ],
    )
    (one,) = activity.of_clients(state, {"acme": ()}, 0, NOW, KEEP)
    assert one.days == {"2026-11-21": 5, "2026-11-22": 0, "2026-11-23": 0, "2026-11-24": 7}


def test_a_list_that_is_not_configured_any_more_is_shown_only_if_something_was_done_for_it(state: State) -> None:
    """What was imported for it in the period counts; a list that was dropped long ago does not appear."""
    insert_runs(state, [{"place": 1, "kind": "full", "status": "completed", "started_at": NOW, "contacts_pushed": 3}])
    (now, later) = (
        activity.of_clients(state, {"acme": ("1a2d7ebf82",)}, moment, NOW + DAY, KEEP) for moment in (0, NOW + 1)
    )
    assert [part.list_key for part in now[0].lists] == ["1a2d7ebf82", "9f8e7d6c5b"]
    assert now[0].sums.contacts_pushed == 3
    assert [part.list_key for part in later[0].lists] == ["1a2d7ebf82"]


def test_dead_letters_count_where_they_were_opened_and_while_they_are_open(state: State) -> None:
    """One that was opened before the period is not opened in it, and is open all the same."""
    row = lists.all_lists(state)[0]
    run_id = runs.begin(state, row, "full", None, moves_sync_point=True)
    letters = tuple(NewDeadLetter("contact", "refusal", "listed", None, NOW, "no", member_id=name) for name in "abc")
    runs.record(state, run_id, Outcome(None, letters=letters))
    state.write("UPDATE dead_letters SET created_at = ? WHERE member_id = 'a'", [iso(NOW - DAY)])
    state.write("UPDATE dead_letters SET created_at = ? WHERE member_id != 'a'", [iso(NOW + 5)])
    dead_letters.close(state, "discarded", [3])
    acme, globex = activity.of_clients(state, CLIENTS, NOW, NOW + 10, KEEP)
    assert (acme.letters_opened, acme.letters_open) == (2, 2)
    assert (globex.letters_opened, globex.letters_open) == (0, 0)


@pytest.mark.parametrize(("age", "is_whole"), [(7 * DAY, True), (8 * DAY, False)], ids=["a week", "longer"])
def test_a_period_of_which_the_log_was_thinned_says_so(state: State, age: int, *, is_whole: bool) -> None:
    """Routine runs are kept for a week: sums over a longer time may be too low."""
    insert_runs(state, [{"place": 0, "kind": "full", "status": "completed", "started_at": NOW - 30 * DAY}])
    retention.prune(state, KEEP, NOW)
    (one,) = activity.of_clients(state, {"acme": ()}, NOW - age, NOW, KEEP)
    assert one.whole_since == (None if is_whole else NOW - 7 * DAY)
