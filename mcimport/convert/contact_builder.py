"""A contact in the making: a member's merge fields, place and phone numbers find where they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcimport.convert import consent
from mcimport.convert.country import believed, country_code
from mcimport.convert.field_mapping import Route, distinct
from mcimport.convert.field_values import NAME_LIMIT, NAMES, address, is_email
from mcimport.convert.phone import e164, region
from mcimport.convert.text import clean, label, text
from mcimport.models import Member

UNKNOWN_FIELD = "some members have a merge field that the list does not define"


class Draft:
    """What has been found of one contact so far. Lives for one call, in one thread.

    Attributes:
        contact: fields of the contact.
        country: as typed where it counts most; a country that is named there and unknown is not sought elsewhere.
        phones: what was typed, to be read when the country is known.
    """

    __slots__ = ("contact", "country", "notes", "phones", "properties", "remarks", "warnings")

    def __init__(self) -> None:  # by hand, for there is one for every member: a dataclass takes twice as long
        self.contact: dict[str, Any] = {}
        self.properties: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.notes: list[tuple[str, str]] = []
        self.remarks: list[str] = []
        self.country = ""
        self.phones: list[tuple[Route, Any]] = []

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def note(self, name: str, why: str) -> None:
        self.notes.append((name, why))

    def remark(self, key: str) -> None:
        """Counts this member under one of `remarks.REMARKS`."""
        self.remarks.append(key)


def put_merge_fields(
    draft: Draft, merge_fields: Any, routes: Mapping[str, Route], unlisted: Callable[[str], Route]
) -> None:
    """`unlisted` finds a route for the tags that `routes` does not have."""
    if not isinstance(merge_fields, dict):
        return
    contact, properties = draft.contact, draft.properties
    for tag, given in merge_fields.items():
        if given == "":
            continue
        route = routes.get(tag) or unlisted(str(tag))
        if (quick := route.quick) is not None:
            if (value := quick(given)) is not None:
                properties[route.property] = value  # most values
            else:
                _put_any(draft, route, given)
        elif route.is_name and isinstance(given, str):
            words = label(given)
            if words and "@" not in words and len(words) <= NAME_LIMIT:
                contact[route.field] = words
            elif words:
                _put(draft, route, words)
        elif route.is_address and isinstance(given, dict):
            _put_address(draft, route, given)
        else:
            _put_any(draft, route, given)


def put_place(draft: Draft, location: Any) -> None:
    """Country and time zone: what a merge field gave already comes before `location`, which is Mailchimp's estimate."""
    place = location if isinstance(location, dict) else {}
    contact = draft.contact
    typed = draft.country or place.get("country_code")
    if typed and "country_id" not in contact:
        code = country_code(typed)
        if code:
            contact["country_id"] = code
        else:
            draft.note("country_id", "not a country of ISO 3166: left out")
    timezone = place.get("timezone")
    if timezone and "timezone" not in contact and (timezone := label(timezone)):
        contact["timezone"] = timezone


def put_phones(draft: Draft, member: Member, *, has_sms: bool) -> None:
    """The number of an SMS status, else the merge field's. Comes after the country, which numbers without `+` need.

    Where the member has an SMS status, or anybody on the list has one (`has_sms`), no merge field's number becomes
    `phone_number`, even if the status has none: a consent that Ometria has already must not pass to another number.
    """
    has_status = consent.has_sms_status(member)
    if has_status:
        _put_sms(draft, member)
    for route, value in draft.phones:
        _put_phone(draft, route, value, is_free=not (has_status or has_sms))


def _put_phone(draft: Draft, route: Route, value: Any, *, is_free: bool) -> None:
    """`is_free`: it may become the contact's own number."""
    typed = text(value)
    if typed is None:
        _put_misfit(draft, route, value)
        return
    number = e164(typed, region(route.merge.options, draft.contact.get("country_id")))
    if number and is_free and route.field:
        draft.contact[route.field] = number
        return
    if number is None:
        draft.note(route.merge.tag, f"not a valid number of a known country: kept in properties.{route.property}")
    elif route.field:
        why = "SMS consent could pass to it (some members of the list have an SMS status)"
        draft.note(route.merge.tag, f"{why}: kept in properties.{route.property}")
    draft.properties[route.property] = number or typed


def _put_sms(draft: Draft, member: Member) -> None:
    typed = text(member.sms_phone_number)
    number = e164(typed, draft.contact.get("country_id"), is_held=True) if typed else None
    if number:
        draft.contact["phone_number"] = number
    elif typed:
        draft.note("sms_phone_number", "not a valid number: kept in properties.mailchimp_sms_phone_number")
        draft.properties["mailchimp_sms_phone_number"] = typed
    channels = draft.contact["channels"] = consent.sms(member, number)
    if channels == consent.SMS_NO and consent.agrees_to_texts(member):
        draft.note("sms_subscription_status", "subscribed without a valid number: no text messages")


def _filled(given: Any) -> Any:
    """What a reader takes; None for everything that says "empty" (PHP writes an empty object as an empty array)."""
    if isinstance(given, str):
        return clean(given) or None
    if isinstance(given, dict):
        return address(given) or None
    return None if given == [] else given


def _put_address(draft: Draft, route: Route, given: Mapping[str, Any]) -> None:
    if parts := address(given):
        draft.properties[route.property] = parts
        if not draft.country:
            draft.country = believed(parts)


def _put_any(draft: Draft, route: Route, given: Any) -> None:
    value = _filled(given)
    if value is None:
        return
    if not route.dropped:
        _put(draft, route, value)
    if not route.listed:
        draft.warn(UNKNOWN_FIELD)


def _put(draft: Draft, route: Route, value: Any) -> None:
    if isinstance(value, dict) and not draft.country:
        draft.country = believed(value)
    if route.is_phone:
        draft.phones.append((route, value))
        return
    fitting = route.read(value)
    if fitting is None:
        _put_misfit(draft, route, value)
    elif not route.field:
        _put_property(draft, route, fitting)
    else:
        draft.contact[route.field] = fitting
        if route.field in NAMES and isinstance(value, str) and len(value) > NAME_LIMIT:
            draft.note(route.merge.tag, f"cut to {NAME_LIMIT} characters")


def _put_property(draft: Draft, route: Route, value: Any) -> None:
    """Two tags that the list does not have may fall on one name; those that it has never do."""
    clash = not route.listed and route.property in draft.properties
    name = distinct(route.property, route.merge.tag) if clash else route.property
    draft.properties[name] = value


def _put_misfit(draft: Draft, route: Route, value: Any) -> None:
    """Kept as typed in a property where it should have been a field of the contact.

    Left out where it should have been a property of another type: in Ometria a custom field has its type for good.
    """
    tag = route.merge.tag
    kept = value if isinstance(value, dict) else text(value)
    if route.field in NAMES and is_email(kept):
        draft.note(tag, "an e-mail address is not a name: left out")
    elif route.field and kept:
        draft.note(tag, f"does not fit {route.field}: kept in properties.{route.property}")
        _put_property(draft, route, kept)
    else:
        draft.note(tag, f"does not fit {route.field or route.merge.type or 'any property'}: left out")
        draft.warn("some values do not fit their field's type and were left out")
    if route.field == "country_id" and isinstance(kept, str):
        draft.country = kept
