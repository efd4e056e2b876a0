"""The contact in a whole run: what takes one more request, what is counted beforehand, what is said of the mapping."""

from __future__ import annotations

import base64
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from contextlib import closing
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.convert import encode_contact, make_converter
from mcimport.convert.field_mapping import MAPPING_VERSION
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.models import ContactRules, Converted, ListFields, Member, MergeField
from mcimport.models.timestamps import iso
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.settings import PERMISSIONS
from mcimport.services.http import decode_slot
from mcimport.services.http.client import HttpClient
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.mailchimp.client import MailchimpClient

IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
FULL = "mcimport sync --full"


def contact_of(importer: Importer, member: Any) -> dict[str, Any]:
    """What Ometria holds of a member."""
    return importer.sandbox.contacts()["mailchimp", f"{importer.sandbox.list_key}-{member['contact_id']}"]


def asked(importer: Importer, ending: str) -> list[Request]:
    return [one for one in importer.sandbox.requests if one.path.endswith(ending)]


def tagged(count: int) -> dict[str, Any]:
    """A member's fields for so many tags."""
    return {"tags": [{"id": n, "name": f"segment {n}"} for n in range(count)], "tags_count": count}


# ---- tags


def test_tags_beyond_those_on_the_page_are_fetched_for_that_member(make_importer: MakeImporter) -> None:
    """A page lists fifty: whoever has more arrives with all of them, at one request each, and the others cost none."""
    importer = make_importer()
    audience = importer.sandbox.audience()
    many = audience.add(email_address="many@example.com", **tagged(73))
    few = audience.add(email_address="few@example.com", **tagged(50))
    old = audience.add(email_address="Old@example.com", **tagged(51), contact_id="")
    assert importer("sync").code == 0
    assert contact_of(importer, many)["properties"]["mailchimp_tags"] == [f"segment {n}" for n in range(73)]
    assert len(contact_of(importer, few)["properties"]["mailchimp_tags"]) == 50
    (held,) = [one for one in importer.sandbox.contacts().values() if one["email"] == old["email_address"]]
    assert len(held["properties"]["mailchimp_tags"]) == 51
    assert len(asked(importer, "/tags")) == 2


def test_tags_are_fetched_within_the_connection_limit(make_importer: MakeImporter) -> None:
    """However many members have more than a page lists."""
    importer = make_importer(latency=0.01)
    for number in range(120):
        importer.sandbox.audience().add(email_address=f"m{number}@example.com", **tagged(60))
    importer.configure(CONFIG + "mailchimp.window = 20\n")
    time_passes(60)
    assert importer("sync").code == 0
    assert len(asked(importer, "/tags")) == 120
    assert importer.sandbox.max_open() <= 10


def test_a_cut_list_of_tags_is_never_passed_off_as_whole(make_importer: MakeImporter) -> None:
    """Tags that cannot be had are left out with a warning, the contact goes through, and a few failures are enough."""
    importer = make_importer()
    for number in range(20):
        importer.sandbox.audience().add(email_address=f"m{number}@example.com", **tagged(60))
    importer.sandbox.settings.fault = lambda one: "500" if one.path.endswith("/tags") else None
    result = importer("sync")
    assert result.code == 0
    assert "20 members were sent without tags, which could not be read whole" in result.err
    assert len(importer.sandbox.contacts()) == 20
    assert not [one for one in importer.sandbox.contacts().values() if "mailchimp_tags" in one["properties"]]
    assert len(asked(importer, "/tags")) <= 4 * (10 + 3)  # four tries each, ten at a time; three in a row are enough


def test_tags_that_are_cut_where_all_should_be_are_left_out(make_importer: MakeImporter) -> None:
    """Fewer than the member counts are not all of them, whatever that answer says."""
    importer = make_importer(cut_tags=True)
    member = importer.sandbox.audience().add(email_address="many@example.com", **tagged(120))
    result = importer("sync")
    assert "1 member was sent without tags" in result.err
    assert "mailchimp_tags" not in contact_of(importer, member)["properties"]


