"""Merge fields: text, numbers, dates, countries and phone numbers, and where each goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.convert import UNKNOWN_FIELD, field_mappings, make_converter
from mcimport.convert.country import country_code
from mcimport.convert.field_mapping import OWN_PROPERTIES
from mcimport.convert.phone import e164
from mcimport.convert.text import clean, number
from mcimport.models import Contact, ContactRules, Converted, ListFields, Member, MergeField


def converted(
    merge_fields: dict[str, Any], *fields: MergeField, mapping: dict[str, str] | None = None, **more: Any
) -> Converted:
    """Of a subscribed member with these merge fields, on a list with these fields and FNAME."""
    listed = ListFields(merge_fields={field.tag: field for field in (MergeField("FNAME", "text"), *fields)})
    convert = make_converter(listed, ContactRules(list_key="k", fields=mapping or {}))
    member = Member(web_id=7, email_address="ada@example.com", status="subscribed", merge_fields=merge_fields, **more)
    found = convert(member)
    assert isinstance(found, Converted)
    return found


def properties(contact: Contact) -> dict[str, Any]:
    """Without the one that is always there."""
    return {name: value for name, value in contact.properties.items() if name != "mailchimp_status"}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("  Ada ", "Ada"),
        ("\u00a0\u2003Ada\u3000", "Ada"),
        ("\ufeff\u200b\u2060Ada\u200d", "Ada"),
        ("\u2066\u200f\u2069", ""),
        ("\u3164\u2800\u115f", ""),
        ("Zoe\u0308", "Zo\u00eb"),
        ("Zo\u00eb \u2764\ufe0f", "Zo\u00eb \u2764\ufe0f"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        ("one\r\n\ttwo", "one two"),
        ("one\u2028two", "one two"),
        ("a\x00b\x1b\x7f\x9fc", "abc"),
        ("a\ud800b\udc00", "ab"),
        ("O&#39;Neil &amp; S&ouml;hne", "O'Neil & S\u00f6hne"),
        ("O&#x27;Neil", "O'Neil"),
        ("&amp;amp;", "&amp;"),
        ("&nbsp;Ada&nbsp;", "Ada"),
        ("https://shop.example/?a=1&copy=2&reg", "https://shop.example/?a=1&copy=2&reg"),
        ("AT&T;", "AT&T;"),
        ("R&D", "R&D"),
        ("&#55296;&#0;", ""),
        ("Jos\ufffd", ""),
        ("Jos\ufffd & Ada", ""),
        ("&#10;Ada&#9;", "Ada"),
        ("", ""),
    ],
)
def test_text_is_cleaned_by_one_rule(typed: str, expected: str) -> None:
    """Entities once, breaks to one blank, controls gone, composed, trimmed; what could not be read is no text."""
    assert clean(typed) == expected


@given(st.text(st.characters(exclude_categories=())))
@settings(derandomize=True)
def test_clean_text_can_always_be_sent(typed: str) -> None:
    """No control character, no lone surrogate, no blank at the ends, whatever was typed."""
    cleaned = clean(typed)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned.strip()
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in cleaned)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (-3, -3),
        (12.5, 12.5),
        ("0", 0),
        ("1250", 1250),
        ("-3.5", -3.5),
        ("0.1234", 0.1234),
        ("1,250", None),
        ("1.250", None),
        ("007", None),
        ("1e3", None),
        ("+5", None),
        ("5 kg", None),
        ("\u0665", None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (2**64, None),
        (-(10**400), None),
        ([1], None),
    ],
)
def test_a_number_is_one_beyond_doubt_or_none(value: Any, expected: float | None) -> None:
    """What can be read in two ways, or not be sent as JSON, is no number."""
    assert number(value) == expected


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("GB", "GB"),
        ("gb", "GB"),
        (" Gbr ", "GB"),
        ("United Kingdom", "GB"),
        ("germany", "DE"),
        ("Federal Republic of Germany", "DE"),
        ("Bolivia", "BO"),
        ("C\u00f4te d'Ivoire", "CI"),
        ("Co\u0302te d&#39;Ivoire", "CI"),
        ("UK", None),
        ("England", None),
        ("XX", None),
        ("", None),
        (None, None),
        (826, None),
        (["GB"], None),
    ],
)
def test_a_country_is_what_iso_knows_by_that_name(typed: Any, code: str | None) -> None:
    """Codes and names in any case; no nicknames, no parts of countries."""
    assert country_code(typed) == code


@pytest.mark.parametrize(
    ("typed", "country", "expected"),
    [
        ("+34 600 555 012", None, "+34600555012"),
        ("+34 600 555 012", "GB", "+34600555012"),
        ("\uff0b34 600 555 012", None, "+34600555012"),
        ("020 7946 0000", "GB", "+442079460000"),
        ("0034 600 555 012", "GB", "+34600555012"),
        ("m: 0491 570 156", "AU", "+61491570156"),
        ("020 7946 0000", None, None),
        ("020 7946 0000", "FR", None),
        ("0000000000", "GB", None),
        ("+44123", None, None),
        ("n/a", "GB", None),
        ("1" * 70, "GB", None),
        ("+" * 100 + "34600555012", None, None),
    ],
)
def test_a_phone_number_is_valid_somewhere_known_or_none(typed: str, country: str | None, expected: str | None) -> None:
    """Never sent as typed."""
    assert e164(typed, country) == expected


@pytest.mark.parametrize(
    ("options", "location", "expected"),
    [
        ({}, "GB", "+442079460000"),
        ({"phone_format": "none"}, "GB", "+442079460000"),
        ({"default_country": "GB"}, "", "+442079460000"),
        ({"default_country": "FR"}, "GB", "+442079460000"),
        ({"phone_format": "US"}, "GB", None),
        ({"default_country": 164}, "", None),
        ({}, "", None),
    ],
)
def test_a_number_is_read_in_the_country_where_it_was_typed(
    options: dict[str, Any], location: str, expected: str | None
) -> None:
    """The field's US format, then the member's country, then the field's own; the first that is known decides."""
    field = MergeField("TEL", "phone", options=options)
    found = converted({"TEL": "020 7946 0000"}, field, location={"country_code": location}).contact
    assert found.phone_number == expected
    assert properties(found) == ({} if expected else {"tel": "020 7946 0000"})


