"""Builds a contact: puts a member's merge fields, location and phone numbers into its fields and properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcimport.convert import consent
from mcimport.convert.country import believed, country_code
from mcimport.convert.field_mapping import FieldMapping, distinct
from mcimport.convert.field_values import NAME_LIMIT, NAMES, address, is_email
from mcimport.convert.phone import e164, region
from mcimport.convert.text import clean, shared_text, text
from mcimport.models import Member

UNKNOWN_FIELD = "some members have a merge field that the list does not define"


class ContactBuilder:
    """Collects what one contact consists of, for one call, in one thread.

    Attributes:
        contact: fields of the contact.
        country: as typed in a merge field or an address; one that is unknown is not looked for elsewhere.
        phones: what was typed, to be read when the country is known.
        remarks: keys of `remarks.REMARKS`; the member is counted under each.
    """

    __slots__ = ("contact", "country", "notes", "phones", "properties", "remarks", "warnings")

    def __init__(self) -> None:  # by hand, for each member needs one: a dataclass takes twice as long
        self.contact: dict[str, Any] = {}
        self.properties: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.notes: list[tuple[str, str]] = []
        self.remarks: list[str] = []
        self.country = ""
        self.phones: list[tuple[FieldMapping, Any]] = []

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def note(self, name: str, why: str) -> None:
        self.notes.append((name, why))


def add_merge_fields(
    builder: ContactBuilder,
    merge_fields: Any,
    field_mappings: Mapping[str, FieldMapping],
    unlisted: Callable[[str], FieldMapping],
) -> None:
    """Adds the merge fields. `unlisted` finds the mapping of tags that `field_mappings` does not have."""
    if not isinstance(merge_fields, dict):
        return
    contact, properties = builder.contact, builder.properties
    for tag, given in merge_fields.items():
        if given == "":
            continue
        mapping = field_mappings.get(tag) or unlisted(str(tag))
        if (quick := mapping.quick) is not None:
            if (value := quick(given)) is not None:
                properties[mapping.fallback_property] = value  # most values
            else:
                _add_any(builder, mapping, given)
        elif mapping.is_name and isinstance(given, str):
            words = shared_text(given)
            if words and "@" not in words and len(words) <= NAME_LIMIT:
                contact[mapping.field] = words
            elif words:
                _add(builder, mapping, words)
        elif mapping.is_address and isinstance(given, dict):
            _add_address(builder, mapping, given)
        else:
            _add_any(builder, mapping, given)


def add_place(builder: ContactBuilder, location: Any) -> None:
    """Adds country and time zone, from a merge field if there is one, else from Mailchimp's estimate, `location`."""
    place = location if isinstance(location, dict) else {}
    contact = builder.contact
    typed = builder.country or place.get("country_code")
    if typed and "country_id" not in contact:
        code = country_code(typed)
        if code:
            contact["country_id"] = code
        else:
            builder.note("country_id", "not a country of ISO 3166: left out")
    timezone = place.get("timezone")
    if timezone and "timezone" not in contact and (timezone := shared_text(timezone)):
        contact["timezone"] = timezone


def add_phones(builder: ContactBuilder, member: Member, *, has_sms: bool) -> None:
    """Adds the number of an SMS status, else the merge field's; after the country, which numbers without `+` need.

    Where the member, or another of the list (`has_sms`), has an SMS status, no merge field's number becomes
    `phone_number`, even if the status has none: a consent that Ometria has already must not pass to another number.
    """
    has_status = consent.has_sms_status(member)
    if has_status:
        _add_sms(builder, member)
    for mapping, value in builder.phones:
        _add_phone(builder, mapping, value, is_free=not (has_status or has_sms))


