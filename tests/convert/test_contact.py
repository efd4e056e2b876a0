"""Consent, ids, addresses and sizes of contacts, and what holds for any member whatever."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any, Literal

import email_validator
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcimport.convert import UNKNOWN_FIELD, UNKNOWN_INTEREST, contact_id, encode_contact, make_converter, member_id
from mcimport.convert.email_address import usable
from mcimport.models import (
    Channels,
    Contact,
    ContactRules,
    Conversion,
    Converted,
    ListFields,
    Member,
    MergeField,
    OptIn,
    Skipped,
    SmsChannel,
    Unsendable,
)
from mcimport.models.timestamps import epoch
from mcimport.sandbox.ometria_account import SCHEMA, first_error

RULES = ContactRules(list_key="1a2d7ebf82")
ADA = Member(
    contact_id="C0FFEE01",
    web_id=900000001,
    email_address="ada@example.com",
    status="subscribed",
    last_changed="2026-06-12T14:26:23+00:00",
)
FIRST_SYNC = 1_780_272_000  # 2026-06-01T00:00:00+00:00
BEFORE, AFTER = "2026-05-31T23:59:59+00:00", "2026-06-01T00:00:00+00:00"


def conversion(rules: ContactRules = RULES, fields: ListFields | None = None, **changes: Any) -> Conversion:
    return make_converter(fields or ListFields(), rules)(msgspec.structs.replace(ADA, **changes))


def converted(rules: ContactRules = RULES, fields: ListFields | None = None, **changes: Any) -> Converted:
    found = conversion(rules, fields, **changes)
    assert isinstance(found, Converted)
    return found


@pytest.mark.parametrize(
    ("status", "optin", "left"),
    [
        ("subscribed", "EXPLICITLY_OPTEDIN", False),
        ("unsubscribed", "EXPLICITLY_OPTEDOUT", True),
        ("cleaned", "EXPLICITLY_OPTEDOUT", True),
        ("archived", "EXPLICITLY_OPTEDOUT", False),
        ("pending", "NOT_SPECIFIED", False),
        ("transactional", "NOT_SPECIFIED", False),
    ],
)
def test_each_known_status_is_the_consent_it_stands_for(status: str, optin: OptIn, left: bool) -> None:  # noqa: FBT001 - a column of the table
    """The contract's table, without a warning; only who left by status has a time of leaving."""
    found = converted(status=status)
    assert found.contact.marketing_optin == optin
    assert found.contact.timestamp_unsubscribed == (ADA.last_changed if left else None)
    assert found.contact.properties["mailchimp_status"] == status
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("status", "warning", "kept"),
    [
        ("nonsubscribed", "unknown status: nonsubscribed", "nonsubscribed"),
        ("Subscribed", "unknown status", "Subscribed"),
        ("SUBSCRIBED", "unknown status", "SUBSCRIBED"),
        ("subscribed ", "unknown status", None),
        ("\u200bsubscribed", "unknown status", None),
        ("subscribed\n", "unknown status", None),
        ("&#115;ubscribed", "unknown status", None),
        ("\uff53ubscribed", "unknown status", "\uff53ubscribed"),
        ("ada@example.com", "unknown status", "ada@example.com"),
        ("", "unknown status", None),
        (None, "unknown status", None),
        (True, "unknown status", None),
        (1, "unknown status", None),
        (["subscribed"], "unknown status", None),
        ({"subscribed": True}, "unknown status", None),
    ],
)
def test_any_other_status_is_no_consent_at_all(status: Any, warning: str, kept: str | None) -> None:
    """Compared exactly: an odd spelling is neither yes nor no, and is not trimmed into a known word either."""
    found = converted(status=status)
    assert found.contact.marketing_optin == "NOT_SPECIFIED"
    assert found.contact.properties.get("mailchimp_status") == kept
    assert found.warnings == (warning,)


