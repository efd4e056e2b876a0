"""One process at a time works on a client, and the lock dies with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from conftest import Importer, MakeImporter

from mcimport.errors import BusyError, McimportError, StateError
from mcimport.state import lock_client, open_state

HOLDER = """
import sys, time
from pathlib import Path
from mcimport.state import lock_client

with lock_client(Path(sys.argv[1]), "acme"):
    print("held", flush=True)
    sys.stdin.read()
"""


def lock_holder(db: Path) -> subprocess.Popen[str]:
    """A process of its own that holds acme's lock until its input ends; returns once it does."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_whoever_finds_the_lock_taken_learns_by_whom_and_since_when(tmp_path: Path) -> None:
    """The process and a time in UTC; nothing else."""
    with (
        lock_holder(tmp_path / "s.db") as child,
        pytest.raises(BusyError) as busy,
        lock_client(tmp_path / "s.db", "acme"),
    ):
        pass
    assert child.returncode == 0
    found = re.search(r"process (\d+), since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", str(busy.value))
    assert found is not None
    assert int(found[1]) == child.pid
    assert str(busy.value).startswith("acme: ")


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    """After a SIGKILL the very next process gets it, whatever is written in the file."""
    with lock_holder(tmp_path / "s.db") as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        with lock_client(tmp_path / "s.db", "acme"):
            assert str(os.getpid()) in (tmp_path / "s.db.acme.lock").read_text(encoding="ascii")
    assert child.returncode == -signal.SIGKILL


def test_the_lock_is_free_again_afterwards_also_when_the_work_failed(tmp_path: Path) -> None:
    """It can be taken as often as one likes; the error of the work comes through as it was."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock_client(tmp_path / "s.db", "acme"):
            raise ZeroDivisionError
    with lock_client(tmp_path / "s.db", "acme"):
        pass


def test_clients_and_state_files_do_not_lock_each_other(tmp_path: Path) -> None:
    """The lock belongs to one client of one state file."""
    with (
        lock_client(tmp_path / "s.db", "acme"),
        lock_client(tmp_path / "s.db", "other"),
        lock_client(tmp_path / "t.db", "acme"),
    ):
        pass


def test_two_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    """The lock is nobody's by being in the same process."""
    failed: list[McimportError] = []

    def second() -> None:
        try:
            with lock_client(tmp_path / "s.db", "acme"):
                pass
        except BusyError as error:
            failed.append(error)

    with lock_client(tmp_path / "s.db", "acme"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert [type(error) for error in failed] == [BusyError]


def test_the_same_thread_cannot_take_it_twice_either(tmp_path: Path) -> None:
    """A library call inside another one is busy, not a crash and not a second writer."""
    with lock_client(tmp_path / "s.db", "acme"), pytest.raises(BusyError), lock_client(tmp_path / "s.db", "acme"):
        pass


def test_the_lock_file_stands_beside_the_state_file_for_its_owner_alone(tmp_path: Path) -> None:
    """Its folder is made as needed, and neither can be read by others."""
    db = tmp_path / "new" / "folder" / "s.db"
    with lock_client(db, "acme"):
        lock = db.with_name("s.db.acme.lock")
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        assert stat.S_IMODE(db.parent.stat().st_mode) == 0o700
    assert not db.exists()


# ---- locks that cannot be had


UNPRIVILEGED = """
import contextlib, os, sys
from mcimport.cli import app
config, rehearsal, db = sys.argv[1:]

def run(db, *command):
    sys.argv = ["mcimport", "--config", config, "--db", db, *command]
    try:
        app.main()
    except SystemExit as left:
        return left.code

COMMANDS = (["check", "--offline"], ["status"], ["sync"])
with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
    for command in COMMANDS:
        run(rehearsal, *command)  # loads what is loaded late: whoever has no rights may not be able to read it later
if os.getuid() == 0:
    os.setuid(65534)
for command in COMMANDS:
    print("exit", run(db, *command), flush=True)
"""


def by_another_user(importer: Importer, db: Path) -> str:
    """What `check`, `status` and `sync` say to somebody to whom the state file belongs, but nothing beside it."""
    config = db.with_name("mcimport.toml")
    config.write_bytes(importer.config.read_bytes())
    command = [sys.executable, "-c", UNPRIVILEGED, str(config), str(importer.folder / "rehearsal.db"), str(db)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


def test_locks_that_another_user_left_are_named_by_check_and_sync(make_importer: MakeImporter) -> None:
    """Root tried it once: both say who has to be made the owner, and of nobody that they are at work on the client."""
    importer = make_importer(size=10)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        db = Path(folder) / "state.db"
        assert importer("--db", str(db), "sync").code == 0
        lock = db.with_name("state.db.acme.lock")
        if os.getuid() == 0:
            os.chown(db, 65534, 65534)
        else:  # nobody else is to be had: a file that its owner may not open has to do
            lock.chmod(0)
        said = by_another_user(importer, db)
    mend = f"`chown nobody {db}*` as root" if os.getuid() == 0 else f"`chmod 600 {lock}`"
    assert [line for line in said.splitlines() if line.startswith("exit")] == ["exit 1", "exit 0", "exit 1"]
    assert f"acme: lock: the lock file {lock} " in said
    assert said.count(mend) == (3 if os.getuid() == 0 else 2)  # root's are the locks of the client and of the file
    assert "another mcimport" not in said


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_an_error_in_words(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Of `check`, too: a mere file in place of a lock would outlive whoever made it."""
    importer = make_importer(size=10)
    importer("sync")

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    result = importer("sync")
    assert (result.code, f"does not support locks: {os.strerror(number)}" in result.err) == (1, True)
    assert "--db" in result.err
    checked = importer("check", "--offline")
    assert (checked.code, f"does not support locks: {os.strerror(number)}" in checked.out) == (1, True)
    assert sorted(path.name for path in importer.folder.iterdir() if path.name.startswith(".")) == []


def test_status_takes_no_run_for_interrupted_whose_lock_it_cannot_look_at(make_importer: MakeImporter) -> None:
    """Another user's process may be at work on it."""
    importer = make_importer(size=10)
    importer("sync")
    with open_state(importer.db) as state, state.transaction():
        state.write("UPDATE runs SET status = 'running', finished_at = NULL")
    assert importer("status", "--json").line["last_run_status"] == "interrupted"
    lock = importer.db.with_name("state.db.acme.lock")
    lock.unlink()
    lock.mkdir()
    assert importer("status", "--json").line["last_run_status"] == "running"


def test_a_lock_that_cannot_be_made_is_an_error_of_the_state_file(tmp_path: Path) -> None:
    """A file where the folder should be: said in words, not a traceback."""
    (tmp_path / "file").write_text("", encoding="ascii")
    with pytest.raises(StateError, match="lock"), lock_client(tmp_path / "file" / "s.db", "acme"):
        pass


@pytest.mark.parametrize("left", [b"", b"\xff\xfe\x00", b"process 1 since ever\n" * 3])
def test_what_is_left_in_the_lock_file_matters_to_nobody(tmp_path: Path, left: bytes) -> None:
    """Empty, damaged or stale: whoever holds the lock writes it anew."""
    path = tmp_path / "s.db.acme.lock"
    path.write_bytes(left)
    with lock_client(tmp_path / "s.db", "acme"):
        assert path.read_text(encoding="ascii").count("\n") == 1
        path.write_bytes(left)
        with pytest.raises(BusyError, match="acme"), lock_client(tmp_path / "s.db", "acme"):
            pass
