"""A no in Ometria that neither a yes nor another no may touch: looked up where what is sent depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter
from passing import time_passes

from engine.distributed.test_executor import page_message, workplace
from mcimport.config import load
from mcimport.engine.distributed.messages import Processed
from mcimport.engine.page import held
from mcimport.engine.page.held import HeldLookups
from mcimport.models import Contact, LookUps
from mcimport.models.timestamps import iso
from mcimport.sandbox.request_log import max_in_any_second
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.ometria import contacts

IN, OUT, NEITHER = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"


def planted(importer: Importer, status: str = "subscribed", **fields: Any) -> Any:
    number = len(importer.sandbox.audience().members)
    return importer.sandbox.audience().add(
        **{"email_address": f"m{number}@example.com", "contact_id": f"{number + 1:032x}", "status": status, **fields}
    )


def key_of(importer: Importer, member: Any) -> tuple[str, str]:
    return "mailchimp", f"{importer.sandbox.list_key}-{member['contact_id']}"


def contact_of(importer: Importer, member: Any) -> dict[str, Any]:
    """What Ometria holds of a member."""
    return importer.sandbox.contacts()[key_of(importer, member)]


def last_change(importer: Importer, member: Any) -> str:
    found = importer.sandbox.audience().find(member["contact_id"])
    assert found is not None
    return str(found["last_changed"])


def become(importer: Importer, member: Any, status: str, **fields: Any) -> None:
    """A later change, as Mailchimp dates it."""
    time_passes(100)
    audience = importer.sandbox.audience()
    audience.change(who=[member])
    audience.edit_unseen(member, status=status, **fields)


# ---- [consent] keep


@pytest.mark.parametrize("status", ["cleaned", "archived", "pending", "transactional"])
@pytest.mark.parametrize("before", [IN, OUT])
def test_keep_leaves_a_consent_as_ometria_has_it(make_importer: MakeImporter, status: str, before: str) -> None:
    """Whatever that is, nothing is asked, no time of leaving is sent, and the summary calls it neither."""
    importer = make_importer()
    member = planted(importer)
    importer.configure(CONFIG + f'consent.{status} = "keep"\nometria.force_optin = true\n')
    assert importer("sync").code == 0
    importer.sandbox.store_contacts(
        [{"id": key_of(importer, member)[1], "marketing_optin": before, "@force_optin": False}]
    )
    become(importer, member, status)
    result = importer("sync", "--json")
    assert result.code == 0
    held = contact_of(importer, member)
    assert (held["marketing_optin"], held["properties"]["mailchimp_status"]) == (before, status)
    assert (held["@force_optin"], "timestamp_unsubscribed" in held) == (False, False)
    assert (result.line["contacts_pushed"], result.line["opted_in"], result.line["opted_out"]) == (1, 0, 0)
    assert looked_up(importer) == []


# ---- neither yes nor no


NEITHERS = ["pending", "transactional", "invented"]
UNKNOWN = "1 member, neither opted in nor out, could not be looked up in Ometria"


def looked_up(importer: Importer) -> list[str]:
    """Ids of the single contacts that were asked for since the requests were last cleared."""
    return [one.path.rpartition("/")[2] for one in importer.sandbox.requests if "/contacts/" in one.path]


def synced(make_importer: MakeImporter, **knobs: Any) -> tuple[Importer, Any]:
    """A list with one member, whom Ometria has after a first sync; what was asked then is forgotten."""
    importer = make_importer(settling=0.0, **knobs)
    member = planted(importer)
    assert importer("sync").code == 0
    importer.sandbox.clear_requests()
    return importer, member


def in_ometria(importer: Importer, member: Any, optin: str, **fields: Any) -> None:
    importer.sandbox.store_contacts([{"id": key_of(importer, member)[1], "marketing_optin": optin, **fields}])


@pytest.mark.parametrize("status", NEITHERS)
def test_a_no_is_not_lifted_by_a_status_that_is_neither(make_importer: MakeImporter, status: str) -> None:
    """Unsubscribed, then typed into a double opt-in form: all but the consent is brought up to date."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed")
    assert importer("sync").code == 0
    become(importer, member, status)
    result = importer("sync", "--json")
    held = contact_of(importer, member)
    assert (result.code, held["marketing_optin"], held["properties"]["mailchimp_status"]) == (0, OUT, status)
    assert UNKNOWN not in importer("sync").err


