"""What is forgotten with time and what never is; a client forgotten whole; files of every earlier version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import MakeImporter, configure_clients, expected_ids, imported_ids
from passing import time_passes

from mcimport.models import NewDeadLetter, Outcome, Window
from mcimport.models.records import ListRow
from mcimport.models.timestamps import iso
from mcimport.state import (
    State,
    dead_letters,
    destinations,
    lists,
    lock_client,
    open_state,
    retention,
    run_windows,
    runs,
)
from mcimport.state.database import NEWEST_MIGRATION
from mcimport.state.destinations import Destination
from mcimport.state.migrations import migrations

NOW = 1_795_507_200
DAY, HOUR = 86_400, 3_600
KEEP = 90 * DAY
FILES = sorted((Path(__file__).parents[1] / "state_files").glob("*.sql"))

# Hourly runs: ?1 the list, ?2 the first hour, ?3 how many; each with two windows and somebody pushed.
YEAR = """
    INSERT INTO runs (list_id, client, list_key, kind, since, until, status, members_total, members_read,
                      contacts_pushed, windows_total, started_at, finished_at, moves_sync_point, mailchimp_requests)
    SELECT ?1, 'acme', '1a2d7ebf82', 'incremental', t, t, 'completed', 7, 7, 7, 2, t, t, 1, 5 FROM (
        WITH RECURSIVE hour(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM hour WHERE n + 1 < ?3)
        SELECT strftime('%Y-%m-%dT%H:%M:%S+00:00', ?2 + 3600 * n, 'unixepoch') AS t FROM hour)
"""
WINDOWS = """
    INSERT OR IGNORE INTO windows (run_id, number, sweep, "offset", count, since, until, through, page, status,
                                   attempts, members, pushed, finished_at, begun_at, seconds, waited_mailchimp,
                                   converting)
    SELECT id, number, 'listed', 0, 7, since, until, until, 1000, 'done', 1, 7, 7, finished_at, started_at, 0.6123,
           0.5432, 0.0123 FROM runs, (SELECT 0 AS number UNION ALL SELECT 1) WHERE list_id = ?1
"""


@pytest.fixture(name="state")
def a_state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as state:
        yield state


def a_list(state: State, name: str = "acme") -> ListRow:
    return destinations.get_or_create(state, Destination(name, "1a2d7ebf82", "mailchimp", "d"))


def hourly(state: State, row: ListRow, hours: int) -> None:
    """So many hours of runs that went well, up to now."""
    with state.transaction():
        state.write(YEAR, [row.id, NOW - HOUR * hours, hours])
        state.write(WINDOWS, [row.id])


def count(state: State, what: str = "runs") -> int:
    return int(state.value(f"SELECT count(*) FROM {what}"))  # noqa: S608 - a table's name


def test_a_year_of_hourly_runs_is_thinned_to_a_few_hundred(state: State) -> None:
    """A week of all with their windows, a day's last one of the rest without, nothing beyond what is to be kept."""
    row = a_list(state)
    hourly(state, row, 365 * 24)
    assert retention.prune(state, KEEP, NOW)
    assert 7 * 24 + 80 <= count(state) <= 7 * 24 + 90
    assert 2 * 7 * 24 <= count(state, "windows") <= 2 * 7 * 24 + 2
    oldest = state.value("SELECT min(finished_at) FROM runs")
    assert iso(NOW - KEEP) <= oldest <= iso(NOW - KEEP + DAY)


