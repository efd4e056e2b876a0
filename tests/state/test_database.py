"""The state file: whole transactions or nothing, resumed exactly, one open letter a member, strangers left alone."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlite_utils import Database, Migrations

from mcimport.errors import StateError
from mcimport.models import Bounds, NewDeadLetter, Outcome, RunKind, Window
from mcimport.models.records import DeadLetter, ListRow, Run
from mcimport.state import (
    State,
    StatePool,
    copy_in_memory,
    database,
    dead_letters,
    destinations,
    lists,
    open_state,
    run_windows,
    runs,
)
from mcimport.state.destinations import Destination

T = 1_700_000_000
KEY = "0123456789abcdef-ometria"
URL = "https://api.ometria.example/v2"
FIRST = Window(0, "listed", None, T - 50)
SECOND = Window(1, "listed", T - 50, T)


@pytest.fixture(name="path")
def a_path(tmp_path: Path) -> Path:
    return tmp_path / "mcimport.db"


@pytest.fixture(name="state")
def a_state(path: Path) -> Iterator[State]:
    with open_state(path) as state:
        yield state


@pytest.fixture(name="row")
def a_list(state: State) -> ListRow:
    return destinations.get_or_create(
        state, Destination("acme", "1a2d7ebf82", "mailchimp", state.account_fingerprint(KEY, URL))
    )


def begin(state: State, row: ListRow, *windows: Window, kind: RunKind = "incremental", moves: bool = True) -> int:
    """A run that is planned: its windows, by default two, are pending."""
    run_id = runs.begin(state, row, kind, None, moves_sync_point=moves)
    runs.plan(state, run_id, T, 40, windows or (FIRST, SECOND))
    return run_id


def replay(state: State, row: ListRow, *windows: Window) -> int:
    run_id = runs.begin(state, row, "replay", None, moves_sync_point=False)
    runs.plan(state, run_id, None, 0, windows)
    return run_id


def span_letter(since: int | None = T - 90, until: int = T - 80) -> NewDeadLetter:
    return NewDeadLetter("window", "transport", "listed", since, until, "Mailchimp answered 500")


def refusal(who: str | None, second: int | None = T - 85, reason: str = "Ometria rejected the record") -> NewDeadLetter:
    since = None if second is None else second - 1
    return NewDeadLetter("contact", "refusal", "listed", since, second, reason, member_id=who)


def only_letter(state: State) -> DeadLetter:
    (letter,) = dead_letters.search(state, status=None)
    return letter


def opened_by(state: State, row: ListRow, *new: NewDeadLetter) -> list[DeadLetter]:
    """Letters written by an earlier run that is over."""
    run_id = begin(state, row)
    runs.record(state, run_id, Outcome(FIRST, letters=new))
    runs.record(state, run_id, Outcome(SECOND))
    runs.finish(state, run_id, "completed")
    return dead_letters.open_for_list(state, row.id)


# ---- the file


def files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def test_a_new_state_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Also where everybody may read what is made by default, and also the files that SQLite puts beside it."""
    before = os.umask(0)
    try:
        path = tmp_path / "new" / "mcimport.db"
        with open_state(path) as state:
            destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"mcimport.db", "mcimport.db-wal", "mcimport.db-shm"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_state_file_that_does_not_exist_is_only_made_when_asked_for(path: Path) -> None:
    """Looking at what was never there leaves nothing behind."""
    with pytest.raises(StateError, match="no state file"):
        open_state(path, create=False)
    assert files(path.parent) == {}


def test_what_was_remembered_is_there_when_the_file_is_opened_again(path: Path) -> None:
    """Opening migrates once, whoever opens it next."""
    with open_state(path) as state:
        row = destinations.get_or_create(
            state, Destination("acme", "1a2d7ebf82", "mailchimp", state.account_fingerprint(KEY, URL))
        )
    for _ in range(2):
        with open_state(path, create=False) as state:
            assert lists.all_lists(state) == [row]


