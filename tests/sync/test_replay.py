"""Dead letters: what each names, how it is mended, and how it closes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, another_program_pushes_invalid_contact, expected_ids, imported_ids
from passing import time_passes

from mcimport.sandbox.audience.member_list import MemberView


def open_letters(importer: Importer) -> list[dict[str, Any]]:
    return importer("dlq", "list", "--json").lines


def contact_of(importer: Importer, one: MemberView) -> str:
    return f"{importer.sandbox.list_key}-{one.get('contact_id') or one['web_id']}"


def somebody(importer: Importer, place: int = 50) -> MemberView:
    people = [one for one in importer.sandbox.audience().listed() if one["email_address"] and one.get("contact_id")]
    return people[place]


@pytest.mark.parametrize("whole", [False, True], ids=["rejected: 1", "the whole batch a 400"])
def test_one_refused_record_is_found_and_the_other_99_are_delivered(
    make_importer: MakeImporter, *, whole: bool
) -> None:
    """Halving finds the record: one contact letter with the reason, everybody else is in, and counted once."""
    importer = make_importer(size=400, reject_batches=whole)
    bad = somebody(importer)
    importer.sandbox.settings.rejects = {contact_of(importer, bad)}
    result = importer("sync", "--json")
    assert result.code == 3
    assert expected_ids(importer) - imported_ids(importer) == {bad["contact_id"]}
    assert result.line["contacts_pushed"] == len(expected_ids(importer)) - 1
    (letter,) = open_letters(importer)
    assert (letter["kind"], letter["cause"], letter["member_id"]) == ("contact", "refusal", bad["contact_id"])
    assert letter["reason"]


def test_latest_validation_errors_are_a_hint_of_nobody_in_particular(make_importer: MakeImporter) -> None:
    """When something was rejected, Ometria's latest errors are shown, said to be of all writers, in no letter."""
    importer = make_importer(size=300)
    importer("sync")
    another_program_pushes_invalid_contact(importer)
    importer.sandbox.settings.rejects = {contact_of(importer, somebody(importer))}
    importer.sandbox.audience().change(who=[somebody(importer)])
    result = importer("sync")
    assert result.code == 3
    (hint,) = importer.sandbox.push_errors()
    assert f"of the whole account and not only of this list: root > gender: {hint['error_message']}" in result.err
    (letter,) = open_letters(importer)
    assert hint["error_message"] not in letter["reason"]
    assert "gender" not in letter["reason"]


def test_there_is_one_open_letter_a_member_and_it_moves_with_them(make_importer: MakeImporter) -> None:
    """A member who is refused again has one letter still, at their newest second, with its attempts counted."""
    importer = make_importer(size=300)
    bad = somebody(importer)
    importer.sandbox.settings.rejects = {contact_of(importer, bad)}
    importer("sync")
    (before,) = open_letters(importer)
    time_passes(120)
    importer.sandbox.audience().change(who=[bad])
    assert importer("sync").code == 3
    (after,) = open_letters(importer)
    assert after["id"] == before["id"]
    assert after["attempts"] == 2
    assert after["until"] > before["until"]


def test_a_later_success_closes_the_letter(make_importer: MakeImporter) -> None:
    """Once the member is accepted, by whatever run, the letter is closed."""
    importer = make_importer(size=300)
    bad = somebody(importer)
    importer.sandbox.settings.rejects = {contact_of(importer, bad)}
    importer("sync")
    importer.sandbox.settings.rejects = set()
    importer.sandbox.audience().change(who=[bad])
    assert importer("sync").code == 0
    assert open_letters(importer) == []
    assert [one["status"] for one in importer("dlq", "list", "--all", "--json").lines] == ["replayed"]


def test_a_letter_that_fails_again_stays_open_with_its_attempts_counted(make_importer: MakeImporter) -> None:
    """Replaying is no way to lose a letter."""
    importer = make_importer(size=300)
    importer.sandbox.settings.rejects = {contact_of(importer, somebody(importer))}
    importer("sync")
    (letter,) = open_letters(importer)
    for attempts in (2, 3):
        assert importer("dlq", "replay").code == 3
        (again,) = open_letters(importer)
        assert (again["id"], again["attempts"]) == (letter["id"], attempts)


@pytest.mark.parametrize("what", ["changed", "was archived", "changed address"])
def test_a_replay_finds_a_member_who_left_the_letters_second(make_importer: MakeImporter, what: str) -> None:
    """The member is asked for by id when they are not in that second any more, and delivered as they are today."""
    importer = make_importer(size=300)
    bad = somebody(importer)
    importer.sandbox.settings.rejects = {contact_of(importer, bad)}
    importer("sync")
    importer.sandbox.settings.rejects = set()
    time_passes(60)
    audience = importer.sandbox.audience()
    move = {"changed": audience.change, "was archived": audience.archive, "changed address": audience.change_address}[
        what
    ]
    (moved,) = move(who=[bad])
    assert importer("dlq", "replay").code == 0
    assert open_letters(importer) == []
    contact = importer.sandbox.contacts()["mailchimp", contact_of(importer, bad)]
    assert contact["email"] == moved["email_address"].strip()
    if what == "was archived":
        assert contact["marketing_optin"] == "EXPLICITLY_OPTEDOUT"