def test_the_decode_slot_is_free_while_tags_are_waited_for(make_importer: MakeImporter) -> None:
    """Another page can be decoded meanwhile, also where this one has nothing to push before."""
    importer = make_importer()
    sandbox = importer.sandbox
    person = sandbox.audience().add(email_address="many@example.com", **tagged(60))
    credentials = base64.b64encode(f"any:{sandbox.mailchimp_key}".encode()).decode()
    wire = HttpClient("Mailchimp", sandbox.mailchimp_url, {"Authorization": f"Basic {credentials}"})
    mailchimp = MailchimpClient(wire, RetryPolicy(), ConnectionLimit(10))
    members = list(mailchimp.first_page(sandbox.list_key, "listed", None, 10).members)
    decoded = threading.Event()
    waited: list[bool] = []
    sandbox.settings.fault = lambda one: waited.append(decoded.wait(10)) if one.path.endswith("/tags") else None

    def decode_another() -> None:
        with decode_slot.held():
            decoded.set()

    rules = ContactRules(sandbox.list_key)
    converter = RunConverter(
        mailchimp, LazyListFields(mailchimp, sandbox.list_key), rules, EventBudget(0, 0, ()), print
    )
    with decode_slot.held():
        threading.Thread(target=decode_another, daemon=True).start()
        with converter.fetch_missing_tags(members) as late:
            (whole,) = late()
    wire.close()
    assert waited == [True]
    assert whole.contact_id == person["contact_id"]
    assert len(whole.tags) == 60


def test_a_stop_does_not_wait_for_hundreds_of_members_tags(make_importer: MakeImporter) -> None:
    """What was not asked for yet is not; the page is read again by the next sync, which brings everybody."""
    importer = make_importer(latency=0.02)
    for number in range(200):
        importer.sandbox.audience().add(email_address=f"m{number}@example.com", **tagged(60))
    child = subprocess.Popen(importer.command("sync"), stderr=subprocess.PIPE)
    importer.sandbox.settings.fault = lambda one: child.terminate() if one.path.endswith("/tags") else None
    child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert len(asked(importer, "/tags")) < 100
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize("fault", ["401", "403", "404"])
def test_tags_that_may_not_be_read_are_no_reason_to_fail(make_importer: MakeImporter, fault: str) -> None:
    """The contacts go through without them; `preview` shows its members all the same."""
    importer = make_importer(size=60)
    member = importer.sandbox.audience().add(email_address="many@example.com", **tagged(60))
    importer.sandbox.settings.fault = lambda one: fault if one.path.endswith("/tags") else None
    assert importer("sync").code == 0
    assert "mailchimp_tags" not in contact_of(importer, member)["properties"]
    assert importer("preview", importer.sandbox.list_key, "--member", member["contact_id"]).code == 0


def test_a_member_deleted_before_their_tags_were_read_is_no_failure(make_importer: MakeImporter) -> None:
    """A 404 for the tags of one member says nothing of the others."""
    importer = make_importer()
    audience = importer.sandbox.audience()
    members = [audience.add(email_address=f"m{number}@example.com", **tagged(60)) for number in range(6)]
    importer.sandbox.settings.after_page = lambda crowd: crowd.delete(5, who=members[:5])
    assert importer("sync").code == 0
    assert len(contact_of(importer, members[5])["properties"]["mailchimp_tags"]) == 60


# ---- subscription events


def test_a_first_sync_causes_no_subscription_event(make_importer: MakeImporter) -> None:
    """Years of history, brought in at once, welcome nobody; and nothing has to be counted for that."""
    importer = make_importer(size=600)
    result = importer("sync", "--json")
    assert result.line["subscription_events"] == 0
    assert importer.sandbox.subscription_events().total() == 0
    again = importer("sync", "--full", "--json")
    assert (again.line["subscription_events"], importer.sandbox.subscription_events().total()) == (0, 0)


