"""Clocks that differ: the sync point never passes what all of them agree on, and nobody falls between two runs."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.models.timestamps import iso
from mcimport.state import elsewhere, lists, open_state

LAST_OLD = Path(__file__).parents[1] / "state_files" / "m008_remember_what_consent_depends_on.sql"


def remembered(importer: Importer, column: str) -> str:
    with closing(sqlite3.connect(importer.db)) as state:
        return str(state.execute(f"SELECT {column} FROM lists").fetchone()[0])  # noqa: S608 - a column's name


def set_ahead(importer: Importer, seconds: int, *columns: str) -> None:
    """As a run left it whose `Date` was ahead, under an earlier version."""
    ahead = iso(int(time.time()) + seconds)
    with closing(sqlite3.connect(importer.db)) as state, state:
        for column in columns:
            state.execute(f"UPDATE lists SET {column} = ?", [ahead])  # noqa: S608 - a column's name


@pytest.mark.parametrize("ahead", [130, 290, 7_200])
def test_a_date_that_was_ahead_in_one_run_loses_nobody_who_changes_afterwards(
    make_importer: MakeImporter, ahead: int
) -> None:
    """Who unsubscribes a moment later is opted out by the next sync, and the sync point never lies in the future."""
    importer = make_importer(size=200, edge_skew=ahead)
    assert importer("sync").code == 0
    assert remembered(importer, "sync_point") <= iso(int(time.time()))
    importer.sandbox.settings.edge_skew = 0
    left = importer.sandbox.audience().unsubscribe(20)
    assert importer("sync").code == 0
    importer.sandbox.audience().change(10)
    time_passes(180)
    assert importer("sync").code == 0
    assert not {one["email_address"].lower() for one in left} & importer.sandbox.mailable()
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize("ahead", [600, 7_200])
def test_a_sync_point_in_the_future_goes_back_to_what_all_clocks_agree_on_and_says_so(
    make_importer: MakeImporter, ahead: int
) -> None:
    """A state file in which a clock that was ahead left its time: whoever changed since the run is read."""
    importer = make_importer(size=120)
    assert importer("sync").code == 0
    importer.sandbox.audience().unsubscribe(15)
    importer.sandbox.audience().archive(5)
    set_ahead(importer, ahead, "sync_point", "first_sync_at")
    result = importer("sync")
    assert result.code == 0
    assert "is later than what this run can read" in " ".join(result.err.split())
    assert remembered(importer, "sync_point") <= iso(int(time.time()))
    still_mailed = importer.sandbox.mailable()
    people = importer.sandbox.audience().members
    assert not {one["email_address"].lower() for one in people if one["status"] != "subscribed"} & still_mailed


def test_a_list_begun_with_since_now_by_a_clock_that_was_ahead_leaves_out_whom_it_should(
    make_importer: MakeImporter,
) -> None:
    """It goes back to when that run began by this machine's clock, and brings in nobody from before."""
    importer = make_importer(size=60)
    assert importer("sync", "--since", "now").code == 0
    set_ahead(importer, 7_200, "sync_point", "carried_since", "first_sync_at")
    changed = importer.sandbox.audience().change(7)
    assert importer("sync").code == 0
    assert len(imported_ids(importer)) == len([one for one in changed if one["email_address"]])


def test_an_old_state_file_takes_no_sync_point_for_granted_that_its_own_run_had_not_reached(tmp_path: Path) -> None:
    """Two minutes ahead when it was set are in the past an hour later, and hide whoever changed in between."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(LAST_OLD.read_text(encoding="utf-8"))
        (started,) = old.execute("SELECT started_at FROM runs WHERE status = 'completed'").fetchone()
        ahead = started.replace("T09:00:", "T09:02:")
        assert ahead > started
        old.execute("UPDATE runs SET until = ? WHERE status = 'completed'", [ahead])
        old.execute("UPDATE lists SET sync_point = ?", [ahead])
        old.commit()
    with open_state(path) as state:
        assert iso(lists.by_id(state, 1).sync_point or 0) == started


def test_a_clock_of_this_machine_that_is_behind_costs_reading_twice_and_says_how_much(
    make_importer: MakeImporter,
) -> None:
    """An hour behind: everybody arrives, each sync reads the last hour again, and a warning says so."""
    importer = make_importer(size=150, clock_skew=3_600)
    result = importer("sync")
    assert result.code == 0
    assert "the last 1 h again" in " ".join(result.err.split())
    importer.sandbox.audience().unsubscribe(10)
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_clock_of_this_machine_that_is_days_behind_fails_in_words(make_importer: MakeImporter) -> None:
    """What it would cost has a bound: exit 1, and what to do."""
    importer = make_importer(size=20, clock_skew=3 * 86_400)
    result = importer("sync")
    assert (result.code, "days behind" in result.err, "Set this machine's clock" in result.err) == (1, True, True)


def test_a_note_that_pages_are_out_in_the_future_waits_an_hour_at_most(tmp_path: Path) -> None:
    """The clock that wrote it was ahead: the client is not shut out until that day."""
    with open_state(tmp_path / "state.db") as state:
        elsewhere.begin(state, "acme")
        state.write("UPDATE elsewhere SET since = ?", [iso(int(time.time()) + 40 * 86_400)])
        assert (elsewhere.until(state, "acme") or 0) <= time.time() + elsewhere.NOTE_EXPIRES
        elsewhere.correct(state, "acme")
        assert (elsewhere.since(state, "acme") or 0) <= time.time()


def test_an_answer_without_a_clock_right_after_the_first_sync_brings_in_nobody_who_was_archived_before_it(
    make_importer: MakeImporter,
) -> None:
    """Everything is read again, but for the archived of before; who is archived meanwhile is opted out all the same."""
    importer = make_importer(size=120)
    before = expected_ids(importer, archived=True)
    assert importer("sync").code == 0
    left = importer.sandbox.audience().archive(5)
    time_passes(20)
    importer.sandbox.settings.no_date = True
    result = importer("sync")
    assert result.code == 0
    assert "the whole list is read again" in result.err
    assert not imported_ids(importer) & before
    importer.sandbox.settings.no_date = False
    time_passes(3_600)
    assert importer("sync").code == 0
    assert not imported_ids(importer) & before
    assert not importer.sandbox.mailable() & {str(one["email_address"]).lower() for one in left}


def test_who_joined_before_the_first_sync_is_no_new_subscriber_whatever_this_machines_clock_says(
    make_importer: MakeImporter,
) -> None:
    """Without a Date header and with a clock a quarter of an hour behind, the newest change tells when it began."""
    importer = make_importer(size=30, no_date=True, clock_skew=900)
    early = importer.sandbox.audience().join(5)
    assert importer("sync").code == 0
    late = importer.sandbox.audience().join(3)
    time_passes(3_600)
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    contacts = importer.sandbox.contacts().items()
    announced = {key[1].partition("-")[2] for key, contact in contacts if contact.get("timestamp_subscribed")}
    assert announced.isdisjoint(str(one["contact_id"]) for one in early)
    assert announced <= {str(one["contact_id"]) for one in late}