@pytest.mark.parametrize("status", NEITHERS)
def test_a_no_that_was_given_to_ometria_is_not_lifted_either(make_importer: MakeImporter, status: str) -> None:
    """Wherever it came from."""
    importer, member = synced(make_importer)
    in_ometria(importer, member, OUT)
    become(importer, member, status)
    assert importer("sync").code == 0
    assert contact_of(importer, member)["marketing_optin"] == OUT
    assert looked_up(importer) == [key_of(importer, member)[1]]


@pytest.mark.parametrize("status", NEITHERS)
def test_a_former_yes_does_not_outlive_its_status(make_importer: MakeImporter, status: str) -> None:
    """Nobody said no, but nobody says yes any more."""
    importer, member = synced(make_importer)
    become(importer, member, status)
    result = importer("sync")
    assert (result.code, contact_of(importer, member)["marketing_optin"]) == (0, NEITHER)
    assert "could not be looked up" not in result.err


def test_who_is_not_in_ometria_comes_to_be_there_as_neither(make_importer: MakeImporter) -> None:
    """A 404 is believed where another contact is found in the same way."""
    importer, _ = synced(make_importer)
    time_passes(100)
    new = planted(importer, "pending")
    result = importer("sync")
    assert (result.code, contact_of(importer, new)["marketing_optin"]) == (0, NEITHER)
    assert "could not be looked up" not in result.err