def test_new_subscribers_are_welcomed_and_counted_in_the_summary(make_importer: MakeImporter) -> None:
    """Who opted in after the first sync began is sent with the time, once; the summary says how many there were."""
    importer = make_importer(size=300)
    importer("sync")
    time_passes(600)
    new = [
        one for one in importer.sandbox.audience().join(12) if one["status"] == "subscribed" and one["email_address"]
    ]
    result = importer("sync", "--json")
    assert result.line["subscription_events"] == len(new) > 0
    assert importer.sandbox.subscription_events().total() == len(new)
    assert f"{len(new)} subscription event" in result.err


def test_who_comes_back_from_the_archive_is_not_welcomed_afresh(make_importer: MakeImporter) -> None:
    """Their `timestamp_opt` is as old as it was."""
    importer = make_importer(size=500)
    importer("sync")
    time_passes(600)
    importer.sandbox.audience().unarchive(8)
    result = importer("sync", "--json")
    assert result.line["contacts_pushed"] >= 8
    assert result.line["subscription_events"] == 0


@pytest.mark.parametrize(("limit", "is_caused"), [(59, False), (60, True)])
def test_more_events_than_the_welcome_limit_are_none(
    make_importer: MakeImporter, limit: int, *, is_caused: bool
) -> None:
    """An imported file is no crowd of subscribers: counted beforehand, and said."""
    importer = make_importer(size=300)
    importer.configure(CONFIG + f"ometria.welcome_limit = {limit}\nmailchimp.window = 20\n")
    importer("sync")
    time_passes(600)
    now = importer.sandbox.clock.second()
    for number in range(60):
        importer.sandbox.audience().add(email_address=f"m{number}@example.com", timestamp_opt=iso(now))
    time_passes(60)
    result = importer("sync", "--json")
    assert result.code == 0
    assert importer.sandbox.subscription_events().total() == (60 if is_caused else 0)
    assert result.line["subscription_events"] == (60 if is_caused else 0)
    assert ("this run would cause 60 subscription events, more than the welcome_limit of 59" in result.err) is (
        not is_caused
    )
    assert imported_ids(importer) == expected_ids(importer)


def test_a_silenced_run_ends_together_with_what_it_keeps_from_being_announced_later(
    make_importer: MakeImporter,
) -> None:
    """A death between the two would let the next run's overlap welcome whom this one did not: neither is on record."""
    importer = make_importer(size=20)
    importer.configure(CONFIG + "ometria.welcome_limit = 50\n")
    importer("sync")
    time_passes(600)
    imported(importer, 60)
    with closing(sqlite3.connect(importer.db)) as state:
        state.execute("CREATE TRIGGER dies BEFORE UPDATE OF new_since ON lists BEGIN SELECT RAISE(ABORT, 'died'); END")
    assert importer("sync").code == 1
    with closing(sqlite3.connect(importer.db)) as state:
        assert state.execute("SELECT status FROM runs ORDER BY id DESC").fetchone() != ("completed",)
        state.execute("DROP TRIGGER dies")
    assert importer("sync").code == 0
    assert importer.sandbox.subscription_events().total() == 0


def imported(importer: Importer, count: int, **fields: Any) -> None:
    """Somebody imports a file: so many opt in at once."""
    now = iso(importer.sandbox.clock.second())
    for number in range(count):
        own = {"email_address": f"f{number}@example.com", "timestamp_opt": now, "timestamp_signup": now}
        importer.sandbox.audience().add(**own | fields)
    time_passes(3_600)


AT_MOST_50 = CONFIG + "ometria.welcome_limit = 50\n"


def welcomed_of_a_file_left_out(importer: Importer, *later: str) -> int:
    """`--since now` leaves an imported file out on purpose; what does a later sync make of it?"""
    importer.configure(AT_MOST_50)
    importer("sync")
    time_passes(600)
    imported(importer, 80)
    importer("sync", "--since", "now")
    time_passes(86_400)
    assert importer("sync", *later).code == 0
    return importer.sandbox.subscription_events().total()


