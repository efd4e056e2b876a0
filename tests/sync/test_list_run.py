"""One process at a time works on a client, and what is remembered belongs to one destination."""

from __future__ import annotations

import os

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.state import lock_client


@pytest.mark.parametrize("arguments", [["sync"], ["sync", "1a2d7ebf82"], ["sync", "--dry-run"]], ids=" ".join)
def test_a_plain_sync_that_finds_the_client_taken_says_by_whom_and_skips(
    make_importer: MakeImporter, arguments: list[str]
) -> None:
    """Exit 0, `status: skipped`, and words that name the process that is at work, and since when."""
    importer = make_importer(size=100)
    with lock_client(importer.db, "acme"):
        result = importer(*arguments, "--json")
    assert result.code == 0
    assert result.line["status"] == "skipped"
    assert f"process {os.getpid()}, since 20" in result.err
    assert importer.sandbox.requests == []


@pytest.mark.parametrize(
    "arguments", [["sync", "--full"], ["sync", "--since", "now"], ["sync", "--since", "7d"]], ids=" ".join
)
def test_what_was_asked_for_by_name_and_not_done_is_4(make_importer: MakeImporter, arguments: list[str]) -> None:
    """Whoever asked for something particular is told by the exit code that it was not done."""
    importer = make_importer(size=100)
    with lock_client(importer.db, "acme"):
        for quiet in ([], ["--quiet"]):
            result = importer(*arguments, *quiet)
            assert result.code == 4
            assert f"process {os.getpid()}" in result.err
    assert importer.sandbox.requests == []


def test_a_replay_that_finds_the_client_taken_is_4(make_importer: MakeImporter) -> None:
    """Replays hold the same lock as syncs."""
    importer = make_importer(size=500, broken=["200-201"])
    assert importer("sync").code == 3
    importer.sandbox.clear_requests()
    with lock_client(importer.db, "acme"):
        assert importer("dlq", "replay").code == 4
    assert importer.sandbox.requests == []


def test_a_renewed_key_stops_the_list_until_it_is_accepted(make_importer: MakeImporter) -> None:
    """Another Ometria key: exit 2 with both ways on; once accepted as the same account's, the sync goes on."""
    importer = make_importer(size=300)
    importer("sync")
    importer.sandbox.renew_ometria_key(importer.sandbox.ometria_key, "e" * 32)
    importer.configure(ometria_key="e" * 32)
    importer.sandbox.clear_requests()
    result = importer("sync")
    assert result.code == 2
    assert "mcimport keys accept acme" in result.err
    assert "sync --full" in result.err
    assert importer.sandbox.requests == []
    assert importer("keys", "accept", "acme").code == 0
    again = importer("sync", "--json")
    assert again.code == 0
    assert again.line["kind"] == "incremental"


def test_a_client_that_moves_to_another_account_starts_anew_there(make_importer: MakeImporter) -> None:
    """From a test account to the real one: everybody is sent there, and nothing of the old one is used."""
    importer = make_importer(size=400, broken=["100-101"])
    assert importer("sync").code == 3
    importer.sandbox.audience().archive(5)
    importer.sandbox.settings.broken.clear()
    real = "d" * 32
    importer.sandbox.add_account(importer.sandbox.mailchimp_key, real, {})
    importer.configure(ometria_key=real)
    assert importer("sync").code == 2
    assert importer("dlq", "replay").code == 0  # letters of the other destination are shown, not replayed
    assert importer.sandbox.contacts(real) == {}
    result = importer("sync", "--full", "--json")
    assert result.code == 0
    assert {key[1].split("-", 1)[1] for key in importer.sandbox.contacts(real)} == expected_ids(importer)
    assert result.line["contacts_pushed"] == len(expected_ids(importer))
    letters = importer("dlq", "list", "--json").lines
    assert {one["standing"] for one in letters} == {"earlier Ometria key"}
    assert importer("sync", "--json").line["kind"] == "incremental"


def test_a_client_that_is_renamed_keeps_its_memory(make_importer: MakeImporter) -> None:
    """Same list and account, another name: the sync goes on, with whoever was archived meanwhile, and the letters."""
    importer = make_importer(size=400, broken=["100-101"])
    assert importer("sync").code == 3
    importer.sandbox.settings.broken.clear()
    importer.sandbox.audience().archive(3)
    importer.configure(CONFIG.replace("clients.acme", "clients.acme-uk"))
    result = importer("sync", "--json")
    assert (result.code, result.line["client"], result.line["kind"]) == (0, "acme-uk", "incremental")
    assert importer("dlq", "list", "--json").lines == []
    opted_in = {
        key[1] for key, one in importer.sandbox.contacts().items() if one["marketing_optin"] == "EXPLICITLY_OPTEDIN"
    }
    archived = {f"{importer.sandbox.list_key}-{one}" for one in expected_ids(importer, archived=True)}
    assert not opted_in & archived
    assert [one["client"] for one in importer("status", "--json").lines] == ["acme-uk"]


def test_a_client_that_is_renamed_waits_for_who_is_at_work_under_its_former_name(make_importer: MakeImporter) -> None:
    """A process that began before the settings were changed is not joined by a second one."""
    importer = make_importer(size=100)
    importer("sync")
    importer.configure(CONFIG.replace("clients.acme", "clients.acme-uk"))
    with lock_client(importer.db, "acme"):
        assert importer.in_a_process("sync", "--json").line["status"] == "skipped"
    assert importer("sync", "--json").line["kind"] == "incremental"