def test_a_number_in_us_format_is_american() -> None:
    """Wherever the member lives."""
    field = MergeField("TEL", "phone", options={"phone_format": "US"})
    found = converted({"TEL": "(415) 555-0132"}, field, location={"country_code": "GB"}).contact
    assert found.phone_number == "+14155550132"


def test_the_first_phone_field_is_the_number_and_the_others_are_properties() -> None:
    """In the list's order; every one of them as E.164 where it is valid, else as typed."""
    fields = (MergeField("WORK", "phone"), MergeField("HOME", "phone"), MergeField("FAX", "phone"))
    values = {"FAX": "none", "HOME": "+44 20 7946 0001", "WORK": "+44 20 7946 0000"}
    found = converted(values, *fields).contact
    assert found.phone_number == "+442079460000"
    assert properties(found) == {"fax": "none", "home": "+442079460001"}


@pytest.mark.parametrize(
    ("typed", "date_format", "expected"),
    [
        ("2024-02-29", "DD/MM/YYYY", "2024-02-29"),
        ("2024-02-29T10:00:00+00:00", None, "2024-02-29"),
        ("2024-02-29 10:00:00", None, "2024-02-29"),
        ("03/04/2024", "MM/DD/YYYY", "2024-03-04"),
        ("03/04/2024", "DD/MM/YYYY", "2024-04-03"),
        ("3.4.2024", "DD/MM/YYYY", "2024-04-03"),
        ("03/04/2024", None, None),
        ("13/04/2024", "MM/DD/YYYY", None),
        ("2023-02-29", None, None),
        ("0000-00-00", None, None),
        ("03/04/24", "DD/MM/YYYY", None),
        (20240229, None, None),
    ],
)
def test_a_date_is_iso_whatever_the_lists_format(typed: Any, date_format: str | None, expected: str | None) -> None:
    """A day whose order is not told, or that does not exist, is left out with a warning."""
    field = MergeField("SINCE", "date", options={"date_format": date_format} if date_format else {})
    found = converted({"SINCE": typed}, field)
    assert properties(found.contact) == ({"since": expected} if expected else {})
    assert found.warnings == (() if expected else ("some values do not fit their field's type and were left out",))


