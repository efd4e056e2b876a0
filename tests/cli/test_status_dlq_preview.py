"""The commands that only look, and those that settle what was seen: status, runs, dlq, keys accept, preview."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, configure_clients, imported_ids
from hypothesis import given
from hypothesis import strategies as st
from passing import time_passes

from mcimport.cli import preview_list
from mcimport.cli.field_table import custom_fields, fields_table, target
from mcimport.config.cross_checks import cross_check
from mcimport.config.messages import validate
from mcimport.convert import field_mappings, make_converter
from mcimport.models import ContactRules, ListFields, Member, MergeField
from mcimport.state import lock_client

OTHER_KEY = "b" * 32
BAD_ADDRESS = "nobody at example.com"


class Keyboard(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def with_letters(make_importer: MakeImporter, number: int = 2) -> Importer:
    """An importer after a sync in which so many members could not be sent."""
    importer = make_importer(size=20)
    for _ in range(number):
        importer.sandbox.audience().add(email_address=BAD_ADDRESS)
    assert importer("sync").code == 3
    return importer


def letter_ids(importer: Importer) -> list[int]:
    return [letter["id"] for letter in importer("dlq", "list", "--json").lines]


def columns(text: str) -> list[str]:
    """The heads of a table."""
    return text.splitlines()[0].split()


# ---- before anything was synced


@pytest.mark.parametrize("command", [["runs", "list"], ["dlq", "list"], ["keys", "accept", "acme"]])
def test_looking_before_the_first_sync_is_no_error(make_importer: MakeImporter, command: list[str]) -> None:
    """There is nothing yet: that is said, and no state file is made."""
    importer = make_importer(size=0)
    result = importer(*command)
    assert result.code == 0
    assert f"the state file {importer.db} does not exist" in " ".join(result.err.split())
    assert not importer.db.exists()


def test_status_shows_the_configured_lists_before_their_first_sync(make_importer: MakeImporter) -> None:
    """Never synced is a state, too."""
    importer = make_importer(size=0)
    assert importer.sandbox.list_key in importer("status").out
    assert "never" in importer("status").out
    line = importer("status", "--json").line
    assert (line["client"], line["list_key"], line["sync_point"]) == ("acme", importer.sandbox.list_key, None)


def test_status_names_a_state_file_that_does_not_exist_and_the_command_for_it(make_importer: MakeImporter) -> None:
    """A mistyped `--db` is exit 3, for who reads no words; without settings the advised sync names a list."""
    importer = make_importer(size=0)
    shown = importer("status")
    assert shown.code == importer("status", "--json").code == 3
    assert "NO STATE FILE" in shown.out
    assert "check --db and MCIMPORT_DB" in " ".join(shown.err.split())
    importer.config.unlink()
    alone = importer.in_a_process("status", environment=importer.variables, bare=True)
    assert "`mcimport sync LIST_KEY`" in alone.err
    assert alone.code == 3


def test_differences_that_were_left_need_attention_and_name_the_command(make_importer: MakeImporter) -> None:
    """Until both sides are compared again and match."""
    importer = make_importer(size=30, settling=0.0)
    importer.configure(CONFIG + "reconcile.settling = 0\n")
    assert importer("sync").code == importer("status").code == 0
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:3])
    command = f"`mcimport reconcile --mend {importer.sandbox.list_key}`"
    assert f"{command} fixes what differs" in importer("reconcile").err
    shown = importer("status")
    assert shown.code == 3
    assert f"ago: {command}" in " ".join(shown.out.split())
    mended = importer("reconcile", "--mend", "--yes")
    assert mended.code == 0
    assert "fixes what differs" not in mended.err
    assert importer("status").code == 0


def test_a_log_of_runs_that_is_cut_says_how_to_see_more(make_importer: MakeImporter) -> None:
    """The remark is on standard error, and is not there where all runs are shown."""
    importer = make_importer(size=0)
    assert importer("sync").code == importer("sync").code == 0
    cut = importer("runs", "list", "--limit", "1")
    assert "only the latest 1 run; `mcimport runs list --limit 10` shows more" in cut.err
    assert importer("runs", "list").err == ""


@pytest.mark.parametrize("command", [["runs", "list"], ["dlq", "list"]])
def test_an_empty_list_is_empty_json(make_importer: MakeImporter, command: list[str]) -> None:
    """No row, no line."""
    assert make_importer(size=0)(*command, "--json").lines == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["runs", "show"], "no run"),
        (["dlq", "show"], "no dead letter"),
        (["dlq", "discard", "--yes"], "no dead letter"),
    ],
)
@pytest.mark.parametrize("is_synced", [True, False], ids=["after a sync", "before any"])
def test_what_does_not_exist_is_2_with_words(
    make_importer: MakeImporter, command: list[str], words: str, *, is_synced: bool
) -> None:
    """An unknown id is wrong usage, whether or not there is a state file."""
    importer = make_importer(size=3)
    if is_synced:
        importer("sync")
    result = importer(*command, "4711")
    assert result.code == 2
    assert f"{words} 4711" in result.err
    assert result.out == ""


@pytest.mark.parametrize("command", [["runs", "show"], ["dlq", "show"], ["dlq", "discard", "--yes"]])
@pytest.mark.parametrize("number", ["0", "99999999999999999999", "first"])
def test_what_can_be_no_id_is_2(make_importer: MakeImporter, command: list[str], number: str) -> None:
    """Neither zero, nor a number beyond SQLite's, nor a word reaches the state file."""
    importer = make_importer(size=3)
    importer("sync")
    result = importer(*command, number)
    assert result.code == 2
    assert "Traceback" not in result.err