@pytest.mark.parametrize("later", [("--full",), ("--since", "3d"), ()], ids=" ".join)
def test_who_was_left_out_on_purpose_is_not_welcomed_later(make_importer: MakeImporter, later: tuple[str, ...]) -> None:
    """They opted in before the sync point: that moment is over."""
    assert welcomed_of_a_file_left_out(make_importer(size=200), *later) == 0


def test_letters_that_are_taken_along_are_counted_too(make_importer: MakeImporter) -> None:
    """An outage leaves a file's span behind; the sync that takes it along welcomes no more than the limit."""
    importer = make_importer(size=200)
    importer.configure(AT_MOST_50 + "mailchimp.window = 30\nometria.batch = 30\n")
    importer("sync")
    time_passes(600)
    imported(importer, 80)
    importer.sandbox.settings.fault = lambda one: "500" if one.path.endswith("/push") and one.nth > 8 else None
    assert importer("sync").code in (1, 3)
    importer.sandbox.settings.fault = None
    time_passes(3_600)
    for _ in range(3):
        importer("sync")
    assert imported_ids(importer) == expected_ids(importer)
    assert importer.sandbox.subscription_events().total() <= 50


@pytest.mark.parametrize("later", [("sync",), ("dlq", "replay")], ids=" ".join)
def test_what_a_run_did_not_announce_is_not_announced_by_its_letters_or_the_overlap(
    make_importer: MakeImporter, later: tuple[str, ...]
) -> None:
    """A file of more than the limit causes no events, and neither does whatever of it comes a little later."""
    importer = make_importer(size=200)
    importer.configure(AT_MOST_50 + "mailchimp.window = 30\n")
    importer("sync")
    time_passes(600)
    imported(importer, 80)
    time_passes(-3_570)  # so that the next run's overlap holds some of them
    importer.sandbox.settings.fault = lambda one: "500" if one.path.endswith("/push") and 4 < one.nth < 30 else None
    importer("sync")
    importer.sandbox.settings.fault = None
    time_passes(60)
    importer(*later)
    importer("sync")
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert importer.sandbox.subscription_events().total() == 0


def refuses(importer: Importer, *members: Any) -> None:
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{one['contact_id']}" for one in members}


@pytest.mark.parametrize("later", [(), ("--full",)], ids=["changes", "full"])
def test_who_was_never_sent_is_still_new_when_they_are(make_importer: MakeImporter, later: tuple[str, ...]) -> None:
    """A new subscriber whom Ometria refused at first: welcomed when they are taken, though the sync point moved on."""
    importer = make_importer(size=100)
    importer("sync")
    time_passes(600)
    new = importer.sandbox.audience().add(email_address="new@example.com")
    refuses(importer, new)
    time_passes(60)
    assert importer("sync").code == 3
    refuses(importer)
    time_passes(7_200)
    importer("sync")
    importer.sandbox.audience().change(who=[new])
    time_passes(60)
    assert importer("sync", *later).code == 0
    assert importer.sandbox.subscription_events().total() == 1
    assert importer("dlq", "list", "--json").lines == []


def test_a_replay_of_one_new_subscriber_welcomes_them(make_importer: MakeImporter) -> None:
    """However many opted in since the first sync: it is the letter's span that counts."""
    importer = make_importer(size=100)
    importer.configure(AT_MOST_50)
    importer("sync")
    for _ in range(3):
        time_passes(600)
        imported(importer, 30)
        importer("sync")
    before = importer.sandbox.subscription_events().total()
    assert before == 90
    late = importer.sandbox.audience().add(email_address="late@example.com")
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{late['contact_id']}"}
    time_passes(3_600)
    assert importer("sync").code == 3
    importer.sandbox.settings.rejects = set()
    assert importer("dlq", "replay").code == 0
    assert importer.sandbox.subscription_events().total() == before + 1