@pytest.mark.parametrize("status", ["cleaned", "archived", "pending", "transactional"])
@pytest.mark.parametrize(
    ("choice", "optin"), [("out", "EXPLICITLY_OPTEDOUT"), ("unspecified", "NOT_SPECIFIED"), ("keep", None)]
)
def test_a_client_may_choose_what_four_statuses_mean(status: str, choice: str, optin: OptIn | None) -> None:
    """`[consent]` decides: out, unspecified, or left out; the time of leaving goes with an opt-out alone."""
    found = converted(ContactRules(list_key="k", consent={status: choice}), status=status)
    assert found.contact.marketing_optin == optin
    left = status == "cleaned" and choice == "out"
    assert found.contact.timestamp_unsubscribed == (ADA.last_changed if left else None)


@pytest.mark.parametrize("choice", ["out", "unspecified", "keep", "in", "EXPLICITLY_OPTEDIN", "subscribed"])
def test_no_setting_changes_a_yes_or_a_no(choice: str) -> None:
    """Subscribed and unsubscribed are not configurable, and no word in `[consent]` makes an opt-in."""
    statuses = ("subscribed", "unsubscribed", "cleaned", "archived", "pending", "transactional", "new")
    rules = ContactRules(list_key="k", consent=dict.fromkeys(statuses, choice))
    optins = {status: converted(rules, status=status).contact.marketing_optin for status in statuses}
    assert optins["unsubscribed"] == "EXPLICITLY_OPTEDOUT"
    assert [status for status, optin in optins.items() if optin == "EXPLICITLY_OPTEDIN"] == ["subscribed"]


@pytest.mark.parametrize(
    ("events", "new_since", "opted", "signed_up", "expected"),
    [
        ("new", FIRST_SYNC, BEFORE, "", None),
        ("new", FIRST_SYNC, AFTER, "", AFTER),
        ("new", FIRST_SYNC, "", AFTER, AFTER),
        ("new", FIRST_SYNC, "", BEFORE, None),
        ("new", FIRST_SYNC, BEFORE, AFTER, None),
        ("new", FIRST_SYNC, AFTER, BEFORE, AFTER),
        ("new", FIRST_SYNC, "", "", None),
        ("new", None, AFTER, AFTER, None),
        ("all", None, BEFORE, AFTER, BEFORE),
        ("all", FIRST_SYNC, "", BEFORE, BEFORE),
        ("all", FIRST_SYNC, "", "", None),
        ("none", FIRST_SYNC, AFTER, AFTER, None),
    ],
)
def test_history_causes_no_subscription_event(
    events: Literal["new", "all", "none"], new_since: int | None, opted: str, signed_up: str, expected: str | None
) -> None:
    """By default only who opted in since the first sync began; never a time that Mailchimp did not name."""
    rules = ContactRules(list_key="k", subscription_events=events, new_since=new_since)
    found = converted(rules, timestamp_opt=opted, timestamp_signup=signed_up).contact
    assert found.timestamp_subscribed == expected
    assert found.timestamp_acquired == (signed_up or opted or None)
    assert found.properties.get("mailchimp_opted_in") == (opted or None)


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "archived", "pending", "transactional", "Subscribed"])
def test_only_a_subscriber_has_a_time_of_subscribing(status: str) -> None:
    """A filled `timestamp_opt` of anybody else starts nothing."""
    rules = ContactRules(list_key="k", subscription_events="all")
    assert converted(rules, status=status, timestamp_opt=AFTER).contact.timestamp_subscribed is None


def test_times_are_sent_in_utc() -> None:
    """Another offset, or a fraction, is rewritten; what is no time is left out."""
    found = converted(timestamp_opt="2026-06-12T15:12:06.5+02:00", status="cleaned", last_changed="yesterday").contact
    assert found.timestamp_acquired == "2026-06-12T13:12:06+00:00"
    assert found.timestamp_unsubscribed is None