def test_a_new_file_may_be_opened_by_several_at_once(path: Path) -> None:
    """The first sync of several clients: one of them makes the tables, the others wait for it."""
    together, failed = threading.Barrier(6), list[BaseException]()

    def client(name: str) -> None:
        together.wait()
        try:
            with open_state(path) as state:
                destinations.get_or_create(state, Destination(name, "1a2d7ebf82", "mailchimp", "d"))
        except StateError as error:
            failed.append(error)

    threads = [threading.Thread(target=client, args=(f"client{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with open_state(path) as state:
        assert len(lists.all_lists(state)) == 6


def test_a_pool_lends_one_connection_after_another_to_any_thread_and_two_at_once(path: Path) -> None:
    """Each to one borrower at a time; at its end all are closed."""
    with StatePool(path, create=True) as pool:
        with pool.lend() as first:
            pass
        found: list[State] = []

        def borrow() -> None:
            with pool.lend() as again, pool.lend() as other:
                found.extend([again, other])
                destinations.get_or_create(again, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
                assert len(lists.all_lists(other)) == 1

        thread = threading.Thread(target=borrow)
        thread.start()
        thread.join()
        assert found[0] is first
        assert found[1] is not first
    for state in found:
        with pytest.raises(StateError):
            lists.all_lists(state)


@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
def test_a_pool_writes_to_the_file_that_is_there_now(
    path: Path,
    tmp_path: Path,
    is_replaced: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """What went into the former one would be lost with it."""
    with open_state(tmp_path / "other.db"):
        pass
    with StatePool(path, create=True) as pool:
        with pool.lend():
            pass
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        if is_replaced:
            (tmp_path / "other.db").rename(path)
        with pool.lend() as state:
            destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
    with open_state(path, create=False) as state:
        assert len(lists.all_lists(state)) == 1


def test_a_pool_lends_no_connection_again_whose_borrower_failed(path: Path) -> None:
    """Whatever it was in the middle of."""
    with StatePool(path, create=True) as pool:
        with pytest.raises(KeyError), pool.lend() as failed:
            raise KeyError("x")
        with pool.lend() as state:
            assert state is not failed


@pytest.mark.parametrize("text", [b"xy", b"remember the milk\n", b"SQLite format 3, or so it says\n" * 900])
def test_a_file_that_is_no_database_is_left_byte_for_byte(path: Path, text: bytes) -> None:
    """A mistyped `--db` costs nobody their notes, and no file appears beside them."""
    path.write_bytes(text)
    for opening in (open_state, copy_in_memory):
        with pytest.raises(StateError, match="not a state file of mcimport"):
            opening(path)
    assert files(path.parent) == {path.name: text}


others = Migrations("another program")


@others()
def m001_things(database: Database) -> None:
    database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")


@pytest.mark.parametrize("with_migrations", [False, True])
def test_the_database_of_another_program_is_left_byte_for_byte(
    path: Path,
    with_migrations: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Also of one whose tables are numbered by the same library as ours."""
    with closing(sqlite3.connect(path)) as connection:
        database = Database(connection)
        if with_migrations:
            others.apply(database)
        else:
            database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")
    before = files(path.parent)
    for opening in (open_state, copy_in_memory):
        with pytest.raises(StateError, match="another program"):
            opening(path)
    assert files(path.parent) == before


def test_a_file_of_a_newer_version_is_left_byte_for_byte(path: Path) -> None:
    """Old code does not guess at tables that it does not know."""
    with open_state(path) as state:
        state.write(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('mcimport', 'm999_later', '')"
        )
    before = path.read_bytes()
    for opening in (open_state, copy_in_memory):
        with pytest.raises(StateError, match="newer mcimport"):
            opening(path)
    assert path.read_bytes() == before


def test_a_folder_in_the_place_of_the_file_is_said_in_words(tmp_path: Path) -> None:
    """As is a folder that cannot be made."""
    with pytest.raises(StateError, match="cannot be written"):
        open_state(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="cannot be created"):
        open_state(tmp_path / "file" / "mcimport.db")


def test_a_damaged_file_is_said_to_be_damaged(path: Path) -> None:
    """Whatever the disk did to it: in words, when it is opened or when it is first read."""
    with open_state(path) as state:
        destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(StateError, match="damaged"):
        open_state(path)


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from mcimport.errors import StateError
from mcimport.state import destinations, open_state
from mcimport.state.destinations import Destination

if os.getuid() == 0:  # to whom every file is writable
    os.setuid(65534)
try:
    with open_state(Path(sys.argv[1])) as state:
        destinations.get_or_create(state, Destination("acme", "2b3e8fc093", "mailchimp", "d"))
except StateError as error:
    sys.exit(f"StateError: {error}")
"""


def test_a_read_only_file_is_an_error_in_words_and_stays_as_it_was() -> None:
    """Neither opening nor writing half-succeeds."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # somebody without rights must be able to look
        path = Path(folder) / "mcimport.db"
        with open_state(path) as state:
            destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        before = path.read_bytes()
        result = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(path)], capture_output=True, text=True, check=False
        )
        Path(folder).chmod(0o755)  # so that it can be removed
        assert result.stderr.startswith("StateError: ")
        assert "cannot be written" in result.stderr
        assert path.read_bytes() == before


def test_a_file_that_another_program_locks_is_said_to_be_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while of waiting; what was to be written is not half there, and can be written later."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    with open_state(path) as state, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="locked by another program"):
            destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
        other.execute("ROLLBACK")
        assert lists.all_lists(state) == []
        assert destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d")).id


def test_a_transaction_does_not_begin_while_somebody_else_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the right to write before it reads anything: what it decides by cannot be overtaken half-way."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    begun: list[State] = []

    def transact(state: State) -> None:
        with state.transaction():
            begun.append(state)

    with open_state(path) as state, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="locked"):
            transact(state)
        assert begun == []
        other.execute("ROLLBACK")
        transact(state)
        assert begun == [state]


def test_a_full_disk_is_said_to_be_full_and_nothing_is_half_recorded(state: State, row: ListRow) -> None:
    """The page is not acknowledged; with room again, the same outcome can be recorded."""
    run_id = begin(state, row)
    pages = state.value("PRAGMA page_count")
    state.rows(f"PRAGMA max_page_count = {pages}")
    outcome = Outcome(
        FIRST,
        replace(FIRST, through=T - 60),
        members=7,
        letters=tuple(refusal(f"c{n}", reason="x" * 400) for n in range(99)),
    )
    with pytest.raises(StateError, match="full"):
        runs.record(state, run_id, outcome)
    assert (run_windows.pending(state, run_id)[0], runs.get(state, run_id).members_read) == (FIRST, 0)
    assert dead_letters.search(state) == []
    state.rows(f"PRAGMA max_page_count = {pages + 1_000}")
    runs.record(state, run_id, outcome)
    assert (run_windows.pending(state, run_id)[0].through, len(dead_letters.search(state))) == (T - 60, 99)


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), sqlite3.OperationalError("no such thing")])
def test_a_transaction_that_fails_half_way_leaves_nothing(state: State, row: ListRow, error: BaseException) -> None:
    """Whatever ends it; the next transaction starts afresh."""

    def half_way() -> None:
        with state.transaction():
            lists.advance_sync_point(state, row.id, T)
            raise error

    with pytest.raises((type(error), StateError)):
        half_way()
    assert lists.by_id(state, row.id).sync_point is None
    with state.transaction():
        lists.advance_sync_point(state, row.id, T)
    assert lists.by_id(state, row.id).sync_point == T


def test_an_outcome_that_cannot_be_recorded_whole_is_not_recorded_at_all(state: State, row: ListRow) -> None:
    """The last of its letters fails: neither the first one, nor the counts, nor the window's progress are there."""
    run_id = begin(state, row)
    broken = replace(refusal("c2"), reason=None)  # what no code of ours makes
    with pytest.raises(StateError):
        runs.record(state, run_id, Outcome(FIRST, members=5, pushed=5, letters=(refusal("c1"), broken)))
    assert dead_letters.search(state, status=None) == []
    assert run_windows.pending(state, run_id) == [FIRST, SECOND]
    assert runs.get(state, run_id).contacts_pushed == 0


KILLED = """
import sys, threading
from pathlib import Path
from mcimport.models import Window
from mcimport.state import destinations, lists, open_state, runs
from mcimport.state.destinations import Destination

with open_state(Path(sys.argv[1])) as state:
    row = destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
    run_id = runs.begin(state, row, "full", None, moves_sync_point=True)
    runs.plan(state, run_id, 1700000000, 9, [Window(0, "listed", None, 1700000000)])
    with state.transaction():
        lists.advance_sync_point(state, row.id, 1700000000)
        state.write("UPDATE windows SET status = 'done'")
        print("half", flush=True)
        threading.Event().wait(600)
"""


def test_whoever_is_about_to_make_the_file_ends_no_lock_of_who_has_made_it(path: Path) -> None:
    """Two threads of a first sync look at once whether it is there: POSIX locks end when any descriptor is closed."""
    look = (
        "import sqlite3, sys\nfile = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
        "try:\n    file.execute('BEGIN IMMEDIATE')\nexcept sqlite3.OperationalError as error:\n    print(error)\n"
    )
    database._create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.execute("BEGIN IMMEDIATE")
        database._create(path)
        said = subprocess.run([sys.executable, "-c", look, str(path)], capture_output=True, text=True, check=True)
    assert "locked" in said.stdout


def test_a_process_killed_in_the_middle_of_a_transaction_leaves_the_file_as_before_it(path: Path) -> None:
    """What was committed before is there, what was under way is not, and the file opens at once."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
    with open_state(path) as state:
        (row,) = lists.all_lists(state)
        unfinished = runs.unfinished(state, row.id)
        assert unfinished is not None
        assert (row.sync_point, unfinished.status) == (None, "running")
        assert run_windows.pending(state, unfinished.id) == [Window(0, "listed", None, T)]


def test_a_file_from_the_middle_of_a_write_opens_with_all_that_was_committed(path: Path, tmp_path: Path) -> None:
    """A torn page at the end of the log is as if it had never been begun."""
    copy = tmp_path / "copy.db"
    with open_state(path) as state:
        row = destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
        log = path.with_name(path.name + "-wal").read_bytes()
        copy.write_bytes(path.read_bytes())
        copy.with_name("copy.db-wal").write_bytes(log + log[32:1_500])
    with open_state(copy) as state:
        assert lists.all_lists(state) == [row]


def test_a_dry_copy_knows_everything_and_remembers_nothing(path: Path) -> None:
    """What a dry run writes is gone with it; where there is no file, none appears."""
    with copy_in_memory(path) as state:
        destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", "d"))
    assert files(path.parent) == {}
    with open_state(path) as state:
        row = destinations.get_or_create(
            state, Destination("acme", "1a2d7ebf82", "mailchimp", state.account_fingerprint(KEY, URL))
        )
        with copy_in_memory(path) as copy:
            assert lists.all_lists(copy) == [row]
            assert copy.account_fingerprint(KEY, URL) == row.destination
            begin(copy, row)
        assert runs.latest(state) == []


def test_an_account_is_known_by_a_fingerprint_that_is_of_use_in_this_file_alone(tmp_path: Path) -> None:
    """The same key, the same account; but neither the key is in the file, nor the same fingerprint in another one."""
    with open_state(tmp_path / "a.db") as one, open_state(tmp_path / "b.db") as two:
        assert one.account_fingerprint(KEY, URL) == one.account_fingerprint(KEY, URL)
        assert (
            len(
                {
                    one.account_fingerprint(KEY, URL),
                    one.account_fingerprint(KEY + "x", URL),
                    two.account_fingerprint(KEY, URL),
                }
            )
            == 3
        )
        destinations.get_or_create(
            one, Destination("acme", "1a2d7ebf82", "mailchimp", one.account_fingerprint(KEY, URL))
        )
    assert KEY.encode() not in b"".join(files(tmp_path).values())


# ---- lists


def accept_somebody(state: State, row: ListRow) -> None:
    """Ometria has taken a contact of the list there."""
    runs.record(state, begin(state, row), Outcome(FIRST, pushed=1))


def test_what_is_remembered_belongs_to_client_list_collection_and_account(state: State, row: ListRow) -> None:
    """Another of any of them is another row; the same of all four is the same row."""
    place = (row.client, row.list_key, row.collection, row.destination)
    assert destinations.get_or_create(state, Destination(*place)) == row
    accept_somebody(state, row)
    for number in range(4):
        other = [*place]
        other[number] = f"x{other[number]}"
        assert destinations.find(state, Destination(*other)) is None
        made = destinations.get_or_create(state, Destination(*other))
        assert made.id != row.id
        accept_somebody(state, made)
    assert len(lists.all_lists(state)) == 5


def test_what_was_tried_elsewhere_is_taken_over_until_somebody_is_accepted(state: State, row: ListRow) -> None:
    """A wrong key leaves no trap; from the first accepted push on the list is bound to where it went."""
    place = Destination("acme", row.list_key, "mailchimp", "another")
    assert destinations.bound_elsewhere(state, place) is None
    lists.record_first_attempt(state, row.id, T, T + 300)
    lists.set_unchecked_at(state, row.id, T)
    taken = destinations.get_or_create(state, place)
    assert (taken.id, taken.destination) == (row.id, "another")
    assert (taken.first_sync_at, taken.new_since, taken.unchecked_at) == (None, None, None)
    accept_somebody(state, taken)
    for key, collection, destination in (("1a2d7ebf82", "mailchimp", "a third"), ("1a2d7ebf82", "else", "another")):
        found = destinations.bound_elsewhere(state, Destination("acme", key, collection, destination))
        assert found is not None
        assert found.id == row.id
    assert destinations.bound_elsewhere(state, place) is None
    assert destinations.bound_elsewhere(state, Destination("acme", "2b3e8fc093", "mailchimp", "a third")) is None


def test_an_address_is_a_part_of_a_destination_and_its_spelling_is_not(state: State) -> None:
    """A slash at its end, capitals in its host and the usual port make no difference; the path and another host do."""
    assert state.account_fingerprint(KEY, URL) == state.account_fingerprint(KEY, "https://API.Ometria.example:443/v2/")
    others = (URL + "/x", "https://api.ometria.example:8443/v2", "https://test.ometria.example/v2")
    assert len({state.account_fingerprint(KEY, one) for one in (URL, *others)}) == 4


def test_a_destination_of_an_earlier_version_is_known_by_its_key_and_takes_the_address(state: State) -> None:
    """Such a file says nothing of the address: that of the first sync is taken."""
    whole = state.account_fingerprint(KEY, URL)
    old = destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", whole.partition("@")[0]))
    accept_somebody(state, old)
    place = Destination("acme", "1a2d7ebf82", "mailchimp", whole)
    found = destinations.find(state, place)
    assert found is not None
    assert found.id == old.id
    assert destinations.bound_elsewhere(state, place) is None
    assert destinations.get_or_create(state, place).destination == whole
    elsewhere = place._replace(account=state.account_fingerprint(KEY, "https://test.example/v2"))
    assert destinations.find(state, elsewhere) is None
    assert destinations.bound_elsewhere(state, elsewhere) is not None


def test_the_sync_point_never_moves_backwards(state: State, row: ListRow) -> None:
    """An earlier moment changes nothing."""
    for moment, expected in ((T, T), (T - 1, T), (T + 1, T + 1)):
        with state.transaction():
            lists.advance_sync_point(state, row.id, moment)
        assert lists.by_id(state, row.id).sync_point == expected


def first_sync(state: State, row: ListRow) -> tuple[int | None, int | None, int | None]:
    now = lists.by_id(state, row.id)
    return now.first_sync_at, now.new_since, now.accepted_at


def test_history_ends_with_the_try_in_which_the_first_contact_was_accepted(state: State, row: ListRow) -> None:
    """Each try moves the line between old and new, until one has pushed somebody; the archived count from the first."""
    lists.record_first_attempt(state, row.id, T, T + 300)
    lists.record_first_attempt(state, row.id, T + 500, T + 800)
    assert first_sync(state, row) == (T, T + 800, None)
    run_id = begin(state, row)
    runs.record(state, run_id, Outcome(FIRST))
    assert first_sync(state, row) == (T, T + 800, None)
    runs.record(state, run_id, Outcome(FIRST, pushed=1))
    lists.record_first_attempt(state, row.id, T + 900, T + 1_000)
    lists.clear_first_attempt(state, row.id)
    assert first_sync(state, row) == (T, T + 800, T + 800)


def test_a_try_that_sent_nothing_is_forgotten(state: State, row: ListRow) -> None:
    """As if there had been none."""
    lists.record_first_attempt(state, row.id, T, T + 300)
    lists.clear_first_attempt(state, row.id)
    assert lists.by_id(state, row.id) == row


def test_of_two_keys_of_one_account_the_one_that_was_accepted_says_who_is_new(state: State, row: ListRow) -> None:
    """What is said of the archived is the earlier of both."""
    lists.record_first_attempt(state, row.id, T, T + 300)
    place = Destination(row.client, row.list_key, row.collection, "renewed")
    with state.transaction():  # as an earlier version did
        state.write("INSERT INTO lists (client, list_key, collection, destination) VALUES (?, ?, ?, ?)", place)
    renewed = destinations.find(state, place)
    assert renewed is not None
    lists.record_first_attempt(state, renewed.id, T + 500, T + 800)
    lists.set_unchecked_at(state, renewed.id, T + 500)
    runs.record(state, begin(state, renewed), Outcome(FIRST, pushed=1))
    destinations.accept_key(state, row.client, "renewed")
    assert first_sync(state, row) == (T, T + 800, T + 800)
    assert lists.by_id(state, row.id).unchecked_at == T + 500


def test_two_keys_of_one_account_remember_together_what_consent_depends_on(state: State, row: ListRow) -> None:
    """Somebody has an SMS status under the new key alone, permissions were seen under both."""
    accept_somebody(state, row)
    renewed = destinations.get_or_create(state, Destination(row.client, row.list_key, row.collection, "renewed"))
    lists.set_has_sms(state, renewed.id)
    for one, texts in ((row, ("Email",)), (renewed, ("Direct mail", "Email"))):
        runs.record(state, begin(state, one), Outcome(FIRST, pushed=1, permissions=texts))
    destinations.accept_key(state, row.client, "renewed")
    joined = lists.by_id(state, row.id)
    assert joined.has_sms
    assert lists.permissions(joined) == {"Direct mail", "Email"}


def test_a_renewed_key_takes_over_what_was_remembered_of_that_client_alone(state: State, row: ListRow) -> None:
    """Sync point and letters go on under the new key; another client's list stays where it is."""
    other = destinations.get_or_create(state, Destination("other", row.list_key, "mailchimp", row.destination))
    assert destinations.accept_key(state, "acme", "renewed") == 1
    renewed = destinations.find(state, Destination("acme", row.list_key, "mailchimp", "renewed"))
    assert renewed == replace(row, destination="renewed")
    assert lists.by_id(state, other.id) == other
    assert destinations.accept_key(state, "acme", "renewed") == 0


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_older_accounts_the_one_of_the_newest_run_is_renewed(state: State, names: tuple[str, str]) -> None:
    """First a test account, then the real one, whose key is renewed: its unfinished run must be found again."""
    made = []
    for name in names:
        made.append(destinations.get_or_create(state, Destination("acme", "1a2d7ebf82", "mailchimp", name)))
        accept_somebody(state, made[-1])
    test, real = made
    runs.finish(state, begin(state, test, kind="full"), "completed")
    unfinished = begin(state, real, kind="full")
    destinations.accept_key(state, "acme", "renewed")
    found = destinations.find(state, Destination("acme", "1a2d7ebf82", "mailchimp", "renewed"))
    assert found is not None
    assert found.id == real.id
    run = runs.unfinished(state, found.id)
    assert run is not None
    assert run.id == unfinished


def carried_since(state: State, row: ListRow) -> int | None:
    return lists.by_id(state, row.id).carried_since


def completed(state: State, row: ListRow, kind: RunKind, since: int | None, until: int) -> None:
    run_id = runs.begin(state, row, kind, since, moves_sync_point=True)
    runs.plan(state, run_id, until, 0, [])
    runs.finish(state, run_id, "completed")


def test_it_is_known_from_when_on_a_list_is_carried(state: State, row: ListRow) -> None:
    """From where its first run began, from an earlier one's beginning if that comes later, and whole once it was."""
    completed(state, row, "incremental", None, T)  # --since now
    assert carried_since(state, row) == T
    completed(state, row, "incremental", T - 60, T + 3_600)
    assert carried_since(state, row) == T - 60
    completed(state, row, "incremental", T - 9_000, T + 7_200)
    assert carried_since(state, row) == T - 9_000
    completed(state, row, "full", None, T + 9_000)
    assert carried_since(state, row) is None
    completed(state, row, "incremental", T + 8_940, T + 10_000)
    assert carried_since(state, row) is None


def test_of_an_older_file_the_runs_tell_from_when_on_a_list_is_carried(path: Path) -> None:
    """A full run that completed brought everything; else the first run that did tells."""
    with open_state(path) as state:
        whole, now, later, never = (
            destinations.get_or_create(state, Destination("acme", f"{number:010x}", "mailchimp", "d"))
            for number in range(4)
        )
        completed(state, whole, "full", None, T)
        completed(state, now, "incremental", None, T)
        completed(state, now, "incremental", T - 60, T + 3_600)
        completed(state, later, "incremental", T - 500, T)
        completed(state, later, "full", None, T + 3_600)
    with closing(sqlite3.connect(path)) as file, file:
        for column in ("carried_since", "reconciled_at", "reconciled"):
            file.execute(f"ALTER TABLE lists DROP COLUMN {column}")
        file.execute("DELETE FROM _sqlite_migrations WHERE name LIKE 'm006%'")
    with open_state(path) as state:
        assert [carried_since(state, one) for one in (whole, now, later, never)] == [None, T, None, None]


# ---- runs and windows

FULL_OF_DETAIL = Window(
    number=3,
    sweep="archived",
    since=-5,
    until=T,
    page=125,
    offset=900,
    count=812,
    through=T - 30,
    bounds=Bounds(since_includes=True, before_includes=True),
    member_id="c0ffee",
)


@pytest.mark.parametrize(
    "window",
    [
        FIRST,
        FULL_OF_DETAIL,
        replace(FULL_OF_DETAIL, bounds=Bounds(since_includes=True)),
        replace(FULL_OF_DETAIL, bounds=Bounds(before_includes=True), since=None, through=None, member_id=None),
    ],
)
def test_a_pending_window_comes_back_as_it_was_planned(state: State, row: ListRow, window: Window) -> None:
    """Whatever a worker needs in order to go on: span, progress, page, what was learned, whom to look for."""
    assert run_windows.pending(state, begin(state, row, window)) == [window]


def test_a_recorded_page_is_not_read_again(state: State, row: ListRow) -> None:
    """How far its window has come, the page that works and what was learned are remembered; the other one waits."""
    run_id = begin(state, row)
    rest = replace(FIRST, through=T - 70, page=500, bounds=Bounds(since_includes=True))
    runs.record(
        state, run_id, Outcome(FIRST, rest, members=900, skipped=2, pushed=897, rejected=1, optins=3, optouts=4)
    )
    assert run_windows.pending(state, run_id) == [rest, SECOND]
    run = runs.get(state, run_id)
    assert (run.members_read, run.members_skipped, run.contacts_pushed, run.contacts_rejected) == (900, 2, 897, 1)
    assert (run.opt_ins, run.opt_outs, run.windows_total, run.members_total) == (3, 4, 2, 40)
    runs.record(state, run_id, Outcome(rest, members=10, pushed=10))
    assert run_windows.pending(state, run_id) == [SECOND]
    first = run_windows.of_run(state, run_id)[0]
    assert (first.status, first.through, first.members, first.attempts) == ("done", FIRST.until, 910, 2)
    assert run_windows.count_done(run_windows.of_run(state, run_id)) == 1


def test_a_suspicion_is_not_remembered_but_nothing_is_taken_for_read_by_it(state: State, row: ListRow) -> None:
    """A window whose page could not be read stays where it was: whoever resumes it begins there."""
    run_id = begin(state, row)
    runs.record(state, run_id, Outcome(FIRST, replace(FIRST, suspect_count=500)))
    assert run_windows.pending(state, run_id) == [FIRST, SECOND]


def test_a_window_is_dead_when_any_span_of_it_is(state: State, row: ListRow) -> None:
    """Also when the rest of it went through; a member who was refused does not make it so."""
    run_id = begin(state, row)
    rest = replace(FIRST, through=T - 80)
    runs.record(state, run_id, Outcome(FIRST, rest, letters=(span_letter(),), failed=True))
    runs.record(state, run_id, Outcome(rest, members=5, pushed=5))
    runs.record(state, run_id, Outcome(SECOND, letters=(refusal("c1"),), rejected=1))
    assert [one.status for one in run_windows.of_run(state, run_id)] == ["dead", "done"]
    assert run_windows.of_run(state, run_id)[0].error == "Mailchimp answered 500"
    assert runs.get(state, run_id).windows_dead == 1


@pytest.mark.parametrize(("status", "moves", "point"), [("completed", True, T), ("completed", False, None)])
def test_a_completed_run_moves_the_sync_point_if_it_is_one_that_may(
    state: State,
    row: ListRow,
    status: str,
    moves: bool,  # noqa: FBT001 - a column of the table
    point: int | None,
) -> None:
    """To its `until`; a run that began after the sync point would leave a gap."""
    run = runs.finish(state, begin(state, row, moves=moves), "completed")
    assert (run.status, run.finished_at is not None) == (status, True)
    assert lists.by_id(state, row.id).sync_point == point
    assert runs.unfinished(state, row.id) is None


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_a_run_that_did_not_complete_is_found_again_and_the_sync_point_stays(
    state: State, row: ListRow, status: str
) -> None:
    """Interrupted, failed, or left as running by a process that was killed."""
    run_id = begin(state, row)
    if status == "interrupted":
        runs.finish(state, run_id, "interrupted")
    elif status == "failed":
        runs.finish(state, run_id, "failed", "10 pages in a row failed")
    runs.mark_interrupted(state, row.id)
    unfinished = runs.unfinished(state, row.id)
    assert unfinished is not None
    assert (unfinished.id, unfinished.status) == (run_id, "interrupted" if status == "running" else status)
    assert lists.by_id(state, row.id).sync_point is None
    runs.reopen(state, run_id)
    assert run_windows.pending(state, run_id) == [FIRST, SECOND]
    reopened = runs.get(state, run_id)
    assert (reopened.status, reopened.error, reopened.finished_at) == ("running", None, None)
    runs.finish(state, run_id, "completed")
    assert lists.by_id(state, row.id).sync_point == T


def test_a_run_without_a_plan_an_abandoned_one_and_a_replay_are_not_resumed(state: State, row: ListRow) -> None:
    """There is nothing in them that another run does not do anyway, or that letters do not remember."""
    runs.begin(state, row, "incremental", T, moves_sync_point=True)
    replay(state, row, FIRST)
    given_up = runs.get(state, begin(state, row))
    another = runs.begin(state, row, "full", None, moves_sync_point=True)
    runs.plan(state, another, T, 0, [], instead_of=given_up)
    runs.finish(state, another, "completed")
    assert runs.get(state, given_up.id).status == "abandoned"
    runs.mark_interrupted(state, row.id)
    assert runs.unfinished(state, row.id) is None


def test_another_lists_runs_are_none_of_this_lists_business(state: State, row: ListRow) -> None:
    """Neither to resume, nor to sweep up, nor to list."""
    other = destinations.get_or_create(state, Destination("acme", "2b3e8fc093", "mailchimp", row.destination))
    run_id = begin(state, other)
    runs.mark_interrupted(state, row.id)
    assert runs.unfinished(state, row.id) is None
    assert runs.get(state, run_id).status == "running"
    assert runs.latest(state, list_id=row.id) == []
    assert [run.id for run in runs.latest(state)] == [run_id]


# ---- letters


def test_there_is_one_open_letter_a_member_and_it_moves_to_the_newest_second(state: State, row: ListRow) -> None:
    """A new refusal counts as another attempt of the same letter."""
    opened_by(state, row, refusal("c1", T - 85))
    run_id = begin(state, row)
    runs.record(state, run_id, Outcome(FIRST, letters=(refusal("c1", T - 60, "Ometria answered 413"), refusal("c2"))))
    first, second = dead_letters.open_for_list(state, row.id)
    assert (first.member_id, first.since, first.until) == ("c1", T - 61, T - 60)
    assert (first.attempts, first.reason, first.run_id) == (2, "Ometria answered 413", run_id)
    assert (second.member_id, second.attempts) == ("c2", 1)
    assert len(dead_letters.open_from_run(state, run_id)) == dead_letters.count_open(state, row.id) == 2
    assert dead_letters.members_with_open(state, row.id) == {"c1", "c2"}


def test_members_without_any_id_have_a_letter_for_each_second(state: State, row: ListRow) -> None:
    """They cannot be told apart otherwise; one without a time has one for all."""
    opened_by(state, row, refusal(None, T - 85), refusal(None, T - 84), refusal(None, T - 84), refusal(None, None))
    opened_by(state, row, refusal(None, None))
    assert [(one.until, one.attempts) for one in dead_letters.open_for_list(state, row.id)] == [
        (T - 85, 1),
        (T - 84, 2),
        (None, 2),
    ]
    assert dead_letters.members_with_open(state, row.id) == frozenset()


def test_a_later_success_closes_the_letter_of_that_member_alone(state: State, row: ListRow) -> None:
    """Delivered in any run of the list; a refusal after that opens a new letter."""
    opened_by(state, row, refusal("c1"), refusal("c2"))
    run_id = begin(state, row)
    runs.record(state, run_id, Outcome(FIRST, delivered=("c1",)))
    assert [one.member_id for one in dead_letters.open_for_list(state, row.id)] == ["c2"]
    runs.record(state, run_id, Outcome(SECOND, letters=(refusal("c1"),)))
    assert [(one.member_id, one.attempts) for one in dead_letters.open_for_list(state, row.id)] == [
        ("c2", 1),
        ("c1", 1),
    ]


def test_a_replayed_span_closes_its_letter_when_all_of_it_went_through(state: State, row: ListRow) -> None:
    """Not before the last page of it; the letter keeps how often it was tried."""
    (letter,) = opened_by(state, row, span_letter())
    window = Window(0, "listed", letter.since, T - 80, letter_id=letter.id)
    run_id = replay(state, row, window)
    rest = replace(window, through=T - 85)
    runs.record(state, run_id, Outcome(window, rest, members=3, pushed=3))
    assert only_letter(state).status == "open"
    runs.record(state, run_id, Outcome(rest, members=3, pushed=3))
    assert only_letter(state).status == "replayed"


def test_a_replay_that_fails_whole_leaves_the_letter_open_with_its_attempts_counted(state: State, row: ListRow) -> None:
    """No second letter for the same span."""
    (letter,) = opened_by(state, row, span_letter())
    window = Window(0, "listed", letter.since, T - 80, letter_id=letter.id)
    for attempts in (2, 3):
        run_id = replay(state, row, window)
        runs.record(state, run_id, Outcome(window, letters=(span_letter(),), failed=True))
        runs.finish(state, run_id, "completed")
        assert (only_letter(state).status, only_letter(state).attempts) == ("open", attempts)
        assert len(dead_letters.open_from_run(state, run_id)) == 1


def test_a_replay_that_narrows_a_span_keeps_its_number_for_the_first_part(state: State, row: ListRow) -> None:
    """What went through is no longer in any letter; each part that did not has one, all with the attempts counted."""
    (letter,) = opened_by(state, row, span_letter())
    window = Window(0, "listed", letter.since, T - 80, letter_id=letter.id)
    run_id = replay(state, row, window)
    rest = replace(window, through=T - 88)
    runs.record(state, run_id, Outcome(window, rest, letters=(span_letter(T - 89, T - 88),), failed=True))
    last = replace(rest, through=T - 84)
    runs.record(state, run_id, Outcome(rest, last, letters=(span_letter(T - 85, T - 84),), failed=True))
    runs.record(state, run_id, Outcome(last, members=4, pushed=4))
    spans = [(one.since, one.until, one.attempts) for one in dead_letters.open_for_list(state, row.id)]
    assert spans == [(T - 89, T - 88, 2), (T - 85, T - 84, 2)]
    assert dead_letters.open_for_list(state, row.id)[0].id == letter.id
    assert len(dead_letters.open_from_run(state, run_id)) == 2


def test_a_replay_that_is_cut_off_leaves_its_letter_open(state: State, row: ListRow) -> None:
    """Whatever it had found so far: the whole span is still on record."""
    (letter,) = opened_by(state, row, span_letter())
    window = Window(0, "listed", letter.since, T - 80, letter_id=letter.id)
    run_id = replay(state, row, window)
    runs.record(state, run_id, Outcome(window, replace(window, through=T - 88), letters=(span_letter(T - 89, T - 88),)))
    runs.mark_interrupted(state, row.id)
    found = dead_letters.find(state, letter.id)
    assert found is not None
    assert (found.status, found.since, found.until) == ("open", T - 90, T - 80)


def looked_for(state: State, row: ListRow) -> tuple[int, Window]:
    """A replay of the letter of c1, who alone is looked for."""
    (letter,) = opened_by(state, row, refusal("c1"))
    window = Window(0, "listed", letter.since, T - 85, letter_id=letter.id, member_id="c1")
    return replay(state, row, window), window


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome(FIRST, gone=True), "gone"),
        (Outcome(FIRST, delivered=("c1",), pushed=1), "replayed"),
        (Outcome(FIRST, letters=(refusal("c1"),), rejected=1), "open"),
        (Outcome(FIRST, letters=(span_letter(T - 86, T - 85),), failed=True), "open"),
    ],
    ids=["not there any more", "taken now", "refused again", "could not be read"],
)
def test_a_members_letter_ends_as_the_replay_of_it_did(
    state: State, row: ListRow, outcome: Outcome, status: str
) -> None:
    """Gone, delivered, refused again, not read: one letter in each case, with the attempt counted where it failed."""
    run_id, window = looked_for(state, row)
    runs.record(state, run_id, replace(outcome, window=window))
    letter = only_letter(state)
    assert letter.status == status
    assert letter.attempts == (2 if status == "open" else 1)
    assert letter.kind == "contact"


def test_a_letter_that_is_closed_stays_closed(state: State, row: ListRow) -> None:
    """A replay that ends after its letter was discarded does not open it again."""
    run_id, window = looked_for(state, row)
    assert window.letter_id is not None
    dead_letters.close(state, "discarded", [window.letter_id])
    runs.record(state, run_id, Outcome(window, letters=(span_letter(T - 86, T - 85),), failed=True))
    assert only_letter(state).status == "discarded"


def taken_along(state: State, row: ListRow, *, pushed: int, fails: bool = True) -> Run:
    """A sync that takes the open span along, while so many others get through."""
    (letter,) = dead_letters.due_for_retry(state, row.id)
    assert letter.until is not None
    along = Window(1, "listed", letter.since, letter.until, letter_id=letter.id)
    run_id = begin(state, row, FIRST, along)
    runs.record(state, run_id, Outcome(FIRST, members=pushed, pushed=pushed))
    failed = (span_letter(letter.since, letter.until),) if fails else ()
    runs.record(state, run_id, Outcome(along, letters=failed, failed=fails))
    return runs.finish(state, run_id, "completed")


def test_an_outage_is_taken_along_ten_times_in_which_others_got_through(state: State, row: ListRow) -> None:
    """While nothing at all gets through, as in an outage, no try is used up; after ten real ones a person must look."""
    opened_by(state, row, span_letter())
    for _ in range(12):
        taken_along(state, row, pushed=0)
    for _ in range(dead_letters.MAX_FAILED_RETRIES):
        assert len(dead_letters.due_for_retry(state, row.id)) == 1
        taken_along(state, row, pushed=5)
    assert dead_letters.MAX_FAILED_RETRIES == 10
    assert dead_letters.due_for_retry(state, row.id) == []
    assert only_letter(state).status == "open"
    assert only_letter(state).attempts == 23


def test_a_letter_that_was_taken_along_and_got_through_is_closed(state: State, row: ListRow) -> None:
    """An outage heals itself."""
    opened_by(state, row, span_letter())
    taken_along(state, row, pushed=5, fails=False)
    assert only_letter(state).status == "replayed"
    assert dead_letters.due_for_retry(state, row.id) == []


def test_refusals_members_and_other_lists_are_not_taken_along(state: State, row: ListRow) -> None:
    """Only spans, only of this list, and only where the way there was the cause."""
    other = destinations.get_or_create(state, Destination("acme", "2b3e8fc093", "mailchimp", row.destination))
    opened_by(state, other, span_letter())
    opened_by(state, row, refusal("c1"), replace(span_letter(), cause="refusal"))
    assert dead_letters.due_for_retry(state, row.id) == []
    assert dead_letters.count_open(state, row.id) == 2


def test_a_full_run_closes_older_spans_of_its_list_and_no_members(state: State, row: ListRow) -> None:
    """It has read everything anew up to its `until`; what lies beyond that, it has not."""
    other = destinations.get_or_create(state, Destination("acme", "2b3e8fc093", "mailchimp", row.destination))
    opened_by(state, other, span_letter())
    opened_by(state, row, span_letter(), refusal("c1"), span_letter(T - 5, T + 5))
    run_id = begin(state, row, kind="full")
    runs.finish(state, run_id, "completed")
    assert [(one.kind, one.until) for one in dead_letters.open_for_list(state, row.id)] == [
        ("contact", T - 85),
        ("window", T + 5),
    ]
    assert dead_letters.count_open(state, other.id) == 1


@pytest.mark.parametrize("narrows", [False, True])
def test_a_full_run_never_closes_a_span_that_it_could_not_read_itself(
    state: State,
    row: ListRow,
    narrows: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Not even when the span was replayed, in vain, between the run's interruption and its end."""
    run_id = begin(state, row, kind="full")
    runs.record(state, run_id, Outcome(FIRST, letters=(span_letter(),), failed=True))
    runs.finish(state, run_id, "interrupted")
    (letter,) = dead_letters.open_for_list(state, row.id)
    window = Window(0, "listed", letter.since, T - 80, letter_id=letter.id)
    again = replay(state, row, window)
    parts = (span_letter(T - 89, T - 88), span_letter(T - 85, T - 84)) if narrows else (span_letter(),)
    runs.record(state, again, Outcome(window, letters=parts, failed=True))
    runs.finish(state, again, "completed")
    runs.reopen(state, run_id)
    runs.record(state, run_id, Outcome(SECOND))
    runs.finish(state, run_id, "completed")
    assert dead_letters.count_open(state, row.id) == len(parts)


def test_discarding_closes_what_is_open_and_nothing_else(state: State, row: ListRow) -> None:
    """A letter that was replayed stays replayed."""
    first, second = opened_by(state, row, refusal("c1"), refusal("c2"))
    run_id = begin(state, row)
    runs.record(state, run_id, Outcome(FIRST, delivered=("c1",)))
    dead_letters.close(state, "discarded", [first.id, second.id])
    assert [one.status for one in dead_letters.search(state, status=None)] == ["replayed", "discarded"]
    assert dead_letters.search(state) == []


def test_an_upgrade_waits_for_whoever_is_writing_to_the_old_file(tmp_path: Path) -> None:
    """The former version may be in the middle of a sync: the new one waits as long as for any other transaction."""
    path, former = tmp_path / "old.db", min((Path(__file__).parents[1] / "state_files").glob("*.sql"))
    opened: list[State] = []

    def open_and_close() -> None:
        with open_state(path) as state:
            opened.append(state)

    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(former.read_text(encoding="utf-8"))
        old.execute("BEGIN IMMEDIATE")
        opener = threading.Thread(target=open_and_close)
        opener.start()
        while not path.with_name("old.db.migrating").exists():
            assert opener.is_alive()
        for _ in range(2_000):  # long enough for one that would not wait to have failed
            old.execute("SELECT count(*) FROM runs").fetchall()
        old.execute("COMMIT")
        opener.join()
    assert len(opened) == 1