@pytest.mark.parametrize("why", ["not answered", "500", "html", "429"])
def test_where_it_cannot_be_looked_up_the_summary_counts_who_is_neither(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """They are sent as neither, as ever: a yes must not stay; and somebody has to know what that may have lifted."""
    monkeypatch.setattr(contacts, "BUSY_FOR", 0.0)
    importer, member = synced(make_importer, single_contacts=why != "not answered")
    in_ometria(importer, member, OUT)
    become(importer, member, "pending")
    if why != "not answered":
        importer.sandbox.settings.fault = lambda one: why if "/contacts/" in one.path else None
    result = importer("sync")
    assert (result.code, contact_of(importer, member)["marketing_optin"]) == (0, NEITHER)
    assert UNKNOWN in result.err
    assert not [part for part in ("@example", member["contact_id"]) if part in result.err]


def with_another_ometria(make_importer: MakeImporter) -> tuple[Importer, Importer]:
    """An importer whose Ometria is another sandbox's, which can be away by itself, and that sandbox's importer."""
    importer, other = make_importer(settling=0.0), make_importer(settling=0.0)
    importer.configure(ometria_url=other.sandbox.ometria_url, ometria_key=other.sandbox.ometria_key)
    return importer, other


def test_of_nobody_who_was_not_sent_it_is_said_that_a_no_may_be_lifted(make_importer: MakeImporter) -> None:
    """Where Ometria takes no connection, the next run looks them up again before it sends them."""
    importer, other = with_another_ometria(make_importer)
    member = planted(importer)
    assert importer("sync").code == 0
    become(importer, member, "pending")
    with other.sandbox.offline():
        result = importer("sync", "--json")
    assert (result.code, result.line["warnings"]) == (1, [])
    assert "could not be looked up" not in result.err


def test_who_was_sent_without_an_answer_counts_as_one_whose_no_may_be_lifted(make_importer: MakeImporter) -> None:
    """A connection that breaks after the request says nothing of what Ometria made of it."""
    importer, member = synced(make_importer)
    become(importer, member, "pending")
    importer.sandbox.settings.fault = lambda one: "reset" if "/contacts/" in one.path or one.path == "/push" else None
    assert UNKNOWN in importer("sync").err


def test_a_few_look_ups_that_fail_are_enough(make_importer: MakeImporter) -> None:
    """After three in a row nobody else is asked for, for a while, and everybody is counted."""
    importer = make_importer(settling=0.0)
    members = [planted(importer) for _ in range(50)]
    assert importer("sync").code == 0
    for one in members:
        become(importer, one, "pending")
    importer.sandbox.clear_requests()
    importer.sandbox.settings.fault = lambda one: "500" if "/contacts/" in one.path else None
    result = importer("sync")
    assert "50 members, neither opted in nor out," in result.err
    assert len(looked_up(importer)) <= held.FAILURES + held.AT_ONCE - 1


def test_so_many_are_looked_up_in_a_run_and_no_more(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are sent as neither and counted; the next run has as many again."""
    monkeypatch.setattr(held, "LOOK_UPS", 7)
    importer = make_importer(settling=0.0)
    members = [planted(importer) for _ in range(10)]
    assert importer("sync").code == 0
    importer.configure(CONFIG + "mailchimp.window = 4\n")
    for one in members:
        in_ometria(importer, one, OUT)
        become(importer, one, "pending")
    time_passes(100)
    importer.sandbox.clear_requests()
    result = importer("sync")
    assert len(looked_up(importer)) == 7
    assert "3 members, neither opted in nor out," in result.err
    consents = [contact_of(importer, one)["marketing_optin"] for one in members]
    assert (consents.count(OUT), consents.count(NEITHER)) == (7, 3)


def test_only_those_who_are_looked_up_are_reported(make_importer: MakeImporter) -> None:
    """Not those for whom the run may ask no more: the display counts what takes time."""
    importer = make_importer()
    ids = [f"c{number}" for number in range(5)]
    contacts = [Contact(type_="c", id=one, collection="mailchimp", marketing_optin="NOT_SPECIFIED") for one in ids]
    reported: list[int] = []
    client = load(config=importer.config, environ={}).clients["acme"]
    with ConnectionPool(StopSignal()).open(client) as services:
        lookups = HeldLookups(services.contacts, None, LookUps(3, 0), reported.append)
        assert [lookups.settled(contacts).asked, lookups.settled(contacts).asked] == [LookUps(3, 0), LookUps()]
    assert reported == [3, -1, -1, -1]


def test_a_lists_first_run_asks_of_nobody_what_ometria_holds(make_importer: MakeImporter) -> None:
    """Nobody of the list is there yet, as one page of its contacts shows; everybody is sent as their status says."""
    importer = make_importer(size=300)
    planted(importer, "pending")
    planted(importer, "unsubscribed")
    assert importer("sync").code == 0
    assert {one.path for one in importer.sandbox.requests if one.service == "ometria"} == {"/contacts", "/push"}
    assert looked_up(importer) == []


def test_a_first_run_that_was_cut_off_is_one_when_it_goes_on(make_importer: MakeImporter) -> None:
    """It has carried some already, and none of those whom it still has to carry."""
    importer = make_importer(settling=0.0)
    for number in range(40):
        planted(importer, "pending", last_changed=iso(int(importer.sandbox.clock.now()) - 100_000 + number))
    importer.configure(CONFIG + "mailchimp.window = 10\nmailchimp.connections = 1\n")
    pages = iter(range(100))
    importer.sandbox.settings.fault = lambda one: "403" if one.path == "/push" and next(pages) > 1 else None
    assert importer("sync").code == 1
    assert 0 < len(importer.sandbox.contacts()) < 40
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert len(importer.sandbox.contacts()) == 40
    assert looked_up(importer) == []


def test_a_run_whose_changed_members_are_subscribed_asks_nothing(make_importer: MakeImporter) -> None:
    """And an idle one does not ask Ometria for anything."""
    importer, member = synced(make_importer)
    for _ in range(2):  # the first of them reads once more what lies shortly before the sync point
        importer.sandbox.clear_requests()
        time_passes(1_000)
        assert importer("sync").code == 0
    assert {one.service for one in importer.sandbox.requests} == {"mailchimp"}
    become(importer, member, "subscribed")
    assert importer("sync").code == 0
    assert looked_up(importer) == []


def test_look_ups_keep_the_limit_for_reading(make_importer: MakeImporter) -> None:
    """So many in any second, however many pages are under way; those on the wire may be heard together."""
    importer = make_importer(settling=0.0)
    members = [planted(importer) for _ in range(12)]
    assert importer("sync").code == 0
    importer.configure(CONFIG.replace("reads_per_second = 1000", "reads_per_second = 5") + "mailchimp.window = 3\n")
    for one in members:
        become(importer, one, "pending")
    time_passes(100)
    importer.sandbox.clear_requests()
    assert importer("sync").code == 0
    reads = [one for one in importer.sandbox.requests if one.service == "ometria" and one.method == "GET"]
    assert len(reads) == 12
    assert max_in_any_second((one.at for one in reads), 1.0) <= 5 + held.AT_ONCE


def test_a_dry_run_asks_ometria_nothing(make_importer: MakeImporter) -> None:
    """It pushes nothing, and needs to know nothing."""
    importer, member = synced(make_importer)
    become(importer, member, "pending")
    assert importer("sync", "--dry-run").code == 0
    assert not [one for one in importer.sandbox.requests if one.service == "ometria"]


def test_a_replay_looks_up_too(make_importer: MakeImporter) -> None:
    """Whatever brings a member again must not lift their no."""
    importer, member = synced(make_importer)
    become(importer, member, "pending")
    in_ometria(importer, member, OUT)
    importer.sandbox.settings.rejects = {key_of(importer, member)[1]}
    assert importer("sync").code == 3
    importer.sandbox.settings.rejects = set()
    importer.sandbox.clear_requests()
    assert importer("dlq", "replay").code == 0
    held = contact_of(importer, member)
    assert (held["marketing_optin"], held["properties"]["mailchimp_status"]) == (OUT, "pending")
    assert looked_up(importer) == [key_of(importer, member)[1]]


def test_who_lacks_tags_on_a_page_is_looked_up_too(make_importer: MakeImporter) -> None:
    """Their record comes later than the others of the page, and goes the same way."""
    importer, member = synced(make_importer)
    in_ometria(importer, member, OUT)
    tags = [{"id": number, "name": f"segment {number}"} for number in range(60)]
    become(importer, member, "pending", tags=tags, tags_count=60)
    assert importer("sync").code == 0
    held = contact_of(importer, member)
    assert (held["marketing_optin"], len(held["properties"]["mailchimp_tags"])) == (OUT, 60)


def test_force_is_never_sent_with_a_consent_that_is_neither_or_left_out(make_importer: MakeImporter) -> None:
    """Whatever Ometria holds of the member."""
    importer, member = synced(make_importer)
    importer.configure(CONFIG + "ometria.force_optin = true\n")
    for before in (OUT, IN):
        in_ometria(importer, member, before, **{"@force_optin": False})
        become(importer, member, "pending")
        assert importer("sync").code == 0
        assert contact_of(importer, member)["@force_optin"] is False


# ---- when a no began


def test_the_time_of_a_no_is_sent_when_it_is_new_and_stays_when_the_profile_changes(
    make_importer: MakeImporter,
) -> None:
    """The time of the last change is not that of the no, unless the no is what changed."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed")
    left = last_change(importer, member)
    assert importer("sync").code == 0
    assert contact_of(importer, member)["timestamp_unsubscribed"] == left
    become(importer, member, "unsubscribed", merge_fields={"FNAME": "Later"})
    assert importer("sync").code == 0
    assert (contact_of(importer, member)["firstname"], contact_of(importer, member)["timestamp_unsubscribed"]) == (
        "Later",
        left,
    )


def test_a_first_run_sends_the_time_of_the_last_change(make_importer: MakeImporter) -> None:
    """Nothing better is known of whoever left before."""
    importer = make_importer(settling=0.0)
    gone, bounced = planted(importer, "unsubscribed"), planted(importer, "cleaned")
    assert importer("sync").code == 0
    for one in (gone, bounced):
        assert contact_of(importer, one)["timestamp_unsubscribed"] == one["last_changed"]
    assert looked_up(importer) == []


def test_a_full_sync_does_not_date_anew_whoever_was_carried_before(make_importer: MakeImporter) -> None:
    """Nobody has to be asked for that: what changed up to the sync point was carried with its time."""
    importer = make_importer(settling=0.0)
    member = planted(importer, "unsubscribed")
    time_passes(1_000)
    assert importer("sync").code == 0
    in_ometria(importer, member, OUT, timestamp_unsubscribed="2020-01-01T00:00:00+00:00", firstname="Former")
    importer.sandbox.clear_requests()
    assert importer("sync", "--full").code == 0
    held = contact_of(importer, member)
    assert (held["firstname"] != "Former", held["timestamp_unsubscribed"]) == (True, "2020-01-01T00:00:00+00:00")
    assert looked_up(importer) == []


def test_where_it_cannot_be_told_whether_a_no_is_new_it_goes_without_a_time(make_importer: MakeImporter) -> None:
    """The no itself always goes."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed")
    importer.sandbox.settings.fault = lambda one: "500" if "/contacts/" in one.path else None
    assert importer("sync").code == 0
    held = contact_of(importer, member)
    assert (held["marketing_optin"], "timestamp_unsubscribed" in held) == (OUT, False)


def test_of_many_noes_only_some_are_looked_up_for_their_time(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which leaves as many look-ups as ever for whom a no must not be lifted."""
    monkeypatch.setattr(held, "DATES", 2)
    importer = make_importer(settling=0.0)
    members, form = [planted(importer) for _ in range(5)], planted(importer)
    assert importer("sync").code == 0
    for one in members:
        become(importer, one, "unsubscribed")
    in_ometria(importer, form, OUT)
    become(importer, form, "pending")
    importer.sandbox.clear_requests()
    result = importer("sync")
    found = [contact_of(importer, one) for one in members]
    assert (result.code, {one["marketing_optin"] for one in found}) == (0, {OUT})
    assert sum("timestamp_unsubscribed" in one for one in found) == 2
    assert (len(looked_up(importer)), contact_of(importer, form)["marketing_optin"]) == (3, OUT)
    assert "could not be looked up" not in result.err


def test_a_no_whose_first_delivery_failed_is_replayed_with_its_time(make_importer: MakeImporter) -> None:
    """The sync point has passed it by then, but nobody carried it."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed")
    time_passes(1_000)
    importer.sandbox.settings.rejects = {key_of(importer, member)[1]}
    assert importer("sync").code == 3
    importer.sandbox.settings.rejects = set()
    assert importer("dlq", "replay").code == 0
    left = last_change(importer, member)
    assert contact_of(importer, member)["timestamp_unsubscribed"] == left


# ---- who cannot be sent whole


LARGE = {"merge_fields": {f"F{number}": "x" * 250 for number in range(300)}}


def letters_of(importer: Importer) -> list[dict[str, Any]]:
    return importer("dlq", "list", "--json").lines


def test_the_no_of_somebody_who_is_too_large_arrives_and_the_letter_stays(make_importer: MakeImporter) -> None:
    """Their id, address and consent fit; they are rejected all the same, and somebody has to look, each time."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed", **LARGE)
    for attempts in (1, 2):
        result = importer("sync")
        held = contact_of(importer, member)
        assert (result.code, held["marketing_optin"], held["email"]) == (3, OUT, member["email_address"])
        assert "1 member could not be imported in full, but was opted out" in result.err
        (letter,) = letters_of(importer)
        assert (letter["member_id"], letter["attempts"]) == (member["contact_id"], attempts)
    assert not any(word in result.err for word in (member["email_address"], member["contact_id"]))
    left = last_change(importer, member)
    assert contact_of(importer, member)["timestamp_unsubscribed"] == left