@pytest.mark.parametrize(
    ("is_forced", "status", "expected"),
    [(False, "subscribed", None), (True, "subscribed", True), (True, "cleaned", True), (True, "pending", None)],
)
def test_force_goes_with_a_yes_or_a_no_where_it_was_asked_for(
    is_forced: bool,  # noqa: FBT001 - a column of the table
    status: str,
    expected: bool | None,  # noqa: FBT001 - a column of the table
) -> None:
    """Never by itself, and never with "not specified"."""
    assert converted(ContactRules(list_key="k", force_optin=is_forced), status=status).contact.force_optin is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("subscribed", True),
        *((word, False) for word in ("unsubscribed", "nonsubscribed", "pending", "Subscribed", "opted_in", 7, ["x"])),
    ],
)
def test_sms_consent_is_mailchimps_own_word(status: Any, expected: bool) -> None:  # noqa: FBT001 - a column
    """A yes exactly so spelt; with every other status the number goes with a no."""
    found = converted(sms_phone_number="+447700900123", sms_subscription_status=status).contact
    assert found.phone_number == "+447700900123"
    assert (found.channels.sms.allow_marketing if found.channels and found.channels.sms else None) is expected


@pytest.mark.parametrize("status", ["", " ", None, {}, []])
def test_without_an_sms_status_the_merge_field_is_the_number(status: Any) -> None:
    """A number for text messages that nobody agreed or disagreed to is not used."""
    found = converted(
        sms_phone_number="+447700900123",
        sms_subscription_status=status,
        merge_fields={"TEL": "+34 600 555 012"},
        fields=ListFields(merge_fields={"TEL": MergeField("TEL", "phone")}),
    ).contact
    assert (found.phone_number, found.channels) == ("+34600555012", None)


def test_an_sms_no_needs_no_number() -> None:
    """Who said no to text messages is sent so, though Mailchimp holds no number any more; no other goes with it."""
    found = converted(
        fields=ListFields({"PHONE": MergeField("PHONE", "phone")}),
        merge_fields={"PHONE": "+44 20 7946 0000"},
        sms_phone_number="",
        sms_subscription_status="unsubscribed",
    ).contact
    assert found.phone_number is None
    assert found.properties["phone"] == "+442079460000"
    assert found.channels == Channels(sms=SmsChannel(allow_marketing=False))


def test_sms_consent_never_passes_to_another_number() -> None:
    """Where Mailchimp's number is not valid, the merge field's does not take its place, and a yes to it is a no."""
    found = converted(
        sms_phone_number="12",
        sms_subscription_status="subscribed",
        merge_fields={"TEL": "+34 600 555 012"},
        fields=ListFields(merge_fields={"TEL": MergeField("TEL", "phone")}),
    ).contact
    assert (found.phone_number, found.channels) == (None, Channels(sms=SmsChannel(allow_marketing=False)))
    assert found.properties["mailchimp_sms_phone_number"] == "12"
    assert found.properties["tel"] == "+34600555012"


@pytest.mark.parametrize(
    ("contact", "web", "expected"),
    [
        ("C0FFEE", 7, "c0ffee"),
        (" c0ffee ", 7, "c0ffee"),
        ("", 7, "7"),
        (None, "7", "7"),
        ("ada@example.com", 7, "7"),
        ("Ada Moreno", 7, "7"),
        (12, 7, "7"),
        (["c0ffee"], " 007 ", "7"),
        ("", "", None),
        ("", 0, None),
        ("", "000", None),
        ("", -7, None),
        ("", True, None),
        ("", 7.0, None),
        ("", "+14155550132", None),
        pytest.param("", 10**5000, None, id="a number that no text can hold"),
        ("", {"id": 7}, None),
    ],
)
def test_an_id_is_mailchimps_own_or_none(contact: Any, web: Any, expected: str | None) -> None:
    """`contact_id`, else `web_id`, lower case; what has not the form of an id is not taken for one."""
    member = Member(contact_id=contact, web_id=web)
    assert member_id(member) == expected
    assert contact_id(member, "1A2D") == (None if expected is None else f"1a2d-{expected}")