# ---- runs


def test_runs_are_listed_the_newest_first(make_importer: MakeImporter) -> None:
    """And no more than were asked for."""
    importer = make_importer(size=5)
    for _ in range(3):
        importer("sync")
    assert [run["run_id"] for run in importer("runs", "list", "--json").lines] == [3, 2, 1]
    assert [run["run_id"] for run in importer("runs", "list", "--json", "--limit", "2").lines] == [3, 2]
    assert [row.split()[0] for row in importer("runs", "list").out.splitlines()] == ["run", "3", "2", "1"]


def test_runs_and_dead_letters_of_one_client_alone_can_be_listed(make_importer: MakeImporter) -> None:
    """Of several clients' log the part that somebody asked about; a name that nobody has or had is an error."""
    importer = make_importer(size=20)
    found = configure_clients(importer, ["a", "b", "c"], size=20)
    importer.sandbox.settings.broken = ["3-3"]
    assert importer("sync").code == 3
    for command in (("runs", "list"), ("dlq", "list")):
        assert {line["client"] for line in importer(*command, "--json").lines} == set(found)
        assert {line["client"] for line in importer(*command, "--client", "b", "--json").lines} == {"b"}
        two = importer(*command, "--client", "a", "--client", "c", "--json").lines
        assert {line["client"] for line in two} == {"a", "c"}
    for command in (("runs", "list"), ("dlq", "list")):
        result = importer(*command, "--client", "aa")
        assert result.code == 2
        assert "did you mean a" in result.err


def test_a_run_is_shown_with_its_windows(make_importer: MakeImporter) -> None:
    """What it carried, and how far each window has come, for people and for programs."""
    importer = make_importer(size=250)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer("sync")
    listed = importer("runs", "list", "--json").line
    shown = importer("runs", "show", "1", "--json").line
    assert {name: value for name, value in shown.items() if name != "windows"} == listed
    assert shown["kind"] == "full"
    assert shown["until"].endswith("+00:00")
    assert len(shown["windows"]) == shown["windows_total"] > 1
    assert {window["status"] for window in shown["windows"]} == {"done"}
    assert (
        sum(window["pushed"] for window in shown["windows"]) == shown["contacts_pushed"] == len(imported_ids(importer))
    )
    text = importer("runs", "show", "1").out
    assert f"{len(imported_ids(importer)):,} pushed" in text
    assert len([row for row in text.splitlines() if row.split()[0].isdigit()]) == shown["windows_total"]