def test_a_list_that_moves_to_another_client_goes_on_there(make_importer: MakeImporter) -> None:
    """Both clients are synced in one call: the list's memory moves, though the former client is at work, too."""
    importer = make_importer(size=100)
    importer.sandbox.add_account(importer.sandbox.mailchimp_key, importer.sandbox.ometria_key, {"bbbbbbbbbb": 50})
    importer.configure(CONFIG.replace('["{list_key}"]', '["{list_key}", "bbbbbbbbbb"]'))
    assert importer("sync").code == 0
    second = CONFIG[CONFIG.index("[clients.acme]") :].replace("acme", "other").replace("{list_key}", "bbbbbbbbbb")
    importer.configure(CONFIG + second)
    result = importer("sync", "--json")
    assert {line["client"]: (line["status"], line["kind"]) for line in result.lines} == {
        "acme": ("completed", "incremental"),
        "other": ("completed", "incremental"),
    }


def test_two_clients_whose_keys_were_swapped_do_not_take_each_others_memory(make_importer: MakeImporter) -> None:
    """Production's people must not go to the account of staging: both lists stop, with both ways on."""
    importer = make_importer(size=100)
    staging = "e" * 32
    importer.sandbox.add_account("0" * 32 + "-us7", staging, {"bbbbbbbbbb": 5})
    both = CONFIG + CONFIG[CONFIG.index("[clients.acme]") :].replace("acme", "staging").replace(
        "{ometria_key}", "{other}"
    )
    importer.configure(both, other=staging)
    assert importer("sync").code == 0
    importer.configure(both, ometria_key=staging, other=importer.sandbox.ometria_key)
    importer.sandbox.clear_requests()
    result = importer("sync")
    assert result.code == 2
    assert result.err.count("keys accept") >= 2
    assert importer.sandbox.requests == []


def test_the_same_list_twice_in_one_destination_is_refused(make_importer: MakeImporter) -> None:
    """Two clients with one list, one Ometria key and one collection would undo each other."""
    importer = make_importer(size=100)
    twice = CONFIG + CONFIG[CONFIG.index("[clients.acme]") :].replace("acme", "again")
    importer.configure(twice)
    result = importer("sync")
    assert result.code == 2
    assert "acme" in result.err
    assert "again" in result.err
    assert importer.sandbox.requests == []


def test_since_refuses_while_a_run_is_pending_and_says_what_to_type(make_importer: MakeImporter) -> None:
    """`--since` would skip what an unfinished run still has to bring."""
    importer = make_importer(size=1_000)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer.sandbox.settings.fault = lambda one: "401" if one.path.endswith("/push") and one.nth > 4 else None
    assert importer("sync").code == 1
    importer.sandbox.settings.fault = None
    importer.sandbox.clear_requests()
    for since in ("now", "2020-01-01"):
        result = importer("sync", "--since", since)
        assert result.code == 2
        assert "mcimport sync 1a2d7ebf82" in result.err
    assert importer.sandbox.requests == []
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def outage(importer: Importer, side: str, hours: int) -> list[int]:
    """Hourly syncs while one side refuses to answer anything useful."""
    codes = []
    for _ in range(hours):
        importer.sandbox.settings.fault = lambda one: "503" if one.service == side else None
        for key in importer.lists:
            importer.sandbox.audience(key).change(4)
        codes.append(importer("sync", "--quiet").code)
        time_passes(3_600)
    importer.sandbox.settings.fault = None
    return codes


@pytest.mark.parametrize("side", ["mailchimp", "ometria"])
def test_an_outage_of_three_hours_heals_itself(make_importer: MakeImporter, side: str) -> None:
    """Five lists, a side away for three hourly syncs: afterwards the next syncs bring everything by themselves."""
    importer = make_importer(size=150)
    more = {f"aaaaaaaaa{number}": 120 for number in range(4)}
    importer.sandbox.add_account(importer.sandbox.mailchimp_key, importer.sandbox.ometria_key, more)
    importer.lists = [importer.sandbox.list_key, *more]
    importer.configure(CONFIG.replace('["{list_key}"]', str(importer.lists).replace("'", '"')))
    assert importer("sync").code == 0
    time_passes(3_600)
    codes = outage(importer, side, 3)
    assert 0 not in codes
    assert importer("sync").code == 0
    assert importer("sync").code == 0
    assert importer("dlq", "list", "--json").lines == []
    held = {key[1]: contact for key, contact in importer.sandbox.contacts().items()}
    for key in importer.lists:
        for one in importer.sandbox.audience(key).listed():
            if one["email_address"]:
                contact = held[f"{key}-{one.get('contact_id') or one['web_id']}"]
                assert contact["email"] == one["email_address"].strip()
                assert (contact["marketing_optin"] == "EXPLICITLY_OPTEDIN") == (one["status"] == "subscribed")


def test_a_list_vouches_for_another_one_of_the_same_account(make_importer: MakeImporter) -> None:
    """A new list's first push meets a 404 that passes: where the account took contacts before, it is tried again."""
    importer = make_importer(size=20)
    sandbox, other = importer.sandbox, "bbbbbbbbbb"
    sandbox.add_account(sandbox.mailchimp_key, sandbox.ometria_key, {other: 20})
    importer.configure(CONFIG.replace('["{list_key}"]', '["{list_key}", "bbbbbbbbbb"]'))
    assert importer("sync", sandbox.list_key).code == 0
    answers = iter(["404", "404"])
    sandbox.settings.fault = lambda request: next(answers, None) if request.method == "POST" else None
    result = importer("sync", other, "--json")
    assert result.code == 0
    assert list(answers) == []
    assert (
        len([one for _, one in importer.sandbox.contacts() if one.startswith(other)])
        == result.line["contacts_pushed"]
        > 0
    )