@pytest.mark.parametrize("knobs", [{"count_lies": -60}, {}], ids=["counts lie low", "no time of opting in"])
def test_no_more_than_the_limit_are_welcomed_whatever_is_counted(
    make_importer: MakeImporter, knobs: dict[str, Any]
) -> None:
    """Counts lie, and some members tell only when they signed up: the limit holds all the same, and is named."""
    importer = make_importer(size=200)
    importer.configure(AT_MOST_50)
    importer("sync")
    time_passes(600)
    imported(importer, 80, **({} if knobs else {"timestamp_opt": ""}))
    for name, value in knobs.items():
        setattr(importer.sandbox.settings, name, value)
    result = importer("sync")
    assert importer.sandbox.subscription_events().total() <= 50
    assert "welcome_limit" in result.err
    assert imported_ids(importer) >= expected_ids(importer)


def test_a_first_sync_of_a_server_without_a_clock_welcomes_nobody(make_importer: MakeImporter) -> None:
    """When it began is known to within minutes: who opted in just before is history."""
    importer = make_importer(size=100, no_date=True)
    imported(importer, 40)
    importer.sandbox.settings.clock_skew = 0
    importer("sync")
    assert importer.sandbox.subscription_events().total() == 0


def test_a_small_run_is_not_counted(make_importer: MakeImporter) -> None:
    """Fewer members than the limit cannot cause more events than it: no request for that."""
    importer = make_importer(size=300)
    importer("sync")
    time_passes(600)
    importer.sandbox.audience().join(5)
    importer.sandbox.clear_requests()
    importer("sync")
    assert not [one for one in importer.sandbox.requests if "since_timestamp_opt" in one.query]


def test_all_events_of_a_first_sync_are_held_to_the_limit_too(make_importer: MakeImporter) -> None:
    """`subscription_events = "all"` on a list larger than the limit causes none, until the limit says otherwise."""
    importer = make_importer(size=300)
    importer.configure(CONFIG + 'ometria.subscription_events = "all"\nometria.welcome_limit = 100\n')
    result = importer("sync")
    assert "more than the welcome_limit of 100" in result.err
    assert importer.sandbox.subscription_events().total() == 0
    other = make_importer(size=300)
    other.configure(CONFIG + 'ometria.subscription_events = "all"\n')
    other("sync")
    dated = [one for one in other.sandbox.contacts().values() if "timestamp_subscribed" in one]
    assert other.sandbox.subscription_events().total() == len(dated) > 100


def test_a_number_of_events_that_cannot_be_had_is_no_welcome(make_importer: MakeImporter) -> None:
    """Mailchimp does not answer the count: nobody is welcomed, and that is said."""
    importer = make_importer(size=300)
    importer.configure(CONFIG + 'ometria.subscription_events = "all"\nometria.welcome_limit = 100\n')
    importer.sandbox.settings.fault = lambda one: "500" if one.query.get("fields") == "total_items" else None
    result = importer("sync")
    assert result.code == 0
    assert "did not say how many subscription events" in result.err
    assert importer.sandbox.subscription_events().total() == 0
    assert imported_ids(importer) == expected_ids(importer)


# ---- the list's own fields


def test_the_lists_fields_are_read_once_a_run(make_importer: MakeImporter) -> None:
    """However many pages and workers there are, and not at all where there is nobody to convert."""
    importer = make_importer(size=400)
    importer.configure(CONFIG + "mailchimp.window = 20\n")
    importer("sync")
    assert len(asked(importer, "/merge-fields")) == 1
    time_passes(600)
    importer("sync")
    importer.sandbox.clear_requests()
    importer("sync")
    assert asked(importer, "/merge-fields") == []


def test_an_interest_that_was_added_meanwhile_is_read_anew_once(make_importer: MakeImporter) -> None:
    """Its name arrives with the member who chose it; one that the list does not name even then costs nothing more."""
    importer = make_importer(size=300)
    importer.configure(CONFIG + "mailchimp.window = 20\n")
    audience = importer.sandbox.audience()
    new = audience.add(email_address="new@example.com", interests={"5e11": True})
    for number in range(30):
        audience.add(email_address=f"m{number}@example.com", interests={"0dd0": True})

    def adds_it(request: Request) -> None:
        if request.path.endswith("/interests"):
            importer.sandbox.settings.more_interests = (
                {"5e11": "Sales"} if len(asked(importer, "/merge-fields")) > 1 else {}
            )

    time_passes(60)
    importer.sandbox.settings.fault = adds_it
    result = importer("sync")
    assert result.code == 0
    assert contact_of(importer, new)["properties"]["mailchimp_interests"] == ["Sales"]
    assert len(asked(importer, "/merge-fields")) == 2
    assert "an interest that the list does not define" in result.err


