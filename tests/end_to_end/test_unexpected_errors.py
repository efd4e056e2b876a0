"""Whatever goes wrong in one client's work, or around it, ends nothing else; and no traceback reaches a user."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from conftest import Importer, MakeImporter, WebhookReceiver, configure_clients

# As a machine that gives so many threads, and no more.
FEW_THREADS = """\
import runpy, sys, threading
left, begin = int(sys.argv.pop(1)), threading.Thread.start
def start(thread):
    global left
    if not left:
        raise RuntimeError("can't start new thread")
    left -= 1
    begin(thread)
threading.Thread.start = start
sys.argv[0] = "mcimport"
runpy.run_module("mcimport", run_name="__main__")
"""


def with_threads(many: int, importer: Importer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FEW_THREADS, str(many), *importer.command(*arguments)[3:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def of_two_clients(make_importer: MakeImporter, receiver: WebhookReceiver, size: int) -> Importer:
    importer = make_importer()
    configure_clients(importer, ["one", "two"], size=size)
    told = f'[notify]\nhealthcheck_url = "{receiver.url}/check"\nwebhook_url = "{receiver.url}/hook"\n'
    metrics = f'[metrics]\ntextfile = "{importer.folder}/mcimport.prom"\n'
    importer.config.write_text(told + metrics + importer.config.read_text())
    return importer


def spoil(importer: Importer, sql: str) -> None:
    """As a disk, or somebody with an SQLite browser, may leave the state file."""
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute(sql)


@pytest.mark.parametrize("many", [0, 3, 8])
def test_without_threads_each_client_has_its_result_and_somebody_is_told(
    make_importer: MakeImporter, receiver: WebhookReceiver, many: int
) -> None:
    """A JSON line for each, health check and webhook, no run left as if it went on; with threads it all goes on."""
    importer = of_two_clients(make_importer, receiver, size=1_200)
    result = with_threads(many, importer, "sync", "--json")
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted((one["client"], one["status"]) for one in results) == [("one", "failed"), ("two", "failed")]
    assert {one["error"] for one in results} == {"this machine lets mcimport start no more threads"}
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert sorted(receiver.paths) == ["/check/fail", "/check/start", "/hook", "/hook"]
    assert {one["last_run_status"] for one in importer("status", "--json").lines} == {"failed"}
    assert importer("sync").code == 0


def test_lists_in_which_nothing_changed_need_no_threads(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """They are done one client after another."""
    importer = of_two_clients(make_importer, receiver, size=5)
    assert importer("sync").code == 0
    receiver.received.clear()
    result = with_threads(0, importer, "sync", "--json")
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["completed", "completed"]
    assert result.returncode == 0
    assert receiver.paths == ["/check/start", "/check"]


def test_a_check_without_threads_ends_in_words(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """It needs some, and says which limit shows how many there are."""
    result = with_threads(0, of_two_clients(make_importer, receiver, size=5), "check")
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert result.stderr.splitlines()[0] == "mcimport: this machine lets mcimport start no more threads"


def test_metrics_that_cannot_be_made_are_a_line(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """An odd row of one client: all lists are done and told, and the exit code is theirs."""
    importer = of_two_clients(make_importer, receiver, size=5)
    assert importer("sync").code == 0
    spoil(importer, "UPDATE lists SET reconciled = '[1]' WHERE client = 'one'")
    result = importer("sync", "--json")
    assert [one["status"] for one in result.lines] == ["completed", "completed"]
    assert result.code == 0
    assert "mcimport: unexpected error in mcimport: AttributeError, monitoring/metrics.py line " in result.err
    assert receiver.paths[-1] == "/check"


@pytest.mark.parametrize(("command", "column"), [("status", "reconciled"), ("runs list", "started_at")])
def test_a_command_that_looks_at_odd_rows_ends_in_words(
    make_importer: MakeImporter, receiver: WebhookReceiver, command: str, column: str
) -> None:
    """Exit 1, the place in the code for a report, and nothing of what stands in the rows."""
    importer = of_two_clients(make_importer, receiver, size=5)
    assert importer("sync").code == 0
    table = "lists" if column == "reconciled" else "runs"
    spoil(importer, f"UPDATE {table} SET {column} = 'ann@example.com'")  # noqa: S608 - from above
    result = importer(*command.split())
    assert result.code == 1
    assert result.err.startswith("mcimport: unexpected error in mcimport: ")
    assert "ann@example.com" not in result.err