@pytest.mark.parametrize(
    ("kind", "typed", "born", "kept"),
    [
        ("date", "1987-03-09", "1987-03-09", {}),
        ("text", "1987-03-09", "1987-03-09", {}),
        ("date", "0001-01-01", None, {"dob": "0001-01-01"}),
        ("date", "9999-12-31", None, {"dob": "9999-12-31"}),
        ("text", "03/09/1987", None, {"dob": "03/09/1987"}),
        ("birthday", "03/09", None, {"birthday": "03/09"}),
        ("birthday", "1987-03-09", None, {"birthday": "1987-03-09"}),
        ("number", 1987, None, {"dob": "1987"}),
    ],
)
def test_a_date_of_birth_is_a_full_date_or_nothing(
    kind: str, typed: Any, born: str | None, kept: dict[str, str]
) -> None:
    """A year is never made up; what does not fit is kept as typed."""
    found = converted({"DOB": typed}, MergeField("DOB", kind), mapping={"DOB": "date_of_birth"}).contact
    assert found.date_of_birth == born
    assert properties(found) == kept


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("number", 12.5, {"x": 12.5}),
        ("number", 0, {"x": 0}),
        ("number", "12", {"x": 12}),
        ("number", "twelve", {}),
        ("number", True, {}),
        ("text", "12", {"x": "12"}),
        ("text", 12, {"x": "12"}),
        ("text", True, {"x": "true"}),
        ("text", ["a"], {}),
        ("text", {"city": "Rome"}, {}),
        ("zip", "02134", {"x": "02134"}),
        ("dropdown", "Blue", {"x": "Blue"}),
        ("radio", "Blue", {"x": "Blue"}),
        ("url", "https://shop.example/?a=1", {"x": "https://shop.example/?a=1"}),
        ("address", {"addr1": "1 Row", "zip": 2134, "other": "?"}, {"x": {"addr1": "1 Row", "zip": "2134"}}),
        ("address", {"addr1": "", "city": " ", "country": "US"}, {}),
        ("address", {"country": "FR"}, {"x": {"country": "FR"}}),
        ("address", "1 Row, Springfield", {}),
        ("something_new", "a", {"x": "a"}),
        ("something_new", 5, {"x": 5}),
        ("something_new", False, {"x": False}),
        ("something_new", {"city": "Rome"}, {"x": {"city": "Rome"}}),
        ("something_new", float("inf"), {}),
        ("something_new", [1], {}),
        ("text", None, {}),
        ("text", [], {}),
        ("text", {}, {}),
        ("text", "\u200b", {}),
    ],
)
def test_a_property_has_the_type_of_its_field(kind: str, value: Any, expected: dict[str, Any]) -> None:
    """What does not fit is left out: in Ometria, a custom field has its type for good."""
    assert properties(converted({"X": value}, MergeField("X", kind)).contact) == expected


@pytest.mark.parametrize(
    ("address", "location", "expected"),
    [
        ({"city": "Leeds", "country": "GB"}, "FR", "GB"),
        ({"zip": "LS1", "country": "united kingdom"}, "", "GB"),
        ({"addr1": "1 Row", "country": "US"}, "FR", "FR"),
        ({"country": "US"}, "", None),
        ({"city": "Leeds", "country": "UK"}, "FR", None),
        ({"city": "Leeds", "country": ""}, "FR", "FR"),
        ("", "fr", "FR"),
        ("", "XX", None),
        ("", 5, None),
    ],
)
def test_a_country_comes_from_a_filled_address_or_from_the_location(
    address: Any, location: Any, expected: str | None
) -> None:
    """The US that Mailchimp fills in by itself is not believed; a country that is named wrongly is not replaced."""
    found = converted({"HOME": address}, MergeField("HOME", "address"), location={"country_code": location}).contact
    assert found.country_id == expected