def test_a_second_reading_of_the_fields_that_fails_stops_nobody(make_importer: MakeImporter) -> None:
    """One unknown interest: the page goes through with what was read first."""
    importer = make_importer(size=60)
    importer.sandbox.audience().add(email_address="new@example.com", interests={"0dd0": True})
    importer.sandbox.settings.fault = lambda one: "403" if one.path.endswith("/merge-fields") and one.nth else None
    result = importer("sync")
    assert result.code == 0
    assert "an interest that the list does not define" in result.err
    assert imported_ids(importer) == expected_ids(importer)


def test_a_field_that_was_made_again_with_another_type_stops_nobody(make_importer: MakeImporter) -> None:
    """Values of the old type do not fit: they are left out without a guess, and the contacts go through."""
    importer = make_importer(size=300, more_fields={"SIZE": "number", "SINCE": "address", "FNAME": "number"})
    result = importer("sync")
    assert result.code == 0
    assert imported_ids(importer) == expected_ids(importer)
    held = importer.sandbox.contacts().values()
    assert not [one for one in held if isinstance(one["properties"].get("size"), str)]
    assert not [one for one in held if "since" in one["properties"]]


# ---- what is said of the mapping


@pytest.mark.parametrize(
    "change", ['[fields]\nSIZE = "properties.dress_size"\n', '[consent]\ncleaned = "unspecified"\n']
)
def test_a_changed_mapping_is_noticed_until_a_full_sync(make_importer: MakeImporter, change: str) -> None:
    """Once a run, with the command that brings everybody up to date; after it nothing is said any more."""
    importer = make_importer(size=200)
    importer("sync")
    assert FULL not in importer("sync").err
    importer.configure(CONFIG + change.replace("[", "[clients.acme."))
    for _ in range(2):
        told = importer("sync").err
        assert told.count(f"{FULL} {importer.sandbox.list_key}") == 1
    assert FULL not in importer("sync", "--full").err
    assert FULL not in importer("sync").err


@pytest.mark.parametrize(
    "line", ['FNAME = "firstname"', 'lname = "lastname"', 'POSTCODE = "properties.postcode"'], ids=str
)
def test_a_line_that_changes_nothing_is_no_change(make_importer: MakeImporter, line: str) -> None:
    """Who pastes what `preview` prints has changed nothing."""
    importer = make_importer(size=100)
    importer("sync")
    importer.configure(CONFIG + f"[clients.acme.fields]\n{line}\n")
    assert FULL not in importer("sync").err


def test_a_list_that_began_without_its_history_has_a_mapping_too(make_importer: MakeImporter) -> None:
    """`--since now` imports nobody; a change of the mapping afterwards is still noticed."""
    importer = make_importer(size=200)
    importer("sync", "--since", "now")
    assert FULL not in importer("sync").err
    importer.configure(CONFIG + '[clients.acme.fields]\nSIZE = ""\n')
    assert FULL in importer("sync").err


def test_forcing_is_warned_of_at_each_run(make_importer: MakeImporter) -> None:
    """By name only, and never in silence."""
    importer = make_importer(size=50)
    importer("sync")
    assert not [one for one in importer.sandbox.contacts().values() if "@force_optin" in one]
    importer.configure(CONFIG + "ometria.force_optin = true\n")
    for _ in range(2):
        assert "force_optin is on" in importer("sync", "--full").err
    forced = {one["marketing_optin"] for one in importer.sandbox.contacts().values() if one.get("@force_optin")}
    assert forced == {IN, OUT}