def test_a_first_run_carries_the_no_of_somebody_who_is_too_large(make_importer: MakeImporter) -> None:
    """With the address, so that Ometria takes it; their yes, or neither, is nothing to begin with."""
    importer = make_importer(settling=0.0)
    gone = planted(importer, "unsubscribed", **LARGE)
    planted(importer, "pending", **LARGE)
    planted(importer, "subscribed", **LARGE)
    result = importer("sync", "--json")
    assert (result.code, result.line["contacts_pushed"], result.line["contacts_rejected"]) == (3, 0, 3)
    assert list(importer.sandbox.contacts()) == [key_of(importer, gone)]
    assert contact_of(importer, gone)["timestamp_unsubscribed"] == gone["last_changed"]
    assert looked_up(importer) == []


@pytest.mark.parametrize(("before", "after"), [(OUT, OUT), (IN, NEITHER)])
def test_who_is_too_large_and_neither_loses_a_yes_and_keeps_a_no(
    make_importer: MakeImporter, before: str, after: str
) -> None:
    """By the same look-up as whoever is sent whole."""
    importer, member = synced(make_importer)
    in_ometria(importer, member, before)
    become(importer, member, "pending", **LARGE)
    assert importer("sync").code == 3
    assert contact_of(importer, member)["marketing_optin"] == after
    assert len(letters_of(importer)) == 1