def test_no_row_is_broken_where_output_is_no_terminal(make_importer: MakeImporter) -> None:
    """A row a line, whatever its length, so that grep and awk find whole rows."""
    importer = with_letters(make_importer)
    for command, rows in ((["runs", "list"], 1), (["dlq", "list"], 2), (["status"], 1)):
        assert len(importer(*command).out.splitlines()) == rows + 1


# ---- status


def test_status_shows_sync_point_last_run_and_recent_contacts(make_importer: MakeImporter) -> None:
    """One row a list, with a bar for each of the latest runs."""
    importer = make_importer(size=20)
    importer("sync")
    importer("sync")
    line = importer("status", "--json").line
    assert line["sync_point"] == importer("runs", "list", "--json").lines[0]["until"]
    assert line["age_seconds"] < 3_600
    assert (line["last_run_id"], line["last_run_kind"], line["last_run_status"]) == (2, "incremental", "completed")
    assert line["contacts_pushed"][0] == len(imported_ids(importer))
    result = importer("status")
    assert result.code == 0
    assert "█" in result.out
    assert "2 incremental completed" in " ".join(result.out.split())


def test_status_is_3_while_dead_letters_are_open(make_importer: MakeImporter) -> None:
    """The exit code tells a monitor that somebody has to look, until somebody has."""
    importer = with_letters(make_importer)
    assert importer("status").code == importer("status", "--json").code == 3
    assert importer("status", "--json").line["dead_letters"] == 2
    importer("dlq", "discard", "--yes", *map(str, letter_ids(importer)))
    assert importer("status").code == 0


def test_a_list_that_is_configured_no_longer_is_marked_and_does_not_count(make_importer: MakeImporter) -> None:
    """What is remembered of it is still shown; its dead letters worry nobody."""
    importer = with_letters(make_importer)
    importer.configure(list_key="ffffffffff")
    status = importer("status", "--json")
    assert status.code == 0
    assert [(line["list_key"], line["note"]) for line in status.lines] == [
        ("ffffffffff", None),
        (importer.sandbox.list_key, "not configured"),
    ]
    assert {letter["standing"] for letter in importer("dlq", "list", "--json").lines} == {"not configured"}
    command = f"mcimport forget acme --list {importer.sandbox.list_key}"
    assert f"not configured: `{command}` removes what is recorded of it" in importer("status").out
    assert importer(*command.split()[1:], "--yes").code == 0
    assert importer.sandbox.list_key not in importer("status").out


@pytest.mark.parametrize(
    ("change", "note", "earlier"),
    [
        ({"ometria_key": OTHER_KEY}, "its Ometria key changed", "earlier Ometria key"),
        ({"text": CONFIG + 'ometria.collection = "elsewhere"\n'}, "its collection changed", "earlier collection"),
    ],
    ids=["another key", "another collection"],
)
def test_another_destination_is_marked_and_needs_attention(
    make_importer: MakeImporter, change: dict[str, str], note: str, earlier: str
) -> None:
    """No sync of the list begins until somebody says what the change means; what went elsewhere is shown as such."""
    importer = with_letters(make_importer)
    importer.configure(**change)
    status = importer("status", "--json")
    now, before = status.lines
    assert status.code == 3
    assert now["sync_point"] is None
    assert now["note"].startswith(note)
    assert (before["note"], before["dead_letters"]) == (earlier, 2)
    assert earlier in importer("dlq", "list").out
    assert "nothing to replay" in importer("dlq", "show", "1").out


def test_status_works_without_the_keys(make_importer: MakeImporter) -> None:
    """Whoever looks need not hold the keys; dead letters count, since nobody can say that they do not."""
    importer = with_letters(make_importer)
    importer.configure(CONFIG.replace("{ometria_key}", "env:ACME_KEY_THAT_NOBODY_SET"))
    status = importer("status", "--json")
    assert status.code == 3
    assert status.line["note"] == "Ometria key not set here, so its account is unknown"
    assert status.line["sync_point"] is not None