KNOWN = ListFields(
    {
        tag: MergeField(tag, kind)
        for tag, kind in {
            "FNAME": "text",
            "LNAME": "text",
            "ADDRESS": "address",
            "PHONE": "phone",
            "BIRTHDAY": "birthday",
            "COUNTRY": "dropdown",
            "POINTS": "number",
            "SINCE": "date",
            "SIZE": "radio",
            "SHOP": "url",
            "PHOTO": "imageurl",
            "POSTCODE": "zip",
            "MMERGE13": "text",
        }.items()
    }
)
DIGEST_OF_MAPPING = (2, "08514be50c984aef")


def test_another_mapping_has_another_number(make_importer: MakeImporter) -> None:
    """A change of what a member becomes raises MAPPING_VERSION, so each list says so; then the digest is renewed."""
    importer = make_importer(size=600, start=1_780_000_000, permissions=PERMISSIONS)
    convert = make_converter(KNOWN, ContactRules(list_key=importer.sandbox.list_key))
    digest = sha256()
    for person in importer.sandbox.audience().members:
        member = msgspec.convert({name: person.get(name) for name in Member.__struct_fields__}, Member)
        converted = convert(member)
        record = encode_contact(converted.contact) if isinstance(converted, Converted) else repr(converted).encode()
        assert isinstance(record, bytes)
        digest.update(record)
    assert (MAPPING_VERSION, digest.hexdigest()[:16]) == DIGEST_OF_MAPPING


# ---- seven planted members


def test_seven_planted_members_give_exactly_the_contacts_that_are_promised(make_importer: MakeImporter) -> None:
    """Mixed case and blanks, cleaned, pending, an unknown status, no @, 70 KB, accents and emoji."""
    importer = make_importer(size=90)
    audience = importer.sandbox.audience()
    plain: dict[str, Any] = {"merge_fields": {"FNAME": "Ada"}, "interests": {}, "tags": [], "location": {}}
    cased = audience.add(**plain | {"email_address": "Ada.Moreno@Example.COM "})
    cleaned = audience.add(**plain, email_address="cleaned@example.com", status="cleaned")
    pending = audience.add(**plain, email_address="pending@example.com", status="pending")
    unknown = audience.add(**plain, email_address="unknown@example.com", status="nonsubscribed")
    without = audience.add(**plain, email_address="no.at.sign")
    large = audience.add(**plain | {"email_address": "large@example.com", "merge_fields": {"MMERGE13": "x" * 70_000}})
    accents = audience.add(**plain | {"email_address": "zoe@example.com", "merge_fields": {"FNAME": "Zo\u00eb 🌻"}})
    result = importer("sync", "--json")
    assert (result.code, result.line["contacts_rejected"]) == (3, 2)
    assert contact_of(importer, cased)["email"] == "Ada.Moreno@Example.COM"
    assert contact_of(importer, cased)["marketing_optin"] == IN
    assert contact_of(importer, cleaned)["marketing_optin"] == OUT
    assert contact_of(importer, cleaned)["timestamp_unsubscribed"] == cleaned["last_changed"]
    assert contact_of(importer, pending)["marketing_optin"] == NEITHER
    assert contact_of(importer, unknown)["marketing_optin"] == NEITHER
    assert "unknown status: nonsubscribed" in result.err
    assert contact_of(importer, accents)["firstname"] == "Zo\u00eb 🌻"
    letters = {one["member_id"]: one["reason"] for one in importer("dlq", "list", "--json").lines}
    assert letters == {without["contact_id"]: "unusable address", large["contact_id"]: "larger than 60,000 bytes"}
    assert expected_ids(importer) - imported_ids(importer) == set(letters)
    assert importer.sandbox.push_errors() == []