def test_who_is_too_large_and_neither_does_not_come_to_be_in_ometria(make_importer: MakeImporter) -> None:
    """There is nothing to take back."""
    importer, _ = synced(make_importer)
    time_passes(100)
    new = planted(importer, "pending", **LARGE)
    assert importer("sync").code == 3
    assert key_of(importer, new) not in importer.sandbox.contacts()


def test_the_yes_of_somebody_who_is_too_large_is_not_sent(make_importer: MakeImporter) -> None:
    """An opt-in goes with everything that belongs to it, or not at all."""
    importer, member = synced(make_importer)
    in_ometria(importer, member, OUT)
    become(importer, member, "subscribed", **LARGE)
    assert importer("sync").code == 3
    assert contact_of(importer, member)["marketing_optin"] == OUT


@pytest.mark.parametrize("address", ["nobody at all", 17, "a@b"])
def test_a_no_without_a_usable_address_goes_by_its_id_alone(make_importer: MakeImporter, address: Any) -> None:
    """Ometria has the contact, and the address that belongs to it."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed", email_address=address)
    assert importer("sync").code == 3
    held = contact_of(importer, member)
    assert (held["marketing_optin"], held["email"]) == (OUT, member["email_address"])


def test_a_no_without_an_address_is_not_sent_of_whom_ometria_does_not_have(make_importer: MakeImporter) -> None:
    """Not in a first run, and not later: it would be dropped without a word."""
    importer = make_importer(settling=0.0)
    planted(importer)
    never = [planted(importer, "unsubscribed", email_address="nobody at all")]
    assert importer("sync").code == 3
    time_passes(100)
    never.append(planted(importer, "unsubscribed", email_address="nobody either"))
    assert importer("sync").code == 3
    asked_for = {one for request in importer.sandbox.requests for one in request.ids}
    assert not asked_for & {key_of(importer, one)[1] for one in never}


def test_who_is_too_large_and_refuses_text_messages_gets_none(make_importer: MakeImporter) -> None:
    """Any status for them but `subscribed` is none that permits them."""
    importer, member = synced(make_importer)
    in_ometria(importer, member, IN, channels={"sms": {"allow_marketing": True}})
    become(importer, member, "unsubscribed", **LARGE, sms_subscription_status="unsubscribed", sms_phone_number="")
    assert importer("sync").code == 3
    assert contact_of(importer, member)["channels"] == {"sms": {"allow_marketing": False}}


def test_a_no_that_ometria_refuses_makes_no_second_letter(make_importer: MakeImporter) -> None:
    """The member has one; the summary says that the no did not arrive either."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed", **LARGE)
    importer.sandbox.settings.rejects = {key_of(importer, member)[1]}
    result = importer("sync")
    assert (result.code, len(letters_of(importer))) == (3, 1)
    assert "could not be imported in full, nor opted out: Ometria refused the record" in result.err
    assert "larger than 60,000 bytes" in letters_of(importer)[0]["reason"]