def test_a_year_of_a_thousand_lists_stays_below_200_mb(state: State) -> None:
    """Reckoned from ten lists, each hour of which carried somebody, pruned every day of a year's last week."""
    for number in range(10):
        hourly(state, a_list(state, f"client-{number}"), 365 * 24 // 4)
    while not retention.prune(state, KEEP, NOW):
        pass
    for _ in range(5):
        retention.vacuum(state)
    pages = int(state.value("PRAGMA page_count")) - int(state.value("PRAGMA freelist_count"))
    assert pages * int(state.value("PRAGMA page_size")) / 10 * 1_000 < 200e6
    assert int(state.value("PRAGMA freelist_count")) < pages


def test_it_prunes_once_a_day_and_a_little_at_a_time(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hourly call looks at one value; what is too much for one call goes on with the next."""
    monkeypatch.setattr(retention, "MAX_RUNS", 1_000)
    row = a_list(state)
    hourly(state, row, 200 * 24)
    assert not retention.prune(state, KEEP, NOW)
    before = count(state)
    assert not retention.prune(state, KEEP, NOW)
    assert 0 < before - count(state) <= 1_000 + retention.RUNS_PER_TRANSACTION
    while not retention.prune(state, KEEP, NOW):
        pass
    after = count(state)
    hourly(state, row, 1)
    assert retention.prune(state, 1, NOW + HOUR)
    assert count(state) == after + 1


def test_of_a_list_that_is_synced_each_minute_so_many_runs_are_kept_and_it_is_known_since_when(state: State) -> None:
    """As many as a week has of five minutes each, and one a day of those before; another list keeps its whole week."""
    often, hours = a_list(state, "often"), a_list(state, "hourly")
    with state.transaction():
        state.write(YEAR.replace("3600", "60"), [often.id, NOW - 3 * DAY, 3 * 24 * 60])
    hourly(state, hours, 7 * 24)
    assert retention.prune(state, KEEP, NOW)
    counts = {row[0]: row[1] for row in state.rows("SELECT list_id, count(*) FROM runs GROUP BY list_id")}
    assert retention.MOST_KEPT < counts[often.id] <= retention.MOST_KEPT + 3
    assert counts[hours.id] == 7 * 24
    assert retention.whole_since(state, KEEP) == NOW - 60 * retention.MOST_KEPT


def test_what_is_too_much_for_one_call_is_removed_of_all_lists_by_the_next(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on with the list at which the last one stopped."""
    monkeypatch.setattr(retention, "MAX_RUNS", 500)
    for number in range(4):
        hourly(state, a_list(state, f"client-{number}"), 60 * 24)
    calls = 1
    while not retention.prune(state, KEEP, NOW):
        calls += 1
    assert calls > 4
    assert {row[0] for row in state.rows("SELECT count(*) FROM runs GROUP BY list_id")} == {7 * 24 + 53}


def test_what_must_be_kept_is_kept_whatever_its_age(state: State) -> None:
    """An unfinished run, one with an open letter, a list's memory, its latest runs, the last that pushed anybody."""
    row = a_list(state)
    window = Window(0, "listed", None, NOW)
    unfinished = runs.begin(state, row, "full", None, moves_sync_point=True)
    runs.plan(state, unfinished, NOW, 7, [window])
    runs.finish(state, unfinished, "interrupted")
    dead = runs.begin(state, row, "incremental", None, moves_sync_point=True)
    runs.plan(state, dead, NOW, 7, [window])
    letter = NewDeadLetter("window", "refusal", "listed", 1, 2, "Mailchimp answered 500")
    runs.record(state, dead, Outcome(window, letters=(letter,)))
    runs.finish(state, dead, "completed")
    hourly(state, row, 30)
    with state.transaction():
        state.write("UPDATE runs SET contacts_pushed = 0 WHERE id > ?", [dead + 1])
    assert retention.prune(state, 1, NOW + 400 * DAY)
    kept = [one.id for one in runs.latest(state, limit=100)]
    assert {unfinished, dead, dead + 1} <= set(kept)
    assert len(kept) == retention.LATEST_KEPT + 3
    assert runs.unfinished(state, row.id) is not None
    assert dead_letters.count_open(state, row.id) == 1
    assert run_windows.of_run(state, dead)
    assert destinations.find(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d")) is not None


def test_closed_dead_letters_go_with_their_time(state: State) -> None:
    """One that was replayed long ago is history, too; a young one keeps its run."""
    row = a_list(state)
    window = Window(0, "listed", None, NOW)
    for _ in range(2):
        run_id = runs.begin(state, row, "incremental", None, moves_sync_point=True)
        runs.plan(state, run_id, NOW, 7, [window])
        runs.record(state, run_id, Outcome(window, letters=(NewDeadLetter("window", "refusal", "listed", 1, 2, "no"),)))
        runs.finish(state, run_id, "completed")
    dead_letters.close(state, "gone", [1, 2])
    with state.transaction():
        state.write("UPDATE dead_letters SET updated_at = ? WHERE id = 1", [iso(NOW - 100 * DAY)])
        state.write("UPDATE runs SET finished_at = ?", [iso(NOW - 100 * DAY)])
    hourly(state, row, 48)
    retention.prune(state, KEEP, NOW)
    assert [one.id for one in dead_letters.search(state, status=None)] == [2]
    assert {one.id for one in runs.latest(state, limit=200)} & {1, 2} == {2}


def test_space_is_given_back_also_by_a_file_of_an_early_version(tmp_path: Path) -> None:
    """Such a file cannot shrink piece by piece: it is rewritten once, when that is worth it, and can from then on."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FILES[0].read_text(encoding="utf-8"))
    with open_state(path) as state:
        row = lists.by_id(state, 1)
        hourly(state, row, 365 * 24 * 2)
        while not retention.prune(state, KEEP, NOW):
            pass
        assert state.value("PRAGMA auto_vacuum") == 2
        assert state.value("PRAGMA freelist_count") < 1_000


def test_a_year_of_runs_costs_a_sync_and_a_status_no_more_than_a_day(state: State) -> None:
    """What both ask of a list takes as many of SQLite's steps, however long the history is."""
    young, old = a_list(state, "young"), a_list(state, "old")
    hourly(state, young, 24)
    hourly(state, old, 365 * 24)
    assert steps(state, old) <= 1.1 * steps(state, young)


def steps(state: State, row: ListRow) -> int:
    """In tens of SQLite's virtual machine."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    state._connection.set_progress_handler(step, 10)
    runs.mark_interrupted(state, row.id)
    runs.unfinished(state, row.id)
    runs.has_pushed(state, row.id)
    runs.last_success_at(state, row.id)
    runs.latest(state, list_id=row.id, limit=24)
    dead_letters.count_open(state, row.id)
    dead_letters.due_for_retry(state, row.id)
    state._connection.set_progress_handler(None, 0)
    return taken


def test_a_client_that_was_paused_for_a_year_goes_on_from_its_sync_point(make_importer: MakeImporter) -> None:
    """Its runs are gone from the log, and nobody who changed meanwhile is missed."""
    importer = make_importer(size=40)
    importer("sync")
    point = importer("status", "--json").line["sync_point"]
    for _ in range(30):
        importer("sync")
    with open_state(importer.db) as state:
        state.rows("SELECT 1")
        with state.transaction():
            state.write("UPDATE runs SET finished_at = ?, started_at = ?", [iso(NOW - 900 * DAY)] * 2)
            state.write("DELETE FROM meta WHERE key = 'pruned_at'")
        retention.prune(state, KEEP)
    importer.sandbox.audience().add(email_address="new@example.com")
    time_passes(600)
    result = importer("sync", "--json")
    assert result.line["kind"] == "incremental"
    assert result.line["since"] <= importer("status", "--json").line["sync_point"]
    assert point <= result.line["until"]
    assert imported_ids(importer) == expected_ids(importer)


def test_a_sync_prunes_by_itself(make_importer: MakeImporter) -> None:
    """Nobody has to think of it: the setting is enough."""
    importer = make_importer(size=10)
    importer("sync")
    for _ in range(retention.LATEST_KEPT + 5):
        importer("sync")
    with open_state(importer.db) as state, state.transaction():
        state.write("UPDATE runs SET finished_at = ?", [iso(NOW - 900 * DAY)])
        state.write("DELETE FROM meta WHERE key = 'pruned_at'")
    importer("sync")
    assert len(importer("runs", "list", "--limit", "1000", "--json").lines) <= retention.LATEST_KEPT + 2


# ---- forget


def test_forget_removes_one_client_and_nothing_of_another(make_importer: MakeImporter) -> None:
    """Sync points, runs, windows, dead letters; its next sync would be a first one, and that is said."""
    importer = make_importer()
    configure_clients(importer, ["one", "two"], size=10)
    importer("sync")
    result = importer("forget", "one", "--yes", "--json")
    assert result.code == 0
    assert result.line == {"client": "one", "lists": 1, "runs": 1, "dead_letters": 0}
    assert "its next sync will import every member again" in result.err
    with closing(sqlite3.connect(importer.db)) as state:
        for table in ("lists", "runs", "dead_letters", "troubles", "elsewhere"):
            assert not state.execute(f"SELECT 1 FROM {table} WHERE client = 'one'").fetchall()  # noqa: S608 - from above
        assert not state.execute("SELECT 1 FROM windows WHERE run_id NOT IN (SELECT id FROM runs)").fetchall()
    assert {line["client"]: line["sync_point"] is None for line in importer("status", "--json").lines} == {
        "one": True,
        "two": False,
    }


def test_forget_of_one_list_leaves_the_others_of_its_client(make_importer: MakeImporter) -> None:
    """All tables that name a list; the client's other list goes on from its sync point."""
    importer = make_importer(size=10)
    sandbox = importer.sandbox
    sandbox.add_account(sandbox.mailchimp_key, sandbox.ometria_key, {"9f8e7d6c5b": 10})
    importer.config.write_text(importer.config.read_text().replace("lists = [", 'lists = ["9f8e7d6c5b", '))
    assert importer("sync").code == 0
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute("INSERT INTO troubles SELECT client, list_key, 'failed', '', '2026-01-01' FROM lists")
        state.execute("INSERT INTO elsewhere VALUES ('acme', '2026-01-01')")
    result = importer("forget", "acme", "--list", "9f8e7d6c5b", "--yes", "--json")
    assert result.code == 0
    assert result.line == {"client": "acme", "list_key": "9f8e7d6c5b", "lists": 1, "runs": 1, "dead_letters": 0}
    assert "acme 9f8e7d6c5b is still configured" in result.err
    with closing(sqlite3.connect(importer.db)) as state:
        for table in ("lists", "runs", "troubles"):
            assert state.execute(f"SELECT list_key FROM {table}").fetchall() == [(sandbox.list_key,)]  # noqa: S608 - from above
        assert state.execute("SELECT client FROM elsewhere").fetchall() == [("acme",)]
        for table, column, whole in (("windows", "run_id", "runs"), ("pushed_sample", "list_id", "lists")):
            query = f"SELECT 1 FROM {table} WHERE {column} NOT IN (SELECT id FROM {whole})"  # noqa: S608 - from above
            assert not state.execute(query).fetchall()
    assert {line["list_key"]: line["sync_point"] is None for line in importer("status", "--json").lines} == {
        "9f8e7d6c5b": True,
        sandbox.list_key: False,
    }


def test_forget_of_a_list_that_there_is_not_names_those_that_there_are(make_importer: MakeImporter) -> None:
    """A slip of the pen removes nothing, and an address that was typed is not repeated."""
    importer = make_importer(size=10)
    importer("sync")
    result = importer("forget", "acme", "--list", "nobody@example.com", "--yes")
    assert (result.code, importer.sandbox.list_key in result.err, "nobody@" in result.err) == (2, True, False)
    assert importer("status", "--json").line["sync_point"] is not None


def test_forget_asks_first_and_takes_no_silence_for_a_yes(make_importer: MakeImporter) -> None:
    """Without a terminal and without `--yes` it is a mistake, and nothing is removed."""
    importer = make_importer(size=10)
    importer("sync")
    result = importer.in_a_process("forget", "acme")
    assert (result.code, "--yes" in result.err) == (2, True)
    assert importer("status", "--json").line["sync_point"] is not None


def test_forget_of_a_client_at_work_is_not_done(make_importer: MakeImporter) -> None:
    """Exit 4: another process would write of it afterwards."""
    importer = make_importer(size=10)
    importer("sync")
    with lock_client(importer.db, "acme"):
        assert importer.in_a_process("forget", "acme", "--yes").code == 4
    assert importer("status", "--json").line["sync_point"] is not None


def test_forget_works_for_a_client_that_is_configured_no_longer_and_names_whom_there_is(
    make_importer: MakeImporter,
) -> None:
    """That is the usual order when a contract ends; a slip of the pen removes nothing."""
    importer = make_importer(size=10)
    importer("sync")
    importer.config.write_text(importer.config.read_text().replace("clients.acme", "clients.other"))
    slip = importer("forget", "acne", "--yes")
    assert (slip.code, "acme" in slip.err) == (2, True)
    assert importer("forget", "acme", "--yes").code == 0


# ---- files of earlier versions


def test_there_is_a_file_of_every_version() -> None:
    """Whoever adds a migration adds the file that it leaves: with rows of each table, as SQL, to `state_files`."""
    with closing(sqlite3.connect(":memory:")) as empty:
        from sqlite_utils import Database  # noqa: PLC0415 - for this look alone

        names = [migration.name for migration in migrations.pending(Database(empty))]
    assert [path.stem for path in FILES] == names
    assert (names[-1], len(names)) == (NEWEST_MIGRATION, int(NEWEST_MIGRATION[1:4]))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_file_of_an_earlier_version_opens_and_goes_on(make_importer: MakeImporter, file: Path) -> None:
    """Its tables become those of a new one, what it remembers stays, and its unfinished run is found."""
    importer = make_importer(size=5)
    with closing(sqlite3.connect(importer.db)) as old:
        old.executescript(file.read_text(encoding="utf-8"))
    with open_state(importer.db) as state:
        assert lists.by_id(state, 1).sync_point == 1_795_168_800
        unfinished = runs.unfinished(state, 1)
        assert unfinished is not None
        assert [window.until for window in run_windows.pending(state, unfinished.id)] == [1_795_172_400]
        assert dead_letters.count_open(state, 1) == 1
    assert tables(importer.db) == tables(importer.folder / "fresh.db")
    shown = importer("runs", "show", "2", "--json").line
    assert [window["status"] for window in shown["windows"]] == ["done", "pending"]
    assert "acme" in importer("status").out


def tables(path: Path) -> dict[str, set[str]]:
    """Tables and indexes with their columns."""
    with open_state(path) as state:
        names = [row[0] for row in state.rows("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")]
        return {name: {row[1] for row in state.rows(f"PRAGMA table_info({name})")} for name in names}


def test_a_file_of_a_newer_version_is_refused_and_left_alone(make_importer: MakeImporter) -> None:
    """Byte for byte; the words say what to do."""
    importer = make_importer(size=5)
    importer("sync")
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('mcimport', 'm999_of_tomorrow')")
    with closing(sqlite3.connect(importer.db)) as state:
        state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = importer.db.read_bytes()
    for command in (["sync"], ["status"], ["forget", "acme", "--yes"]):
        result = importer(*command)
        assert (result.code, "newer mcimport" in result.err) == (1, True)
    assert importer.db.read_bytes() == before