def test_a_member_who_was_mended_is_fetched_afresh_by_a_replay(make_importer: MakeImporter) -> None:
    """The letter of an unusable address closes once the address is right."""
    importer = make_importer(size=50)
    audience = importer.sandbox.audience()
    wrong = audience.add(email_address="no.at.sign", last_changed="2026-01-05T08:00:00+00:00")
    assert importer("sync").code == 3
    assert importer("dlq", "replay").code == 3
    audience.change_address(who=[wrong])
    assert importer("dlq", "replay").code == 0
    assert wrong["contact_id"] in imported_ids(importer)


# ---- a dry run


def test_a_dry_run_ends_with_a_table_of_what_would_be(make_importer: MakeImporter) -> None:
    """Opted in, out, neither; without country, phone, name, address; who cannot be sent, and why. Nothing is pushed."""
    importer = make_importer(size=800)
    importer.sandbox.audience().add(email_address="no.at.sign")
    result = importer("sync", "--dry-run", "--json")
    assert result.code == 3
    assert importer.sandbox.contacts() == {}
    assert importer("sync").code == 3
    held = list(importer.sandbox.contacts().values())
    by_consent = Counter(one["marketing_optin"] for one in held)
    line = result.line
    assert (line["opted_in"], line["opted_out"]) == (by_consent[IN], by_consent[OUT])
    assert line["without"] == {
        "country": sum("country_id" not in one for one in held),
        "phone": sum("phone_number" not in one for one in held),
        "name": sum("firstname" not in one and "lastname" not in one for one in held),
    }
    assert line["unsendable"] == {"unusable address": 1}
    heads, row = result.err.splitlines()[-4:-2]
    numbers = [int(word.replace(",", "")) for word in row.split()[2:]]
    assert heads.split()[:3] == ["list", "opted", "in"]
    assert numbers == [
        *(by_consent[IN], by_consent[OUT], by_consent[NEITHER], 0),
        *(line["without"]["country"], line["without"]["phone"], line["without"]["name"]),
        *(line["members_skipped"], 1),
    ]
    assert "1 member cannot be sent: unusable address" in result.err


# ---- preview


def test_preview_says_how_many_subscription_events_the_next_sync_would_cause(make_importer: MakeImporter) -> None:
    """None before the first sync; those who opted in since, afterwards."""
    importer = make_importer(size=100)
    words = "Subscription events that the next sync would cause (each can start a welcome campaign): "
    assert f"{words}0\n" in importer("preview", importer.sandbox.list_key).out
    importer("sync")
    time_passes(600)
    new = [one for one in importer.sandbox.audience().join(12) if one["status"] == "subscribed"]
    assert f"{words}{len(new)}\n" in importer("preview", importer.sandbox.list_key).out
    document = importer("preview", importer.sandbox.list_key, "--json").lines[-1]
    assert document["subscription_events"] == len(new)


def test_preview_shows_interests_and_all_tags(make_importer: MakeImporter) -> None:
    """The names of interests and where they go; of a member with many tags, every one."""
    importer = make_importer()
    member = importer.sandbox.audience().add(email_address="many@example.com", **tagged(60))
    shown = importer("preview", importer.sandbox.list_key, "--json")
    assert len(shown.lines[0]["contact"]["properties"]["mailchimp_tags"]) == 60
    assert len(shown.lines[-1]["interests"]) > 3
    assert shown.lines[-1]["interests"][0] in importer("preview", importer.sandbox.list_key).out
    one = importer("preview", importer.sandbox.list_key, "--member", member["contact_id"], "--json").lines[0]
    assert one["contact"]["properties"]["mailchimp_tags"][-1] == "segment 59"


def test_preview_warns_above_a_hundred_custom_fields_of_a_type(make_importer: MakeImporter) -> None:
    """Ometria holds no more of them; at a hundred there is nothing to say."""
    importer = make_importer(
        more_fields={f"NUM{n}": "number" for n in range(98)}
    )  # POINTS and the rating are the others
    words = "custom fields of type number, but Ometria allows 100"
    assert words not in importer("preview", importer.sandbox.list_key).out
    importer.sandbox.settings.more_fields["ONEMORE"] = "number"
    assert f"101 {words}" in importer("preview", importer.sandbox.list_key).out