def test_only_a_member_who_is_not_there_any_more_closes_a_letter_as_gone(make_importer: MakeImporter) -> None:
    """A deletion for good closes the letter by itself."""
    importer = make_importer(size=300)
    bad = somebody(importer)
    importer.sandbox.settings.rejects = {contact_of(importer, bad)}
    importer("sync")
    importer.sandbox.audience().delete(who=[bad])
    assert importer("dlq", "replay").code == 0
    assert [one["status"] for one in importer("dlq", "list", "--all", "--json").lines] == ["gone"]


def test_a_window_letter_that_is_narrowed_by_its_replay_keeps_its_number(make_importer: MakeImporter) -> None:
    """What is still unreadable when a letter is replayed stays open under its id, as a smaller span, counted."""
    importer = make_importer(size=900, broken_lookups=True)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer.sandbox.settings.fault = lambda one: "reset" if one.path.endswith("/push") and one.nth >= 3 else None
    importer("sync")
    importer.sandbox.settings.fault = None
    before = {one["id"] for one in open_letters(importer)}
    assert before
    importer.sandbox.settings.broken.append("300-301")
    importer("sync")
    after = open_letters(importer)
    assert {one["id"] for one in after} <= before | {max(before) + 1, max(before) + 2}
    importer.sandbox.settings.broken.clear()
    assert importer("dlq", "replay").code == 0
    assert importer("sync").code == 0
    assert open_letters(importer) == []
    assert imported_ids(importer) == expected_ids(importer)


def test_a_replay_knows_about_how_many_members_it_reads(make_importer: MakeImporter) -> None:
    """As many as its letters are about; nothing where that is not known of one of them, and not 0."""
    importer = make_importer(size=600)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer.sandbox.settings.broken.append("300-301")
    assert importer("sync").code == 3
    members = sum(letter["members"] for letter in open_letters(importer))
    assert importer("dlq", "replay", "--json").line["members_total"] == members > 0
    assert f" read of about {members:,}, " in importer("runs", "show", "2").out
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute("UPDATE dead_letters SET members = NULL")
    assert importer("dlq", "replay", "--json").line["members_total"] == 0
    assert " read, " in importer("runs", "show", "3").out


def test_a_run_shows_what_became_of_its_dead_letters(make_importer: MakeImporter) -> None:
    """That they are open; then that they were replayed, in which run and when, though its time ranges stay dead."""
    importer = make_importer(size=600)
    importer.configure(CONFIG + "mailchimp.window = 100\n")
    importer.sandbox.settings.broken.extend(["300-301", "500-501"])
    importer("sync")
    first, *others = (letter["id"] for letter in open_letters(importer))
    assert f"dead letters  {1 + len(others)} open" in importer("runs", "show", "1").out
    importer.sandbox.settings.broken.clear()
    assert importer("dlq", "replay", str(first)).code == 0
    assert importer("dlq", "discard", *map(str, others), "--yes").code == 0
    out = importer("runs", "show", "1").out
    assert re.search(rf"dead letters  1 replayed in run 2 \(.* UTC\), {len(others)} discarded \(.* UTC\)", out)
    assert "dead letters" not in importer("runs", "show", "2").out


def test_a_replay_of_nothing_says_so(make_importer: MakeImporter) -> None:
    """No open letter, no request, no silence."""
    importer = make_importer(size=100)
    importer("sync")
    importer.sandbox.clear_requests()
    result = importer("dlq", "replay")
    assert result.code == 0
    assert "no open dead letter" in result.err
    assert importer.sandbox.requests == []


def test_a_discarded_letter_is_not_replayed(make_importer: MakeImporter) -> None:
    """What a person gave up stays given up."""
    importer = make_importer(size=300)
    importer.sandbox.settings.rejects = {contact_of(importer, somebody(importer))}
    importer("sync")
    (letter,) = open_letters(importer)
    assert importer("dlq", "discard", str(letter["id"]), "--yes").code == 0
    importer.sandbox.clear_requests()
    assert importer("dlq", "replay").code == 0
    assert importer.sandbox.requests == []


def test_show_says_what_when_why_how_often_and_what_mends_it(make_importer: MakeImporter) -> None:
    """One letter, for a person at three in the morning."""
    importer = make_importer(size=300)
    bad = somebody(importer)
    importer.sandbox.settings.rejects = {contact_of(importer, bad)}
    importer("sync")
    (letter,) = open_letters(importer)
    shown = importer("dlq", "show", str(letter["id"])).out
    for words in (bad["contact_id"], letter["reason"], "1 time", f"mcimport dlq replay {letter['id']}"):
        assert words in shown


def test_three_kinds_of_members_who_cannot_be_sent_become_letters_and_their_mates_arrive(
    make_importer: MakeImporter,
) -> None:
    """No usable address, more than 60,000 bytes, no id: a letter each, with the reason; the batch goes on."""
    importer = make_importer(size=200)
    audience = importer.sandbox.audience()
    audience.add(email_address="no at sign")
    audience.add(merge_fields={"FNAME": "Ada", "NOTES": "x" * 70_000})
    assert importer("sync").code == 3
    reasons = sorted(letter["reason"] for letter in open_letters(importer))
    assert len(reasons) == 2
    assert "60,000 bytes" in reasons[0]
    assert "address" in reasons[1]
    assert len(expected_ids(importer) - imported_ids(importer)) == 2