def test_the_no_of_somebody_whose_record_ometria_refuses_arrives_and_the_letter_stays(
    make_importer: MakeImporter,
) -> None:
    """What it refuses is the name, say, and not the consent."""
    importer, member = synced(make_importer)
    importer.sandbox.settings.rejects_record = lambda record: record.get("firstname") == "Refused"
    become(importer, member, "unsubscribed", merge_fields={"FNAME": "Refused"})
    result = importer("sync")
    assert (result.code, len(letters_of(importer))) == (3, 1), result.err
    assert "but was opted out" in result.err
    assert contact_of(importer, member)["marketing_optin"] == OUT


def test_the_yes_of_somebody_whose_record_ometria_refuses_is_not_sent(make_importer: MakeImporter) -> None:
    """Nobody is opted in by a record without anything else."""
    importer, member = synced(make_importer)
    in_ometria(importer, member, OUT)
    importer.sandbox.settings.rejects_record = lambda record: record.get("firstname") == "Refused"
    become(importer, member, "subscribed", merge_fields={"FNAME": "Refused"})
    assert importer("sync").code == 3
    assert contact_of(importer, member)["marketing_optin"] == OUT


def test_who_is_too_large_and_subscribed_to_mails_alone_gets_no_text_messages(make_importer: MakeImporter) -> None:
    """A no to text messages is a no, whatever is said of mails, which is left as Ometria has it."""
    importer, member = synced(make_importer)
    become(importer, member, "subscribed", sms_phone_number="+447700900123", sms_subscription_status="subscribed")
    assert importer("sync").code == 0
    assert contact_of(importer, member)["channels"] == {"sms": {"allow_marketing": True}}
    become(importer, member, "subscribed", sms_subscription_status="unsubscribed", **LARGE)
    assert importer("sync").code == 3
    held = contact_of(importer, member)
    assert (held["marketing_optin"], held["channels"]) == (IN, {"sms": {"allow_marketing": False}})


