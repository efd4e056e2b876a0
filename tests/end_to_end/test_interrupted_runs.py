"""Killed, stopped, hung: what was recorded is not repeated, what was not is done next time."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.sandbox.request_log import Request

SMALL_PAGES = CONFIG + "mailchimp.window = 60\nometria.batch = 15\n"
PAGE, WORKERS = 60, 10

# A server that hangs must not make a test wait for the 25 seconds that pages in flight have.
HASTY = (
    "import sys; from mcimport.services.http import shutdown; shutdown.LEAVE_WITHIN = 0.5; "
    "from mcimport.cli.app import main; main()"
)
# One that pages in flight would keep for ten minutes: only a second signal ends it before.
PATIENT = HASTY.replace("0.5", "600.0")


def run_and_signal(
    importer: Importer, command: list[str], number: int, when: Callable[[Request], bool]
) -> CommandResult:
    """Runs a command in a process of its own and sends it a signal at the first request of which `when` says so."""
    child: list[subprocess.Popen[str]] = []

    def send_signal(request: Request) -> None:
        if child and when(request):
            os.kill(child[0].pid, number)
            child.clear()

    importer.sandbox.settings.fault = send_signal
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.append(process)
    out, err = process.communicate(timeout=90)
    importer.sandbox.settings.fault = None
    return CommandResult(process.returncode, out, err)


def nth(path: str, number: int) -> Callable[[Request], bool]:
    return lambda request: request.path.endswith(path) and request.nth >= number


def remembered(importer: Importer, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(importer.db)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "number"),
    [("/members", 0), ("/members", 3), ("/interests", 0), ("/push", 0), ("/push", 9), ("/push", 30), ("/push", 55)],
    ids=["first page", "cuts", "fields", "first push", "few pushes", "half-way", "nearly done"],
)
def test_a_killed_run_is_finished_by_the_next_sync(make_importer: MakeImporter, path: str, number: int) -> None:
    """SIGKILL at any moment: the next sync brings everybody, repeats a page a worker at most, and then what changed."""
    importer = make_importer(size=900)
    importer.configure(SMALL_PAGES)
    killed = run_and_signal(importer, importer.command("sync"), signal.SIGKILL, nth(path, number))
    assert killed.code == -signal.SIGKILL
    said = [line["last_run_status"] for line in importer("status", "--json").lines]
    assert "running" not in [*said, *(line["status"] for line in importer("runs", "list", "--json").lines)]
    recorded = remembered(importer, "SELECT coalesce(sum(contacts_pushed), 0) FROM runs")[0][0]
    sync_points = remembered(importer, "SELECT sync_point FROM lists WHERE sync_point IS NOT NULL")
    assert sync_points == []
    people = {str(one.get("contact_id") or one["web_id"]): one for one in importer.sandbox.audience().change(5)}
    changed = {one for one, person in people.items() if person["email_address"] and person["merge_fields"]["LNAME"]}
    time_passes(5)  # who changes in a run's last seconds before it begins comes with the next one
    result = importer("sync", "--json")
    assert result.code == 0, result.err
    assert imported_ids(importer) == expected_ids(importer)
    contacts = {key[1].split("-", 1)[1]: contact for key, contact in importer.sandbox.contacts().items()}
    assert all(contacts[one]["lastname"] == people[one]["merge_fields"]["LNAME"] for one in changed)
    if recorded:
        # The first run was resumed: what it had recorded before it was killed was not pushed again.
        of_first, of_second = (row[0] for row in remembered(importer, "SELECT contacts_pushed FROM runs ORDER BY id"))
        assert len(expected_ids(importer)) - len(changed) <= of_first <= len(expected_ids(importer))
        assert len(changed) <= of_second <= len(changed) + 5


def test_what_a_killed_run_had_pushed_but_not_recorded_is_a_page_a_worker_at_most(make_importer: MakeImporter) -> None:
    """Only pages in flight are pushed twice."""
    importer = make_importer(size=900)
    importer.configure(SMALL_PAGES)
    run_and_signal(importer, importer.command("sync"), signal.SIGKILL, nth("/push", 30))
    recorded = remembered(importer, "SELECT sum(contacts_pushed) FROM runs")[0][0]
    assert len(imported_ids(importer)) - recorded <= WORKERS * PAGE
    importer("sync")
    pushed = [one_id for one in importer.sandbox.requests for one_id in one.ids]
    assert len(pushed) - len(expected_ids(importer)) <= WORKERS * PAGE


def test_killed_between_the_two_first_pages_nobody_is_lost(make_importer: MakeImporter) -> None:
    """An incremental run that dies before its archived sweep was asked for leaves nothing half-planned."""
    importer = make_importer(size=1_000)
    importer("sync")
    importer.sandbox.audience().archive(6)
    importer.sandbox.audience().change(6)
    killed = run_and_signal(
        importer, importer.command("sync"), signal.SIGKILL, lambda one: one.query.get("status") == "archived"
    )
    assert killed.code == -signal.SIGKILL
    assert importer("sync").code == 0
    assert_consents_agree(importer)


def test_archived_between_the_kill_and_a_full_sync_is_opted_out(make_importer: MakeImporter) -> None:
    """Whom a killed first run had opted in, and who was archived before the `--full` after it, is opted out."""
    importer = make_importer(size=1_000)
    importer.configure(SMALL_PAGES)
    run_and_signal(importer, importer.command("sync"), signal.SIGKILL, nth("/push", 8))
    there = [key[1].split("-", 1)[1] for key in importer.sandbox.contacts()]
    people = {str(one.get("contact_id") or one["web_id"]): one for one in importer.sandbox.audience().listed()}
    importer.sandbox.audience().archive(who=[people[one] for one in there[:9]])
    assert importer("sync", "--full").code == 0
    assert_consents_agree(importer)
    assert [one["status"] for one in importer("runs", "list", "--json").lines] == ["completed", "abandoned"]


def assert_consents_agree(importer: Importer) -> None:
    """Nobody in Ometria is opted in who is not subscribed today, and everybody listed is there."""
    members = {str(one.get("contact_id") or one["web_id"]): one for one in importer.sandbox.audience().members}
    for (_, contact_id), contact in importer.sandbox.contacts().items():
        if contact["marketing_optin"] == "EXPLICITLY_OPTEDIN":
            assert members[contact_id.split("-", 1)[1]]["status"] == "subscribed"
    assert expected_ids(importer) <= imported_ids(importer)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_stopped_run_is_interrupted_and_the_next_one_goes_on(
    make_importer: MakeImporter, number: int, code: int
) -> None:
    """Pages in flight are finished and recorded; the exit code names the signal; the rest is the next run's."""
    importer = make_importer(size=4_000, latency=0.05)
    importer.configure(SMALL_PAGES)
    result = run_and_signal(importer, importer.command("sync", "--json"), number, nth("/push", 12))
    assert result.code == code, result.err
    assert result.line["status"] == "interrupted"
    assert len(imported_ids(importer)) == result.line["contacts_pushed"] < len(expected_ids(importer))
    importer.sandbox.clear_requests()
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_stop_wakes_a_retry_that_waits(make_importer: MakeImporter) -> None:
    """A run that waits ten minutes before its next try leaves when it is told to."""
    importer = make_importer(size=500)
    importer.configure(CONFIG.replace("wait = 0", "wait = 600"))
    child = subprocess.Popen(importer.command("sync"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def fail_and_strike(request: Request) -> str | None:
        if request.path.endswith("/push"):
            os.kill(child.pid, signal.SIGTERM)
            return "500"
        return None

    importer.sandbox.settings.fault = fail_and_strike
    _, err = child.communicate(timeout=60)
    assert child.returncode == 143, err


@pytest.mark.parametrize("side", ["mailchimp", "ometria"])
def test_a_server_that_hangs_does_not_keep_a_stopped_process(make_importer: MakeImporter, side: str) -> None:
    """After the time that pages in flight have, the process leaves though the server says nothing for ten minutes."""
    importer = make_importer(size=900, silence=600.0)
    importer.configure(SMALL_PAGES)
    path = "/members" if side == "mailchimp" else "/push"
    child = subprocess.Popen(
        [sys.executable, "-c", HASTY, *importer.command("sync")[3:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def hang_and_strike(request: Request) -> str | None:
        if request.path.endswith(path) and request.nth >= 20:
            os.kill(child.pid, signal.SIGTERM)
            return "silent"
        return None

    importer.sandbox.settings.fault = hang_and_strike
    _, err = child.communicate(timeout=60)
    assert child.returncode == 143, err
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_second_ctrl_c_stops_now_and_loses_nothing(make_importer: MakeImporter) -> None:
    """Two signals while the server hangs: out at once, and the next run brings everybody."""
    importer = make_importer(size=900, silence=600.0)
    importer.configure(SMALL_PAGES)
    child = subprocess.Popen(
        [sys.executable, "-c", PATIENT, *importer.command("sync")[3:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    hangs = threading.Event()

    def hang(request: Request) -> str | None:
        if request.path.endswith("/push") and request.nth >= 10:
            hangs.set()
            return "silent"
        return None

    importer.sandbox.settings.fault = hang
    assert hangs.wait(60), "no push was sent"
    err = strike_until_it_leaves(child)
    assert child.returncode == 130, err
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def strike_until_it_leaves(child: subprocess.Popen[str]) -> str:
    """Sends SIGINT again and again, since two that follow at once may reach a process as one; returns its errors."""
    for _ in range(120):
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=0.5)[1]
    child.kill()
    return child.communicate()[1]