@pytest.mark.parametrize(
    ("typed", "expected", "kept"),
    [("Germany", "DE", {}), ("Wonderland", None, {"land": "Wonderland"}), ("", "FR", {})],
)
def test_a_mapped_country_comes_first(typed: str, expected: str | None, kept: dict[str, str]) -> None:
    """What the operator named decides; where it is no country, no other is guessed, and it is kept as typed."""
    found = converted(
        {"LAND": typed},
        MergeField("LAND", "text"),
        mapping={"LAND": "country_id"},
        location={"country_code": "FR"},
    ).contact
    assert found.country_id == expected
    assert properties(found) == kept


@pytest.mark.parametrize(
    ("typed", "expected", "kept"),
    [("Male", "m", {}), ("f", "f", {}), ("OTHER", "o", {}), ("n/a", None, {"sex": "n/a"})],
)
def test_a_gender_is_one_of_three_letters(typed: str, expected: str | None, kept: dict[str, str]) -> None:
    """Only from a field that is mapped to it."""
    found = converted({"SEX": typed}, MergeField("SEX", "radio"), mapping={"SEX": "gender"}).contact
    assert found.gender == expected
    assert properties(found) == kept


def test_a_long_name_is_cut_where_ometria_demands_it_and_that_is_noted() -> None:
    """255 characters of a name; any other text stays whole."""
    found = converted({"FNAME": "\u00e9" * 300, "NOTE": "x" * 300}, MergeField("NOTE", "text"))
    assert found.contact.firstname == "\u00e9" * 255
    assert properties(found.contact) == {"note": "x" * 300}
    assert found.notes == (("FNAME", "cut to 255 characters"),)


@pytest.mark.parametrize("typed", ["ada@example.com", "Ada <ada.m@example.org>"])
def test_an_address_is_no_name(typed: str) -> None:
    """Left out, not even kept as a property, and noted without showing it."""
    found = converted({"FNAME": typed})
    assert found.contact.firstname is None
    assert properties(found.contact) == {}
    assert found.notes == (("FNAME", "an e-mail address is not a name: left out"),)


def test_a_name_may_hold_an_at_sign() -> None:
    """Only what can be an address is taken for one."""
    assert converted({"FNAME": "Ada @ work"}).contact.firstname == "Ada @ work"


def test_fields_send_a_tag_to_any_contact_field_or_property_or_nowhere() -> None:
    """What an operator names comes before the defaults, in whichever case the tag is written."""
    fields = [MergeField(tag, "text") for tag in ("NICK", "LOYALTY", "MMERGE7", "ZONE", "CRM")]
    values = {"FNAME": "Ada", "NICK": "Addy", "LOYALTY": "gold", "MMERGE7": "secret", "ZONE": "Europe/Rome", "CRM": 12}
    mapping = {
        "nick": "firstname",
        "LOYALTY": "properties.tier",
        "mmerge7": "",
        "ZONE": "timezone",
        "CRM": "customer_id",
    }
    found = converted(values, *fields, mapping=mapping, location={"timezone": "Europe/London"}).contact
    assert (found.firstname, found.timezone, found.customer_id) == ("Addy", "Europe/Rome", "12")
    assert properties(found) == {"fname": "Ada", "tier": "gold"}


def test_an_address_that_is_left_out_gives_no_country() -> None:
    """Left out means nothing of it, the country included."""
    found = converted({"HOME": {"city": "Rome", "country": "IT"}}, MergeField("HOME", "address"), mapping={"HOME": ""})
    assert found.contact.country_id is None
    assert properties(found.contact) == {}


