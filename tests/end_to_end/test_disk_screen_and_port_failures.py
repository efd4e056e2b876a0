"""What surrounds the program fails it: its disk, its screen, its port. Said in words, and nothing is lost."""

from __future__ import annotations

import os
import re
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids

from mcimport.state import database

SMALL_PAGES = CONFIG + "mailchimp.window = 20\n"


def in_words(code: int, err: str) -> None:
    """One error and what to do about it, for a person."""
    assert code == 1
    assert "Traceback" not in err
    assert "state file" in err


def nothing_is_half_done(importer: Importer) -> None:
    """What is marked as read was taken by Ometria; the next sync brings the rest."""
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert importer("dlq", "list", "--json").lines == []


@pytest.mark.parametrize("room", [110_000, 150_000])
def test_a_disk_that_fills_up_while_a_list_is_synced_ends_it_with_1(make_importer: MakeImporter, room: int) -> None:
    """The state file cannot grow any more in the middle of a run: exit 1 in words; with room again, everybody comes."""
    importer = make_importer(size=1_200)
    importer.configure(SMALL_PAGES)
    importer("status")
    result = subprocess.run(
        importer.command("sync"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY)),
    )
    in_words(result.returncode, result.stderr)
    assert len(imported_ids(importer)) < len(expected_ids(importer))
    nothing_is_half_done(importer)


def test_a_state_file_that_another_program_locks_ends_a_sync_with_1(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that somebody left open in the state file: exit 1 in words, before anything is pushed."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    importer = make_importer(size=300)
    importer("sync")
    importer.sandbox.audience().change(30)
    importer.sandbox.clear_requests()
    with closing(sqlite3.connect(importer.db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = importer("sync")
        other.execute("ROLLBACK")
    in_words(result.code, result.err)
    assert "locked by another program" in result.err
    assert [one for one in importer.sandbox.requests if one.service == "ometria"] == []
    nothing_is_half_done(importer)


UNPRIVILEGED = """
import contextlib, os, sys
from mcimport.cli import app
config, rehearsal, db = sys.argv[1:]
sys.argv = ["mcimport", "--config", config, "--db", rehearsal, "sync", "--dry-run", "--quiet"]
with contextlib.suppress(SystemExit):
    app.main()  # loads whatever is loaded late: whoever has no rights may not be able to read it afterwards
if os.getuid() == 0:  # to whom every file is writable
    os.setuid(65534)
sys.argv = ["mcimport", "--config", config, "--db", db, "sync"]
app.main()
"""


def test_a_state_file_that_is_read_only_ends_a_sync_with_1(make_importer: MakeImporter) -> None:
    """Exit 1 in words, before anything is pushed, and the file stays as it was."""
    importer = make_importer(size=300)
    importer("sync")
    importer.sandbox.audience().change(30)
    importer.sandbox.clear_requests()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # somebody without rights must be able to look
        db, config = Path(folder) / "state.db", Path(folder) / "mcimport.toml"
        db.write_bytes(importer.db.read_bytes())
        config.write_bytes(importer.config.read_bytes())
        config.chmod(0o644)
        db.chmod(0o444)
        (Path(folder) / "state.db.acme.lock").touch()
        (Path(folder) / "state.db.acme.lock").chmod(0o666)
        Path(folder).chmod(0o555)
        result = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(config), str(importer.folder / "rehearsal.db"), str(db)],
            capture_output=True,
            text=True,
            check=False,
        )
        unchanged = db.read_bytes() == importer.db.read_bytes()
        Path(folder).chmod(0o755)  # so that it can be removed
    in_words(result.returncode, result.stderr)
    assert "cannot be written" in result.stderr
    assert unchanged
    assert [one for one in importer.sandbox.requests if one.service == "ometria"] == []
    nothing_is_half_done(importer)


@pytest.mark.parametrize("screen", ["full", "gone", "closed"])
def test_a_screen_that_takes_no_words_does_not_stop_a_sync(make_importer: MakeImporter, screen: str) -> None:
    """A log on a full disk, a reader that has left, a stream that was closed: all lists are synced all the same."""
    importer = make_importer(size=300)
    reader, gone = os.pipe()
    os.close(reader)
    command = importer.command("sync")
    with open("/dev/full", "wb") as full, os.fdopen(gone, "wb") as pipe:  # noqa: PTH123 - a device, not a path of ours
        if screen == "closed":
            result = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], check=False)  # noqa: S607 - any shell
        else:
            result = subprocess.run(command, stdout=full, stderr=full if screen == "full" else pipe, check=False)
    assert result.returncode == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert importer("status", "--json").lines[0]["sync_point"]


def test_a_reader_of_results_that_has_seen_enough_is_no_error(make_importer: MakeImporter) -> None:
    """`mcimport preview LIST | head -1`: no word of a broken pipe, and no failure."""
    importer = make_importer(size=300)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        command = importer.command("preview", importer.sandbox.list_key, "--limit", "300")
        result = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_reader_of_results_that_has_left_does_not_hide_what_came_of_them(make_importer: MakeImporter) -> None:
    """The exit code is the run's, whoever listens."""
    importer = make_importer(size=300, broken=["100-101"])
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        result = subprocess.run(importer.command("sync", "--json"), stdout=gone, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 3


def test_a_port_that_is_taken_is_said_in_words(make_importer: MakeImporter) -> None:
    """The sandbox names the port and the option that names another."""
    importer = make_importer()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = importer.in_a_process("sandbox", "--port", str(port))
    assert result.code == 2
    assert f"port {port}" in result.err
    assert "--port" in result.err
    assert "Traceback" not in result.err


FEW_FILES = """\
import resource, sys
from mcimport.cli import app, read_state, run_command
files = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
app.main()
"""


@pytest.mark.parametrize("files", [3, 4, 5, 6])
def test_too_few_files_are_no_fault_of_the_output(make_importer: MakeImporter, files: int) -> None:
    """The words name this machine, for whoever looks at the disk of the log would look in vain."""
    importer = make_importer(size=5)
    command = [sys.executable, "-c", FEW_FILES, str(files), *importer.command("sync", "--json")[3:]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode in (1, 2)
    assert re.search("this machine|the operating system|the state file|mcimport.toml: cannot be read", result.stderr)
    assert "the output cannot be written" not in result.stderr
    assert "Traceback" not in result.stderr