def test_the_address_is_looked_at_first_then_the_id() -> None:
    """Nobody without an address becomes a dead letter, and nobody without an id is blamed for the address."""
    assert conversion(email_address="", contact_id=None, web_id=None) == Skipped("no address")
    assert conversion(email_address="no", contact_id=None, web_id=None) == Unsendable("no id free of personal data")
    assert conversion(email_address="no") == Unsendable("unusable address")


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "ada@mail.example",
        "ada@host.test",
        "Ada.M+news@Example.CO.uk",
        "o'neil@example.com",
        "ada@b\u00fccher.example",
        "ad\u00e4@example.com",
        "ada@xn--bcher-kva.example",
        "a@x.co",
        "1@1.example",
        "a" * 65 + "@example.com",
    ],
)
def test_a_good_address_is_sent_as_it_is(address: str) -> None:
    """Case, tags and domains in another script stay; reserved documentation domains count as any other.

    The 64 characters that the standard gives the part before the @ are not enforced by all who receive mail.
    """
    assert converted(email_address=f" {address}\u00a0").contact.email == address


@pytest.mark.parametrize(
    "address",
    [
        "ada",
        "ada@",
        "@example.com",
        "ada@localhost",
        "ada@host.local",
        "ada@example..com",
        "ada@-example.com",
        "ada@example-.com",
        "ada@example.com.",
        "ada.@example.com",
        "a..b@example.com",
        "ada moreno@example.com",
        "ada@exam ple.com",
        "Ada <ada@example.com>",
        '"ada m"@example.com',
        "ada@[192.0.2.1]",
        "ada@192.0.2.1",
        "ada@ab--c.example",
        "ada@xn--0.example",
        "ada\u200b@example.com",
        "ada\ud800@example.com",
        "ada\x00@example.com",
        "ada@" + "a" * 64 + ".example",
        "ada@" + "a.example" * 40 + ".com",
        5,
        True,
        ["ada@example.com"],
        {},
    ],
)
def test_a_bad_address_is_a_dead_letter_of_its_own(address: Any) -> None:
    """The reason does not show it."""
    assert conversion(email_address=address) == Unsendable("unusable address")


@given(
    st.from_regex(r"[a-z.+'!-]{1,10}@[A-Za-z0-9.-]{1,20}(\.[a-zA-Z]{2,12})?", fullmatch=True)
    | st.sampled_from(["arpa", "invalid", "Local", "localhost", "ONION", "test"]).map("a@b.{}".format)
    | st.text(st.characters(max_codepoint=127), max_size=12).map("{}@example.com".format)
)
@settings(derandomize=True)
@example("a@b.localhostess")
def test_the_quick_check_of_an_address_agrees_with_the_judge(address: str) -> None:
    """What is passed without asking email-validator is what it would pass."""
    try:
        email_validator.validate_email(address, check_deliverability=False, test_environment=True)
        is_good = True
    except email_validator.EmailNotValidError:
        is_good = False
    assert usable(address) is is_good