def _add_phone(builder: ContactBuilder, mapping: FieldMapping, value: Any, *, is_free: bool) -> None:
    """Adds a merge field's number. `is_free`: it may become the contact's own number."""
    typed = text(value)
    if typed is None:
        _add_mismatch(builder, mapping, value)
        return
    number = e164(typed, region(mapping.merge.options, builder.contact.get("country_id")))
    if number and is_free and mapping.field:
        builder.contact[mapping.field] = number
        return
    if number is None:
        builder.note(
            mapping.merge.tag, f"not a valid number of a known country: kept in properties.{mapping.fallback_property}"
        )
    elif mapping.field:
        why = "SMS consent could pass to it (some members of the list have an SMS status)"
        builder.note(mapping.merge.tag, f"{why}: kept in properties.{mapping.fallback_property}")
    builder.properties[mapping.fallback_property] = number or typed


def _add_sms(builder: ContactBuilder, member: Member) -> None:
    typed = text(member.sms_phone_number)
    number = e164(typed, builder.contact.get("country_id"), is_held=True) if typed else None
    if number:
        builder.contact["phone_number"] = number
    elif typed:
        builder.note("sms_phone_number", "not a valid number: kept in properties.mailchimp_sms_phone_number")
        builder.properties["mailchimp_sms_phone_number"] = typed
    channels = builder.contact["channels"] = consent.sms(member, number)
    if channels == consent.SMS_NO and consent.agrees_to_texts(member):
        builder.note("sms_subscription_status", "subscribed without a valid number: no text messages")


def _filled(given: Any) -> Any:
    """Returns what a reader takes; None for everything that is empty (PHP writes an empty object as an empty array)."""
    if isinstance(given, str):
        return clean(given) or None
    if isinstance(given, dict):
        return address(given) or None
    return None if given == [] else given


def _add_address(builder: ContactBuilder, mapping: FieldMapping, given: Mapping[str, Any]) -> None:
    if parts := address(given):
        builder.properties[mapping.fallback_property] = parts
        if not builder.country:
            builder.country = believed(parts)


def _add_any(builder: ContactBuilder, mapping: FieldMapping, given: Any) -> None:
    value = _filled(given)
    if value is None:
        return
    if not mapping.dropped:
        _add(builder, mapping, value)
    if not mapping.listed:
        builder.warn(UNKNOWN_FIELD)


def _add(builder: ContactBuilder, mapping: FieldMapping, value: Any) -> None:
    if isinstance(value, dict) and not builder.country:
        builder.country = believed(value)
    if mapping.is_phone:
        builder.phones.append((mapping, value))
        return
    fitting = mapping.read(value)
    if fitting is None:
        _add_mismatch(builder, mapping, value)
    elif not mapping.field:
        _add_property(builder, mapping, fitting)
    else:
        builder.contact[mapping.field] = fitting
        if mapping.field in NAMES and isinstance(value, str) and len(value) > NAME_LIMIT:
            builder.note(mapping.merge.tag, f"cut to {NAME_LIMIT} characters")


def _add_property(builder: ContactBuilder, mapping: FieldMapping, value: Any) -> None:
    """Adds a property. Two tags that the list does not have may come to the same name; then one gets a check sum."""
    clash = not mapping.listed and mapping.fallback_property in builder.properties
    name = distinct(mapping.fallback_property, mapping.merge.tag) if clash else mapping.fallback_property
    builder.properties[name] = value


def _add_mismatch(builder: ContactBuilder, mapping: FieldMapping, value: Any) -> None:
    """Keeps a value that does not fit its contact field in a property, as typed.

    One that does not fit its property is left out: in Ometria a custom field has its type for good.
    """
    tag = mapping.merge.tag
    kept = value if isinstance(value, dict) else text(value)
    if mapping.field in NAMES and is_email(kept):
        builder.note(tag, "an e-mail address is not a name: left out")
    elif mapping.field and kept:
        builder.note(tag, f"does not fit {mapping.field}: kept in properties.{mapping.fallback_property}")
        _add_property(builder, mapping, kept)
    else:
        builder.note(tag, f"does not fit {mapping.field or mapping.merge.type or 'any property'}: left out")
        builder.warn("some values do not fit their field's type and were left out")
    if mapping.field == "country_id" and isinstance(kept, str):
        builder.country = kept