def test_status_of_a_client_without_a_file_shows_what_it_synced(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys in the environment alone name no list: those that were synced are its lists."""
    importer = make_importer(size=5)
    sandbox = importer.sandbox
    importer.config.write_text("", encoding="utf-8")
    for name, value in {
        "MCIMPORT_MAILCHIMP_URL": sandbox.mailchimp_url,
        "MCIMPORT_OMETRIA_URL": sandbox.ometria_url,
        "MCIMPORT_MAILCHIMP_API_KEY": sandbox.mailchimp_key,
        "MCIMPORT_OMETRIA_API_KEY": sandbox.ometria_key,
    }.items():
        monkeypatch.setenv(name, value)
    assert importer("status", "--json").lines == []
    importer("sync", sandbox.list_key)
    line = importer("status", "--json").line
    assert (line["client"], line["list_key"], line["note"]) == ("default", sandbox.list_key, None)


def test_bars_are_ascii_where_the_encoding_has_no_others(make_importer: MakeImporter) -> None:
    """A terminal with an old code page gets a picture, too."""
    importer = make_importer(size=5)
    importer("sync")
    result = importer.in_a_process("status", environment={"PYTHONIOENCODING": "latin-1"})
    assert result.code == 0
    assert result.out.splitlines()[1].rstrip().endswith("#")


# ---- dead letters


def test_dead_letters_are_listed_open_ones_unless_all_are_wanted(make_importer: MakeImporter) -> None:
    """What is closed is out of the way, and not lost."""
    importer = with_letters(make_importer)
    first, second = letter_ids(importer)
    importer("dlq", "discard", "--yes", str(first))
    assert letter_ids(importer) == [second]
    everything = importer("dlq", "list", "--all", "--json").lines
    assert [(letter["id"], letter["status"]) for letter in everything] == [(first, "discarded"), (second, "open")]
    assert "unusable address" in importer("dlq", "list").out
    assert "reason" in columns(importer("dlq", "list").out)


def test_a_dead_letter_says_what_when_why_how_often_and_what_mends_it(make_importer: MakeImporter) -> None:
    """Enough to act on, without opening the state file."""
    importer = with_letters(make_importer, 1)
    result = importer("dlq", "show", "1")
    assert result.code == 0
    for words in ("unusable address", "1 time, last in run 1", " UTC", "`mcimport dlq replay 1`", "dlq discard 1"):
        assert words in result.out
    assert BAD_ADDRESS not in result.out
    letter = importer("dlq", "show", "1", "--json").line
    assert (letter["reason"], letter["attempts"], letter["standing"]) == ("unusable address", 1, None)


def test_the_command_that_a_letter_names_shows_its_member(make_importer: MakeImporter) -> None:
    """What `dlq show` says to type works as it stands."""
    importer = with_letters(make_importer, 1)
    (look,) = [words for words in importer("dlq", "show", "1").out.split("`") if words.startswith("mcimport preview")]
    result = importer(*look.split()[1:])
    assert result.code == 0
    assert BAD_ADDRESS in result.out
    assert "would be a dead letter: unusable address" in result.out


def test_a_span_that_could_not_be_read_names_its_replay(make_importer: MakeImporter) -> None:
    """A window letter says which span, and that the next sync tries again by itself."""
    importer = make_importer(size=50, broken=["10-10"])
    assert importer("sync").code == 3
    text = importer("dlq", "show", "1").out
    assert "the next sync of this list tries again by itself; `mcimport dlq replay 1` tries at once" in text
    assert "time range" in text
    importer("dlq", "discard", "1", "--yes")
    assert "nothing: it is closed" in importer("dlq", "show", "1").out


def test_discarding_without_a_terminal_needs_yes(make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that forgot it closes nothing."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    importer = with_letters(make_importer)
    result = importer("dlq", "discard", "1")
    assert result.code == 2
    assert "--yes" in result.err
    assert letter_ids(importer) == [1, 2]


@pytest.mark.parametrize(("answer", "left"), [("y\n", [2]), ("n\n", [1, 2])])
def test_discarding_asks_the_person_at_the_terminal(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[int]
) -> None:
    """Only a yes closes; a no is no error."""
    importer = with_letters(make_importer)
    monkeypatch.setattr("sys.stdin", Keyboard(answer))
    result = importer("dlq", "discard", "1")
    assert result.code == 0
    assert result.out == ""
    assert "Discard 1 dead letter for good?" in result.err
    assert letter_ids(importer) == left


def test_discarding_an_unknown_letter_discards_none(make_importer: MakeImporter) -> None:
    """All of what was named, or nothing."""
    importer = with_letters(make_importer)
    assert importer("dlq", "discard", "--yes", "1", "4711").code == 2
    assert letter_ids(importer) == [1, 2]


def test_discarding_twice_says_so_and_is_no_error(make_importer: MakeImporter) -> None:
    """A letter that is closed already stays as it is, and the others are closed."""
    importer = with_letters(make_importer)
    importer("dlq", "discard", "--yes", "1")
    result = importer("dlq", "discard", "--yes", "1", "1", "2")
    assert result.code == 0
    assert result.err.splitlines() == ["dead letter 1 is already closed: discarded", "1 dead letter discarded"]
    assert letter_ids(importer) == []


# ---- keys


def test_an_accepted_key_lets_the_lists_go_on(make_importer: MakeImporter) -> None:
    """The same account under a renewed key: refused until accepted, then from the same sync point on."""
    importer = make_importer(size=5)
    importer("sync")
    before = importer("status", "--json").line["sync_point"]
    importer.sandbox.renew_ometria_key(importer.sandbox.ometria_key, OTHER_KEY)
    importer.configure(ometria_key=OTHER_KEY)
    assert importer("sync").code == 2
    result = importer("keys", "accept", "acme")
    assert (result.code, result.err) == (0, "acme: 1 list continues with the new key\n")
    assert importer("status", "--json").line["sync_point"] == before
    assert importer("sync", "--json").line["kind"] == "incremental"
    assert "nothing to accept" in importer("keys", "accept", "acme").err


def test_accepting_waits_for_nobody(make_importer: MakeImporter) -> None:
    """While another process is at work on the client its lists stay as they are: exit 4."""
    importer = make_importer(size=5)
    importer("sync")
    importer.configure(ometria_key=OTHER_KEY)
    with lock_client(importer.db, "acme"):
        assert importer("keys", "accept", "acme").code == 4
    assert "its Ometria key changed" in importer("status").out


def test_an_unknown_client_has_no_keys_to_accept(make_importer: MakeImporter) -> None:
    """What was typed is not repeated: it may have been the key."""
    importer = make_importer(size=0)
    result = importer("keys", "accept", OTHER_KEY)
    assert result.code == 2
    assert "acme" in result.err
    assert OTHER_KEY not in result.err


# ---- preview


def test_preview_shows_both_sides_and_pushes_nothing(make_importer: MakeImporter) -> None:
    """Members beside their contacts, where each field goes, and what a consent is worth in Ometria."""
    importer = make_importer(size=30)
    result = importer("preview", importer.sandbox.list_key, "--limit", "3")
    assert result.code == 0
    assert result.out.count("Mailchimp member") == 3
    for words in ("email_address", "marketing_optin", "FNAME", "firstname", "mailchimp_status", "[fields]"):
        assert words in result.out
    assert "an opt-out outweighs every opt-in" in result.out
    assert result.out.endswith("Nothing was pushed.\n")
    assert result.err == ""
    assert importer.sandbox.contacts() == {}
    assert {one.method for one in importer.sandbox.requests} == {"GET"}
    assert not importer.db.exists()


def test_preview_as_json_is_a_line_a_member_and_one_for_the_fields(make_importer: MakeImporter) -> None:
    """The contact is the one that a sync sends."""
    importer = make_importer(size=3)
    *members, fields = importer("preview", importer.sandbox.list_key, "--json").lines
    importer("sync")
    sent = importer.sandbox.contacts()
    listed = [one for one in members if one["contact"]]
    assert len(members) == len(importer.sandbox.audience().listed())
    assert listed
    for one in listed:
        stored = sent["mailchimp", one["contact"]["id"]]
        assert {name: stored[name] for name in one["contact"]} == one["contact"]
        assert one["member"]["email_address"].strip() == one["contact"]["email"]
    assert {"tag": "FNAME", "name": "First Name", "type": "text", "target": "firstname"} in fields["fields"]
    assert {"id": "mailchimp_rating", "type": "number"} in fields["custom_fields"]


def test_every_property_that_a_sync_sends_is_among_the_custom_fields(make_importer: MakeImporter) -> None:
    """Who creates what `preview` lists has created everything."""
    importer = make_importer(size=400)
    *_, fields = importer("preview", importer.sandbox.list_key, "--json").lines
    importer("sync")
    sent = {name for contact in importer.sandbox.contacts().values() for name in contact["properties"]}
    assert sent <= {field["id"] for field in fields["custom_fields"]}


def test_preview_of_one_member(make_importer: MakeImporter) -> None:
    """By contact_id, whatever their status and wherever they stand in the list."""
    importer = make_importer(size=30)
    wanted = next(one for one in importer.sandbox.audience().archived() if one.get("contact_id"))
    member, _ = importer("preview", importer.sandbox.list_key, "--member", wanted["contact_id"], "--json").lines
    assert member["member"]["email_address"] == wanted["email_address"]


@pytest.mark.parametrize("typed", ["nobody@example.com", "../../lists?count=1000", "a/b#c", "%2e%2e"])
def test_an_unknown_member_is_1_and_is_not_repeated(make_importer: MakeImporter, typed: str) -> None:
    """What was typed stays one segment of the address that is asked for, and out of the error."""
    importer = make_importer(size=3)
    result = importer("preview", importer.sandbox.list_key, "--member", typed)
    assert result.code == 1
    assert "no such member" in result.err
    assert typed not in result.err
    assert {one.path.rpartition("/")[0] for one in importer.sandbox.requests} <= {
        f"/lists/{importer.sandbox.list_key}/members",
        f"/lists/{importer.sandbox.list_key}/members/a",  # the sandbox's ledger shows paths decoded
        f"/lists/{importer.sandbox.list_key}/members/../..",
    }
    assert {one.status for one in importer.sandbox.requests} == {404}


def test_preview_says_who_is_skipped_and_what_is_left_out(make_importer: MakeImporter) -> None:
    """A member without an address, one whose number is none: the reason stands below."""
    importer = make_importer(size=0)
    audience = importer.sandbox.audience()
    audience.add(email_address="", sms_phone_number="+14155550132")
    audience.add(email_address="ada@example.com", merge_fields={"PHONE": "m: 1"}, location={})
    text = importer("preview", importer.sandbox.list_key).out
    assert "skipped: no address" in text
    assert "PHONE: not a valid number of a known country" in text


def test_what_a_member_typed_cannot_steer_the_terminal(make_importer: MakeImporter) -> None:
    """Escape sequences and markup are shown as what they are."""
    importer = make_importer(size=0)
    importer.sandbox.audience().add(
        email_address="ada@example.com", merge_fields={"FNAME": "\x1b[31mAda", "LNAME": "[red]Moreno[/red] :smile:"}
    )
    text = importer("preview", importer.sandbox.list_key).out
    assert "\x1b" not in text
    assert "\\x1b[31mAda" in text
    assert "[red]Moreno[/red] :smile:" in text


def test_preview_knows_who_is_new(make_importer: MakeImporter) -> None:
    """As in a sync: only who opted in after the list's first sync began gets a subscription event."""
    importer = make_importer(size=0)
    importer.sandbox.audience().add(email_address="old@example.com", status="subscribed")
    command = ("preview", importer.sandbox.list_key, "--json")
    assert "timestamp_subscribed" not in importer(*command).lines[0]["contact"]
    time_passes(120)
    importer("sync")
    time_passes(120)
    importer.sandbox.audience().join(1)
    contacts = [one["contact"] for one in importer(*command).lines[:-1]]
    new = [one for one in contacts if "timestamp_subscribed" in one]
    assert len(contacts) == 2
    assert [one["email"] for one in new] == [one["email"] for one in contacts if one["email"] != "old@example.com"]


def test_a_list_of_several_clients_needs_a_name(make_importer: MakeImporter) -> None:
    """Nobody's members are shown by guess."""
    importer = make_importer(size=3)
    second = CONFIG.partition("[clients.acme]")[2].replace("{ometria_key}", OTHER_KEY)
    importer.configure(f"{CONFIG}\n[clients.other]{second}")
    result = importer("preview", importer.sandbox.list_key)
    assert result.code == 2
    assert "acme, other" in result.err
    assert importer.sandbox.requests == []
    assert importer("preview", importer.sandbox.list_key, "--client", "other").code == 0


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
def test_preview_takes_one_to_a_thousand(make_importer: MakeImporter, limit: str) -> None:
    """Mailchimp gives no more at once."""
    importer = make_importer(size=3)
    assert importer("preview", importer.sandbox.list_key, "--limit", limit).code == 2
    assert importer.sandbox.requests == []


def test_preview_of_an_empty_list_still_shows_its_fields(make_importer: MakeImporter) -> None:
    """The mapping can be settled before the first member comes."""
    importer = make_importer(size=0)
    result = importer("preview", importer.sandbox.list_key)
    assert result.code == 0
    assert "The list has no members." in result.out
    assert "[fields]" in result.out


def test_the_pasted_table_is_valid_and_changes_nothing(make_importer: MakeImporter) -> None:
    """What `preview` gives to paste loads, and every field goes where it went."""
    importer = make_importer(size=3)
    before = importer("preview", importer.sandbox.list_key, "--json").lines
    importer.configure(before[-1]["fields_table"] + CONFIG)
    assert importer("preview", importer.sandbox.list_key, "--json").lines == before


def problems(fields: dict[str, str]) -> list[str]:
    """What the configuration says of a `[fields]` table."""
    file = validate({"fields": fields})
    return file if isinstance(file, list) else cross_check(file, [])


_tags = st.text(st.characters(exclude_categories=["Cs"]), max_size=10) | st.sampled_from(
    ["FNAME", "fname", "PHONE", "BIRTHDAY", "MAILCHIMP_TAGS", "MAILCHIMP_X", "A B", "A-B", "A_B", '"', "\x7f"]
)
_types = st.sampled_from(["text", "number", "address", "phone", "date", "birthday", "zip", "url", "radio", "novelty"])
_lists = st.dictionaries(_tags, st.tuples(_types, st.text(max_size=8)), max_size=8).map(
    lambda found: ListFields({tag: MergeField(tag, kind, name) for tag, (kind, name) in found.items()})
)
_mapping = st.dictionaries(
    st.sampled_from(["FNAME", "PHONE", "BIRTHDAY", "ELSEWHERE", "A_B"]),
    st.sampled_from(["", "firstname", "phone_number", "properties.one", "date_of_birth"]),
    max_size=3,
).filter(lambda mapping: not problems(mapping))


@given(_lists, _mapping)
def test_any_lists_table_can_be_pasted(fields: ListFields, mapping: dict[str, str]) -> None:
    """Whatever tags and names a list has, its table is TOML, has no mistake, and leaves every field where it goes.

    Two tags that differ in their case alone, which Mailchimp does not have, cannot both be named in it.
    """
    rules = ContactRules(list_key="k", fields=mapping)
    pasted = tomllib.loads(fields_table(fields, rules))["fields"]
    assert problems(pasted) == []
    assert mapping.items() <= {tag.upper(): goes for tag, goes in pasted.items()}.items()
    if len({tag.upper() for tag in fields.merge_fields}) == len(fields.merge_fields):
        assert targets(fields, ContactRules(list_key="k", fields=pasted)) == targets(fields, rules)


def targets(fields: ListFields, rules: ContactRules) -> dict[str, str]:
    return {tag: target(route) for tag, route in field_mappings(fields, rules).items() if route.listed}


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_members = st.builds(Member, **dict.fromkeys(Member.__struct_fields__, _json)) | st.builds(
    Member,
    email_address=st.just("ada@example.com"),
    web_id=st.just(7),
    status=st.just("subscribed"),
    merge_fields=st.dictionaries(st.text(max_size=8), _json, max_size=4),
    tags=st.lists(st.fixed_dictionaries({"name": st.text(max_size=8)}), max_size=3),
    interests=st.dictionaries(st.text(max_size=3), st.booleans(), max_size=3),
)


@given(_members)
def test_any_member_can_be_shown(member: Member) -> None:
    """Whatever JSON stands in whichever field, both sides are printable, and the document is JSON."""
    fields = ListFields(interests={"a": "Weekly"})
    conversion = make_converter(fields, ContactRules(list_key="k"))(member)
    facts = [fact for side in preview_list.sides(member, conversion, fields) for fact in side]
    assert facts
    assert all(text.isprintable() for fact in facts for text in fact)
    assert all(remark.isprintable() for remark in preview_list.remarks(conversion))
    document = json.loads(json.dumps(preview_list.document(member, conversion)))
    assert (document["contact"] is None) == (document["reason"] is not None)


@given(_lists, _mapping)
def test_custom_fields_have_ids_that_ometria_takes(fields: ListFields, mapping: dict[str, str]) -> None:
    """No id is named twice, and none holds anything but a-z, 0-9 and _."""
    found = custom_fields(fields, ContactRules(list_key="k", fields=mapping))
    ids = [name for name, *_ in found]
    assert len(set(ids)) == len(ids)
    assert all(name.isascii() and name.replace("_", "").isalnum() == bool(name.strip("_")) for name in ids)
    assert all(all(field) or field[-1] == "" for field in found)


def test_looking_changes_nothing_in_the_state_file(make_importer: MakeImporter) -> None:
    """All of what only looks, one after the other, leaves every row as it was."""
    importer = with_letters(make_importer)

    def dump() -> list[str]:
        with closing(sqlite3.connect(importer.db)) as connection:
            return list(connection.iterdump())

    before = dump()
    for command in (
        ["status"],
        ["runs", "list"],
        ["runs", "show", "1"],
        ["dlq", "list", "--all"],
        ["dlq", "show", "1"],
        ["preview", importer.sandbox.list_key],
    ):
        importer(*command)
        importer(*command, "--json")
    assert dump() == before


# ---- completion


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_options(make_importer: MakeImporter, shell: str) -> None:
    """As its completion script asks for it."""
    importer = make_importer()
    asked = {"bash": {"COMP_WORDS": "mcimport sy", "COMP_CWORD": "1"}, "zsh": {"_TYPER_COMPLETE_ARGS": "mcimport sy"}}
    environment = {"_MCIMPORT_COMPLETE": f"complete_{shell}", **asked[shell]}
    program = "import sys; sys.argv = ['mcimport']; from mcimport.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(importer.folder), **environment},
    )
    assert "sync" in result.stdout
    assert "status" not in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "list"),
        ("runs", "list", "--json"),
        ("runs", "show", "1"),
        ("dlq", "list"),
        ("dlq", "list", "--json"),
        ("check", "--offline"),
        ("--version",),
        ("--help",),
        ("sync", "--help"),
    ],
    ids=" ".join,
)
def test_a_reader_that_has_seen_enough_is_no_failure(make_importer: MakeImporter, command: tuple[str, ...]) -> None:
    """`| head -1` under pipefail: 0, as for a sync, also when it left before the first word."""
    importer = make_importer(size=5)
    for number in range(3):
        importer.sandbox.audience().add(email_address=f"bad{number}@@example.com")
    importer("sync")
    result = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", '"$@" | true', "bash", *importer.command(*command)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("command", "code"), [("status --json", 3), ("check --offline --json", 1)])
def test_a_reader_that_has_left_does_not_hide_what_is_wrong(
    make_importer: MakeImporter, command: str, code: int
) -> None:
    """However much there still was to be written: the exit code is not that of the first lines."""
    importer = make_importer()
    configure_clients(importer, [f"client-{number}" for number in range(40)], size=1)
    importer.sandbox.audience("0000000000").add(email_address="bad@@example.com")
    assert importer("sync", "--quiet").code == 3
    lock = importer.db.with_name("state.db.client-39.lock")
    lock.unlink()
    lock.mkdir()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        result = subprocess.run(importer.command(*command.split()), stdout=gone, stderr=subprocess.PIPE, check=False)
    assert (result.returncode, result.stderr) == (code, b"")