def test_a_phone_field_that_is_left_out_is_not_the_first() -> None:
    """The next one becomes the number."""
    fields = (MergeField("FAX", "phone"), MergeField("TEL", "phone"))
    found = converted({"FAX": "+44 20 7946 0001", "TEL": "+44 20 7946 0000"}, *fields, mapping={"FAX": ""}).contact
    assert found.phone_number == "+442079460000"
    assert properties(found) == {}


def test_a_field_that_the_list_does_not_have_is_taken_as_it_comes_and_said() -> None:
    """It was made after the list's fields were read: the contact goes, and a warning asks to read them anew."""
    found = converted({"NEW": 5, "new-er": "x", "N\u00cbW": "y", "OLD": ""})
    assert properties(found.contact) == {"new": 5, "new_er": "x", "n_w": "y"}
    assert found.warnings == (UNKNOWN_FIELD,)


def test_two_tags_never_share_a_property() -> None:
    """The one in plain capitals keeps the name; the others' differ by a check sum of their tags, in any order."""
    fields = [MergeField(tag, "text") for tag in ("MY-TAG", "MY_TAG", "my tag")]
    values = {"MY-TAG": "1", "MY_TAG": "2", "my tag": "3"}
    found = properties(converted(values, *fields).contact)
    assert found == properties(converted(values, *reversed(fields)).contact)
    assert found["my_tag"] == "1"
    assert sorted(found.values()) == ["1", "2", "3"]


def test_a_mapped_property_keeps_its_name() -> None:
    """The field whose tag would give the same name gives way."""
    fields = (MergeField("LOYALTY", "text"), MergeField("TIER", "text"))
    found = converted({"TIER": "1", "LOYALTY": "2"}, *fields, mapping={"LOYALTY": "properties.tier"}).contact
    assert found.properties["tier"] == "2"
    assert sorted(properties(found).values()) == ["1", "2"]


def test_unlisted_tags_never_share_a_property_either() -> None:
    """Neither with each other, nor with a mapped property, nor with one of the program's own."""
    values = {"A-B": "1", "A B": "2", "LOYALTY": "3", "TIER": "4", "MAILCHIMP_STATUS": "5"}
    found = converted(values, mapping={"LOYALTY": "properties.tier"}).contact.properties
    assert (found["a_b"], found["tier"], found["mailchimp_status"]) == ("1", "3", "subscribed")
    assert sorted(found.values()) == ["1", "2", "3", "4", "5", "subscribed"]


def test_the_first_birthday_field_is_the_birthday() -> None:
    """Whatever it is called; a field that is called BIRTHDAY comes before it."""
    one = converted({"BDAY": "04/05"}, MergeField("BDAY", "birthday")).contact
    assert properties(one) == {"birthday": "04/05"}
    fields = (MergeField("BDAY", "birthday"), MergeField("BIRTHDAY", "text"))
    assert properties(converted({"BDAY": "04/05", "BIRTHDAY": "May"}, *fields).contact) == {
        "bday": "04/05",
        "birthday": "May",
    }


@given(st.lists(st.text(max_size=6), unique=True, max_size=6))
@settings(derandomize=True)
def test_every_tag_has_a_property_of_its_own_that_ometria_can_hold(tags: list[str]) -> None:
    """Distinct names of a-z, 0-9 and _, none of the program's own, the same in any order."""
    found = field_mappings(
        ListFields(merge_fields={tag: MergeField(tag, "text") for tag in tags}), ContactRules(list_key="k")
    )
    back = field_mappings(
        ListFields(merge_fields={tag: MergeField(tag, "text") for tag in reversed(tags)}), ContactRules(list_key="k")
    )
    names = [found[tag].fallback_property for tag in tags]
    assert len(set(names) - OWN_PROPERTIES) == len(tags)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") and name for name in names)
    assert names == [back[tag].fallback_property for tag in tags]