def test_a_contact_may_be_as_large_as_ometria_takes_and_no_larger() -> None:
    """60,000 bytes of UTF-8 pass, one more does not."""
    small = Contact(type_="contact", collection="c", id="k-1", email="ada@example.com", marketing_optin="NOT_SPECIFIED")
    text = msgspec.structs.replace(small, properties={"x": ""})
    room = 60_000 - len(msgspec.json.encode(text))
    fits = msgspec.structs.replace(small, properties={"x": "\u00e9" * (room // 2) + "a" * (room % 2)})
    record = encode_contact(fits)
    assert isinstance(record, bytes)
    assert len(record) == 60_000
    too_large = msgspec.structs.replace(small, properties={"x": "\u00e9" * (room // 2) + "a" * (room % 2 + 1)})
    assert encode_contact(too_large) == Unsendable("larger than 60,000 bytes")


def test_seventy_kilobytes_in_one_field_make_one_dead_letter() -> None:
    """The member converts; its record is what cannot be sent."""
    assert encode_contact(converted(merge_fields={"NOTE": "x" * 70_000}).contact) == Unsendable(
        "larger than 60,000 bytes"
    )


def test_tags_go_by_name_and_none_is_said_as_none() -> None:
    """An empty array tells Ometria that a tag was taken away; an absent list tells nothing."""
    tags = [{"id": 1, "name": " spring "}, {"id": 2, "name": "R&amp;D"}, {"id": 3}, "odd", None]
    assert converted(tags=tags, tags_count=5).contact.properties["mailchimp_tags"] == ["spring", "R&D"]
    assert converted(tags=[], tags_count=0).contact.properties["mailchimp_tags"] == []
    assert "mailchimp_tags" not in converted(tags=None).contact.properties
    assert "mailchimp_tags" not in converted(tags=[{"id": 3}]).contact.properties


def test_more_tags_than_are_remembered_are_all_read_right() -> None:
    """Twice over, so that some are remembered and others were forgotten meanwhile."""
    names = [f"&lt;{number}&gt;" for number in range(5_000)]
    for _ in range(2):
        found = converted(tags=[{"name": name} for name in names]).contact.properties["mailchimp_tags"]
        assert found == [f"<{number}>" for number in range(5_000)]


def test_a_cut_list_of_tags_is_never_passed_off_as_whole() -> None:
    """Fewer tags than Mailchimp counts: none is sent, and that is said."""
    found = converted(tags=[{"id": 1, "name": "spring"}], tags_count=2)
    assert "mailchimp_tags" not in found.contact.properties
    assert found.remarks == ("tags_left_out",)


def test_interests_go_by_the_names_of_those_that_are_true() -> None:
    """Each name once; all false is an empty array; one that the list did not name is left out with a warning."""
    fields = ListFields(interests={"a1": "Shoes", "b2": "Hats &amp; caps", "c3": "Shoes"})
    chosen = converted(fields=fields, interests={"a1": True, "b2": True, "c3": True, "d4": False})
    assert chosen.contact.properties["mailchimp_interests"] == ["Shoes", "Hats & caps"]
    assert chosen.warnings == ()
    assert converted(fields=fields, interests={"a1": False}).contact.properties["mailchimp_interests"] == []
    assert "mailchimp_interests" not in converted(fields=fields, interests={}).contact.properties
    new = converted(fields=fields, interests={"d4": True, "a1": "yes"})
    assert "mailchimp_interests" not in new.contact.properties
    assert new.warnings == (UNKNOWN_INTEREST,)


def test_mailchimps_own_traits_become_properties() -> None:
    """With their types; empty ones are left out, odd ones too."""
    found = converted(member_rating=3, vip=False, language="en", source="API - Generic").contact.properties
    assert found == {
        "mailchimp_status": "subscribed",
        "mailchimp_rating": 3,
        "mailchimp_vip": False,
        "mailchimp_language": "en",
        "mailchimp_source": "API - Generic",
    }
    assert list(converted(member_rating="", vip="", language="", source=[]).contact.properties) == ["mailchimp_status"]


def test_nothing_heavy_is_read_before_it_is_needed() -> None:
    """`--help` and an idle sync pay neither for countries nor for phone numbers nor for a resolver."""
    code = (
        "import sys, mcimport.convert\n"
        "print({'phonenumbers', 'pycountry', 'email_validator', 'dns'} & set(sys.modules) or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "none"


class Trap(dict[str, Any]):
    """What no JSON reader makes: stands for a mistake of ours."""

    def items(self) -> Any:
        raise KeyError("ada@example.com")


def test_a_mistake_of_ours_costs_one_member_and_names_nobody() -> None:
    """Whatever is raised becomes a dead letter with the kind of error alone; the others of the page go on."""
    assert conversion(merge_fields=Trap()) == Unsendable("cannot be converted (KeyError)")


# Any JSON at all, and what a JSON reader may leave in memory beyond it: lone surrogates, endless numbers.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from([2**70, -(10**400)]) | st.floats() | TEXTS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
WORDS = st.sampled_from(
    [
        "",
        " ",
        "\u200b",
        "subscribed",
        "Subscribed",
        "subscribed ",
        "unsubscribed",
        "cleaned",
        "archived",
        "US",
        "uk",
        "Germany",
        "+447700900123",
        "07700 900456",
        "\uff0b\uff14\uff14 20 7946 0000",
        "a@b.example",
        "1987-03-09",
        "13/13/2020",
        "04/05",
        "12.5",
        "1,250",
        "f",
        "&amp;#39;",
        "&#0;&#xD800;",
        "x" * 300,
        BEFORE,
        AFTER,
        "9999-12-31T23:59:59-01:00",
    ]
)
ADDRESSES = st.fixed_dictionaries({}, optional=dict.fromkeys(("addr1", "city", "zip", "country"), WORDS | ANYTHING))
KNOWN = tuple(
    MergeField(tag, kind)
    for tag, kind in (
        ("FNAME", "text"),
        ("LNAME", "text"),
        ("SEX", "dropdown"),
        ("BORN", "date"),
        ("TEL", "phone"),
        ("TEL2", "phone"),
        ("ADDRESS", "address"),
        ("LAND", "text"),
        ("POINTS", "number"),
        ("BIRTHDAY", "birthday"),
        ("NEW", "something_new"),
    )
)
TAGS = st.sampled_from([field.tag for field in KNOWN]) | TEXTS
VALUES = WORDS | ADDRESSES | ANYTHING
FIELDS = ListFields(merge_fields={field.tag: field for field in KNOWN}, interests={"a1": "Shoes", "\ud800": "\ud800"})
MAPPING = {"SEX": "gender", "BORN": "date_of_birth", "LAND": "country_id", "POINTS": "properties.points_total"}
LOCATIONS = st.fixed_dictionaries({}, optional={"country_code": WORDS | ANYTHING, "timezone": WORDS | ANYTHING})
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "email_address": st.just("ada@example.com"),
    "web_id": st.integers(1, 10**9),
    "merge_fields": st.dictionaries(TAGS, VALUES, max_size=5),
    "location": LOCATIONS,
    "interests": st.dictionaries(st.sampled_from(["a1", "b2", "\ud800"]) | TEXTS, st.booleans() | ANYTHING, max_size=3),
    "tags": st.lists(st.fixed_dictionaries({"name": WORDS | ANYTHING}) | ANYTHING, max_size=3),
}
MEMBERS = st.builds(
    Member, **{name: USUAL.get(name, WORDS) | WORDS | ANYTHING for name in Member.__struct_fields__ if name != "web_id"}
) | st.builds(Member, **{name: USUAL.get(name, WORDS) for name in Member.__struct_fields__})
ALL_RULES = st.builds(
    ContactRules,
    list_key=st.just("1a2d7ebf82"),
    fields=st.sampled_from([{}, MAPPING]),
    consent=st.dictionaries(WORDS, st.sampled_from(["out", "unspecified", "keep", "in"]), max_size=3),
    subscription_events=st.sampled_from(["new", "all", "none"]),
    force_optin=st.booleans(),
    new_since=st.none() | st.just(FIRST_SYNC),
)

_is_name = re.compile(r"[a-z0-9_]+").fullmatch


def is_fit(value: Any) -> bool:
    """A value that a custom field can hold: no null, nothing empty but a list, no deeper than Mailchimp's address."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(part, str) and part for part in value.values())
    if isinstance(value, list):
        return all(isinstance(part, str) and part for part in value)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and value != "")


@given(MEMBERS, ALL_RULES)
@settings(derandomize=True, max_examples=150)
def test_any_member_whatever_becomes_a_contact_a_skip_or_a_named_reason(member: Member, rules: ContactRules) -> None:
    """Never an exception; and what is sent is JSON that the sandbox's Ometria finds nothing wrong with."""
    found = make_converter(FIELDS, rules)(member)
    if isinstance(found, Unsendable):
        assert found.reason in ("unusable address", "no id free of personal data")
        return
    if isinstance(found, Skipped):
        assert found.reason == "no address"
        return
    record = encode_contact(found.contact)
    assert isinstance(record, bytes)
    sent = json.loads(record.decode("utf-8"))
    assert first_error(sent, is_known=False) is None
    assert set(SCHEMA["required"]) <= sent.keys()
    assert all(_is_name(name) and is_fit(value) for name, value in sent.get("properties", {}).items())
    assert all(isinstance(value, str) and value for name, value in sent.items() if name not in NOT_TEXT)
    assert all(len(sent.get(name, "")) <= 255 for name in ("firstname", "lastname"))
    assert re.fullmatch(r"[A-Z]{2}", sent.get("country_id", "GB"))
    assert re.fullmatch(r"\+[1-9][0-9]{4,14}", sent.get("phone_number", "+442079460000"))
    assert sent.get("gender", "f") in ("m", "f", "o")


NOT_TEXT = ("properties", "channels", "@force_optin")


@given(MEMBERS, ALL_RULES)
@settings(derandomize=True, max_examples=150)
def test_consent_is_never_invented(member: Member, rules: ContactRules) -> None:
    """For no member whatever does anything but exactly `subscribed` yield an opt-in or its time."""
    found = make_converter(FIELDS, rules)(member)
    if not isinstance(found, Converted):
        return
    is_subscribed = isinstance(member.status, str) and member.status == "subscribed"
    is_opted_in = found.contact.marketing_optin == "EXPLICITLY_OPTEDIN"
    shown = member.marketing_permissions
    if isinstance(shown, list | dict) and shown:  # then a yes takes more than the status: see test_consent_permissions
        assert is_subscribed or not is_opted_in
    else:
        assert is_opted_in is is_subscribed
    if found.contact.timestamp_subscribed is not None:
        when = epoch(found.contact.timestamp_subscribed)
        assert is_subscribed
        assert when in (epoch(member.timestamp_opt), epoch(member.timestamp_signup))
        assert rules.subscription_events != "none"
        assert rules.subscription_events == "all" or (rules.new_since is not None and (when or 0) >= FIRST_SYNC)
    if found.contact.channels and found.contact.channels.sms and found.contact.channels.sms.allow_marketing:
        assert member.sms_subscription_status == "subscribed"
        assert found.contact.phone_number is not None


@given(MEMBERS)
@settings(derandomize=True)
@example(Member(contact_id="ada@example.com", email_address="ada@example.com", web_id="ada@example.com"))
def test_an_id_never_holds_an_address(member: Member) -> None:
    """Whatever stands where an id should be."""
    identity = contact_id(member, "1a2d7ebf82")
    assert identity is None or re.fullmatch(r"1a2d7ebf82-[0-9a-z_-]+", identity)


@given(MEMBERS, ALL_RULES)
@settings(derandomize=True)
def test_what_is_said_about_a_member_names_nobody(member: Member, rules: ContactRules) -> None:
    """Warnings come from a short list of words of ours."""
    found = make_converter(FIELDS, rules)(member)
    for warning in found.warnings if isinstance(found, Converted) else ():
        assert warning in (
            UNKNOWN_FIELD,
            UNKNOWN_INTEREST,
            "some values do not fit their field's type and were left out",
        ) or re.fullmatch(r"unknown status(: [a-z_]{1,24})?", warning)


def test_nesting_without_end_is_no_trouble() -> None:
    """A member may hold arrays in arrays as deep as memory goes."""
    deep: Any = "x"
    for _ in range(25_000):
        deep = [{"city": deep}]
    found = converted(merge_fields={"FNAME": "Ada", "DEEP": deep}, tags=[deep], interests=deep, location={"x": deep})
    assert found.contact.firstname == "Ada"
    assert isinstance(encode_contact(found.contact), bytes)
