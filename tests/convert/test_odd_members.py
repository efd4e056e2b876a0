"""Odd members met in the wild, each with the contact that is right for it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from mcimport.convert import encode_contact, make_converter
from mcimport.models import ContactRules, Conversion, Converted, ListFields, Member, MergeField, Skipped, Unsendable

LIST_KEY = "1a2d7ebf82"
PERSON = "c0ffee00c0ffee00c0ffee00c0ffee01"
ADA = {
    "email_address": "ada.moreno@example.com",
    "contact_id": PERSON,
    "web_id": 900000001,
    "status": "subscribed",
    "list_id": LIST_KEY,
    "last_changed": "2026-06-12T14:26:23+00:00",
}
FIELDS = {
    field.tag: field
    for field in (
        MergeField("FNAME", "text"),
        MergeField("LNAME", "text"),
        MergeField("ADDRESS", "address"),
        MergeField("PHONE", "phone"),
        MergeField("BIRTHDAY", "birthday", options={"date_format": "MM/DD"}),
    )
}
BRAZIL = {
    "addr1": "Sample Ltda\nRua Exemplo 10\nSao Exemplo, SP 15000-000\nBrazil",
    "addr2": "",
    "city": "",
    "state": "",
    "zip": "",
    "country": "US",
}
IDAHO = {
    "addr1": "1 Sample Row",
    "addr2": "",
    "city": "Idaho Falls",
    "state": "Idaho",
    "zip": "83400",
    "country": "USA",
}
SPRINGFIELD = {"addr1": "12 Sample St", "city": "Springfield", "state": "CA", "zip": "02134", "country": "US"}


def conversion(
    changes: dict[str, Any],
    *fields: MergeField,
    mapping: dict[str, str] | None = None,
    base: dict[str, Any] = ADA,
    list_key: str = LIST_KEY,
) -> Conversion:
    """What becomes of the member as it comes over the wire, unknown fields and all."""
    member = msgspec.json.decode(json.dumps(base | changes), type=Member)
    listed = ListFields(merge_fields=FIELDS | {field.tag: field for field in fields})
    return make_converter(listed, ContactRules(list_key=list_key, fields=mapping or {}))(member)


def sent(found: Conversion) -> Any:
    """The record as Ometria gets it."""
    assert isinstance(found, Converted)
    record = encode_contact(found.contact)
    assert isinstance(record, bytes)
    return json.loads(record)


def contact(properties: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Ada's contact, and what differs."""
    return {
        "@type": "contact",
        "@collection": "mailchimp",
        "id": f"{LIST_KEY}-{PERSON}",
        "email": "ada.moreno@example.com",
        "marketing_optin": "EXPLICITLY_OPTEDIN",
        "properties": {"mailchimp_status": "subscribed"} | (properties or {}),
    } | fields


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"merge_fields": None}, contact(), id="mf-null"),
        pytest.param({"merge_fields": []}, contact(), id="mf-empty-array"),
        pytest.param(
            {"full_name": "ada.moreno@example.com", "merge_fields": {"FNAME": "ada.moreno@example.com", "LNAME": ""}},
            contact(),
            id="mf-fname-is-email",
        ),
        pytest.param(
            {"merge_fields": {"FNAME": "Ada &amp; Luis", "LNAME": "O&#039;Moreno"}},
            contact(firstname="Ada & Luis", lastname="O'Moreno"),
            id="mf-joint-name",
        ),
        pytest.param(
            {"merge_fields": {"FNAME": "\u200f\u05e2\u05d3\u05d4\u200b", "LNAME": "\u200b"}},
            contact(firstname="\u05e2\u05d3\u05d4"),
            id="mf-rtl-zero-width",
        ),
        pytest.param(
            {"merge_fields": {"FNAME": "Ada\u0000\tMo\r\n"}}, contact(firstname="Ada Mo"), id="mf-control-chars"
        ),
        pytest.param(
            {"merge_fields": {"FNAME": "Ada", "ADDRESS": ""}}, contact(firstname="Ada"), id="addr-empty-string"
        ),
        pytest.param(
            {"merge_fields": {"ADDRESS": BRAZIL}},
            contact(
                {
                    "address": {
                        "addr1": "Sample Ltda Rua Exemplo 10 Sao Exemplo, SP 15000-000 Brazil",
                        "country": "US",
                    }
                }
            ),
            id="addr-all-in-addr1",
        ),
        pytest.param(
            {"merge_fields": {"ADDRESS": IDAHO}},
            contact({"address": {key: part for key, part in IDAHO.items() if part}}, country_id="US"),
            id="addr-country-full-name",
        ),
        pytest.param(
            {"merge_fields": {"ADDRESS": SPRINGFIELD}},
            contact({"address": SPRINGFIELD}, country_id="US"),
            id="addr-typed-class",
        ),
        pytest.param(
            {"merge_fields": {"BIRTHDAY": "01/01"}}, contact({"birthday": "01/01"}), id="birthday-placeholder"
        ),
        pytest.param(
            {"merge_fields": {"PHONE": "m: 0491 570 156"}, "location": {"country_code": "", "timezone": ""}},
            contact({"phone": "m: 0491 570 156"}),
            id="phone-typed-freely",
        ),
        pytest.param(
            {
                "sms_phone_number": "+447700900123",
                "sms_subscription_status": "subscribed",
                "merge_fields": {"PHONE": "07700 900456"},
                "location": {"country_code": "GB"},
            },
            contact(
                {"phone": "07700 900456"},
                phone_number="+447700900123",
                country_id="GB",
                channels={"sms": {"allow_marketing": True}},
            ),
            id="sms-other-number",
        ),
        pytest.param(
            {"sms_phone_number": "+447700900123", "sms_subscription_status": "nonsubscribed"},
            contact(phone_number="+447700900123", channels={"sms": {"allow_marketing": False}}),
            id="sms-nonsubscribed",
        ),
        pytest.param(
            {"timestamp_signup": "", "timestamp_opt": "2026-06-12T13:12:06+00:00"},
            contact(
                {"mailchimp_opted_in": "2026-06-12T13:12:06+00:00"}, timestamp_acquired="2026-06-12T13:12:06+00:00"
            ),
            id="ts-signup-empty",
        ),
        pytest.param({"timestamp_opt": "", "timestamp_signup": ""}, contact(), id="ts-both-empty"),
        pytest.param({"timestamp_opt": "   ", "timestamp_signup": None}, contact(), id="ts-junk"),
        pytest.param(
            {
                "status": "archived",
                "timestamp_opt": "2026-06-12T13:12:38+00:00",
            },
            contact(
                {"mailchimp_status": "archived", "mailchimp_opted_in": "2026-06-12T13:12:38+00:00"},
                marketing_optin="EXPLICITLY_OPTEDOUT",
                timestamp_acquired="2026-06-12T13:12:38+00:00",
            ),
            id="status-archived",
        ),
        pytest.param(
            {"status": "transactional"},
            contact({"mailchimp_status": "transactional"}, marketing_optin="NOT_SPECIFIED"),
            id="status-transactional",
        ),
        pytest.param(
            {
                "status": "unsubscribed",
                "unsubscribe_reason": "N/A (Unsubscribed by admin)",
                "consents_to_one_to_one_messaging": True,
            },
            contact(
                {"mailchimp_status": "unsubscribed"},
                marketing_optin="EXPLICITLY_OPTEDOUT",
                timestamp_unsubscribed="2026-06-12T14:26:23+00:00",
            ),
            id="consent-121-true",
        ),
        pytest.param({"contact_id": ""}, contact(id=f"{LIST_KEY}-900000001"), id="id-contact-empty"),
        pytest.param({"contact_id": None}, contact(id=f"{LIST_KEY}-900000001"), id="id-contact-null"),
        pytest.param(
            {"email_address": "Ada.Moreno@Example.COM"}, contact(email="Ada.Moreno@Example.COM"), id="email-upper"
        ),
        pytest.param({"email_address": "ada+news@example.com"}, contact(email="ada+news@example.com"), id="email-plus"),
        pytest.param({"email_address": "  ada.moreno@example.com \t"}, contact(), id="email-spaces"),
        pytest.param({"email_address": "\u00a0ada.moreno@example.com\u200b"}, contact(), id="email-no-break-space"),
        pytest.param(
            {"email_address": "ada@b\u00fccher.example"}, contact(email="ada@b\u00fccher.example"), id="email-idn"
        ),
        pytest.param({}, contact(), id="interests-absent"),
        pytest.param({"interests": []}, contact(), id="interests-array"),
        pytest.param(
            {"tags_count": 1, "tags": [{"id": 2000001, "name": "spring (renamed)"}]},
            contact({"mailchimp_tags": ["spring (renamed)"]}),
            id="tag-renamed",
        ),
        pytest.param(
            {
                "location": {
                    "latitude": 0,
                    "longitude": 0,
                    "gmtoff": 0,
                    "dstoff": 0,
                    "country_code": "",
                    "timezone": "",
                    "region": "",
                }
            },
            contact(),
            id="location-empty",
        ),
        pytest.param(
            {
                "location": {
                    "latitude": "",
                    "longitude": "12.5",
                    "country_code": "uk",
                    "timezone": "Europe/London",
                }
            },
            contact(timezone="Europe/London"),
            id="location-strings",
        ),
        pytest.param(
            {
                "last_note": {
                    "note_id": 281,
                    "created_at": "2016-04-15T07:10:07+00:00",
                    "created_by": "Ada Moreno",
                    "note": "called, wants no mail",
                }
            },
            contact(),
            id="last-note-object",
        ),
        pytest.param(
            {"merge_fields": {"PHONE": "+44 20 7946 0000"}}, contact(phone_number="+442079460000"), id="om-filled-field"
        ),
        pytest.param({"merge_fields": {"PHONE": ""}}, contact(), id="om-cleared-field"),
    ],
)
def test_an_odd_member_becomes_the_right_contact(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """The whole record is as expected: nothing is missing, and nothing came along."""
    found = conversion(changes)
    assert sent(found) == expected
    assert isinstance(found, Converted)
    assert found.warnings == ()


def test_empty_strings_are_left_out_whatever_their_type() -> None:
    """mf-empty-strings: an unset number is no 0, an unset date no null."""
    empty = {"merge_fields": {"FNAME": "", "POINTS": "", "SINCE": ""}}
    found = conversion(empty, MergeField("POINTS", "number"), MergeField("SINCE", "date"))
    assert sent(found) == contact()


def test_a_number_is_never_guessed_from_text() -> None:
    """mf-number-as-string: 1,250 is 1250 here and 1.25 there, so it is left out, and that is said."""
    found = conversion({"merge_fields": {"POINTS": "1,250"}}, MergeField("POINTS", "number"))
    assert sent(found) == contact()
    assert isinstance(found, Converted)
    assert found.warnings == ("some values do not fit their field's type and were left out",)


def test_a_list_without_the_default_tags_has_no_names_by_itself() -> None:
    """mf-no-default-tags: only FNAME and LNAME are names by default; the phone is told by its type."""
    fields = (MergeField("NOMBRE", "text"), MergeField("APELLIDO", "text"), MergeField("TEL", "phone"))
    member = msgspec.convert(
        ADA | {"merge_fields": {"NOMBRE": "Ada", "APELLIDO": "Moreno", "TEL": "+34 600 555 012"}}, Member
    )
    listed = ListFields(merge_fields={field.tag: field for field in fields})
    found = make_converter(listed, ContactRules(list_key=LIST_KEY))(member)
    assert sent(found) == contact({"nombre": "Ada", "apellido": "Moreno"}, phone_number="+34600555012")


def test_a_birthday_is_month_and_day_whatever_the_list_shows() -> None:
    """birthday-ddmm-list: the API gives MM/DD, also where forms show DD/MM: it goes on as it is."""
    shown = MergeField("BIRTHDAY", "birthday", options={"date_format": "DD/MM"})
    assert sent(conversion({"merge_fields": {"BIRTHDAY": "04/05"}}, shown)) == contact({"birthday": "04/05"})


def test_a_full_date_is_a_date_of_birth_where_the_operator_says_so() -> None:
    """dob-date-field: without `[fields]` the same value is a property like any other."""
    born = {"merge_fields": {"DOB": "1987-03-09"}}
    field = MergeField("DOB", "date")
    assert sent(conversion(born, field, mapping={"DOB": "date_of_birth"})) == contact(date_of_birth="1987-03-09")
    assert sent(conversion(born, field)) == contact({"dob": "1987-03-09"})


def test_a_garbled_date_is_kept_as_typed() -> None:
    """date-garbage: no date of birth, but nothing lost and no dead letter."""
    garbled = {"merge_fields": {"CDATE": "DecDec/MonMon/20192019"}}
    found = conversion(garbled, MergeField("CDATE", "text"), mapping={"CDATE": "date_of_birth"})
    assert sent(found) == contact({"cdate": "DecDec/MonMon/20192019"})


def test_who_comes_back_from_the_archive_is_not_welcomed_afresh() -> None:
    """unarchived-old-optin: opted in again, with an opt-in time from before the first sync, so without an event."""
    back = {"last_changed": "2026-07-02T18:19:54+00:00", "timestamp_opt": "2026-06-12T13:12:38+00:00"}
    member = msgspec.convert(ADA | back, Member)
    rules = ContactRules(list_key=LIST_KEY, new_since=1_782_000_000)  # 2026-06-21
    assert sent(make_converter(ListFields(), rules)(member)) == contact(
        {"mailchimp_opted_in": "2026-06-12T13:12:38+00:00"}, timestamp_acquired="2026-06-12T13:12:38+00:00"
    )


def test_a_status_nobody_knows_is_neither_opt_in_nor_opt_out() -> None:
    """status-unknown: the word goes along as a property, and once a run somebody is told."""
    found = conversion({"status": "nonsubscribed"})
    assert sent(found) == contact({"mailchimp_status": "nonsubscribed"}, marketing_optin="NOT_SPECIFIED")
    assert isinstance(found, Converted)
    assert found.warnings == ("unknown status: nonsubscribed",)


def test_two_lists_are_two_listings_each_with_its_own_consent() -> None:
    """cleaned-other-list: faithful to each list, and never forced."""
    other = {"contact_id": PERSON[:-1] + "9", "status": "unsubscribed", "list_id": "9f8e7d6c5b"}
    assert sent(conversion({})) == contact()
    assert sent(conversion(other, list_key="9f8e7d6c5b")) == contact(
        {"mailchimp_status": "unsubscribed"},
        id="9f8e7d6c5b-c0ffee00c0ffee00c0ffee00c0ffee09",
        marketing_optin="EXPLICITLY_OPTEDOUT",
        timestamp_unsubscribed="2026-06-12T14:26:23+00:00",
    )


def test_the_md5_of_an_address_is_no_id() -> None:
    """id-none: the member is a dead letter of its own rather than known by a disguised address."""
    bare = {"email_address": "ada.moreno@example.com", "id": "0123456789abcdef0123456789abcdef"}
    assert conversion(bare, base={"status": "subscribed"}) == Unsendable("no id free of personal data")


def test_an_address_in_brackets_is_unusable() -> None:
    """email-spaces-quotes: what a spreadsheet left around an address is not taken off by guessing."""
    assert conversion({"email_address": "<ada@example.com>"}) == Unsendable("unusable address")


@pytest.mark.parametrize(
    "absent", [{"email_address": ""}, {"email_address": None}, {"email_address": " \u00a0"}, {}], ids=repr
)
def test_a_member_with_a_phone_alone_is_skipped(absent: dict[str, Any]) -> None:
    """email-empty-sms-only: counted as skipped, and never known by the phone number."""
    base = {key: value for key, value in ADA.items() if key != "email_address"}
    phone = {"id": "", "sms_phone_number": "+14155550132", "sms_subscription_status": "subscribed"}
    assert conversion(phone | absent, base=base) == Skipped("no address")


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(
            {
                "id": "C0FFEE00C0FFEE00C0FFEE00C0FFEE0A",
                "audience_id": LIST_KEY,
                "status": "active",
                "language": "",
                "sms_channel": {
                    "sms_phone": "+14155550132",
                    "effective_subscription_status": {"value": "subscribed"},
                    "marketing_consent": {"status": "consented"},
                },
            },
            id="audience-contact-sms",
        ),
        pytest.param({"type": "profile", "data[merges][INTERESTS]": "AGM, BUSINESS"}, id="interest-names-webhook"),
    ],
)
def test_what_is_no_member_is_never_half_converted(shape: dict[str, Any]) -> None:
    """Other shapes of Mailchimp's have no member's address, and so no contact comes of them."""
    assert conversion(shape, base={}) == Skipped("no address")