def test_a_no_is_sent_again_when_ometria_was_away(make_importer: MakeImporter) -> None:
    """As whatever else Ometria did not take: the span is read again."""
    importer, member = synced(make_importer)
    become(importer, member, "unsubscribed", **LARGE)
    importer.sandbox.settings.fault = lambda one: "500" if one.path == "/push" else None
    assert importer("sync").code == 3
    assert contact_of(importer, member)["marketing_optin"] == IN
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 3
    assert contact_of(importer, member)["marketing_optin"] == OUT


@pytest.mark.parametrize("force", ["false", "true"])
def test_a_mend_sends_the_no_of_who_cannot_be_sent_whole_with_the_address(
    make_importer: MakeImporter, force: str
) -> None:
    """As a sync does, for whom no sync meets again."""
    importer, member = synced(make_importer)
    importer.configure("[reconcile]\nsettling = 0\n\n" + CONFIG + f"ometria.force_optin = {force}\n")
    time_passes(1_000)
    assert importer("sync").code == 0
    in_ometria(importer, member, IN, email="former@example.com")
    importer.sandbox.audience().edit_unseen(member, status="unsubscribed", **LARGE)
    importer("reconcile", "--force-mend", "--yes")
    held = contact_of(importer, member)
    assert (held["marketing_optin"], held["email"]) == (OUT, member["email_address"])


def test_a_mend_does_not_lift_a_no_either(make_importer: MakeImporter) -> None:
    """Whoever is stale and neither is looked up before they are pushed."""
    importer, member = synced(make_importer)
    importer.configure("[reconcile]\nsettling = 0\n\n" + CONFIG)
    time_passes(1_000)
    assert importer("sync").code == 0
    in_ometria(importer, member, OUT, firstname="Former")
    importer.sandbox.audience().edit_unseen(member, status="pending", merge_fields={"FNAME": "Later"})
    importer("reconcile", "--force-mend", "--yes")
    held = contact_of(importer, member)
    assert (held["marketing_optin"], held["firstname"]) == (OUT, "Later")


# ---- over workers elsewhere


def test_a_worker_looks_up_as_many_as_the_order_allows(make_importer: MakeImporter) -> None:
    """In all pages of a run together; what it has used goes back, and who could not be looked up is counted."""
    importer = make_importer(settling=0.0)
    members = [planted(importer, "pending") for _ in range(5)]
    for one in members:
        in_ometria(importer, one, OUT, email=one["email_address"])
    stop = StopSignal()
    place = workplace(importer, stop)
    page = page_message(importer, look_ups=LookUps(7, 0))
    first, second = place.execute(page), place.execute(page)
    stop.abort()
    assert type(first) is Processed
    assert type(second) is Processed
    assert (first.outcome.looked_up, first.outcome.remarks) == (LookUps(5, 0), ())
    assert (second.outcome.looked_up, second.outcome.remarks) == (LookUps(2, 0), (("consent_unknown", 3),))
    assert len(looked_up(importer)) == 7


def test_a_worker_asks_nothing_in_a_lists_first_run(make_importer: MakeImporter) -> None:
    """As the coordinator says, who has the state file."""
    importer = make_importer(settling=0.0)
    planted(importer, "pending")
    stop = StopSignal()
    place = workplace(importer, stop)
    reply = place.execute(page_message(importer, is_first=True, look_ups=LookUps(7, 7)))
    stop.abort()
    assert type(reply) is Processed
    assert (reply.outcome.pushed, looked_up(importer)) == (1, [])


def test_a_worker_leaves_out_the_time_of_a_no_that_was_carried_before(make_importer: MakeImporter) -> None:
    """By the sync point from which the run began; it is the coordinator's to know."""
    importer = make_importer(settling=0.0)
    member = planted(importer, "unsubscribed")
    stop = StopSignal()
    place = workplace(importer, stop)
    place.execute(page_message(importer, imported_until=2_000_000_000, look_ups=LookUps(7, 7)))
    stop.abort()
    assert (contact_of(importer, member)["marketing_optin"], looked_up(importer)) == (OUT, [])
    assert "timestamp_unsubscribed" not in contact_of(importer, member)
