"""Converts a member to a contact, or says why it is skipped or cannot be pushed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import msgspec
from msgspec import Struct

from mcimport.convert import consent, permissions
from mcimport.convert.contact_builder import ContactBuilder, add_merge_fields, add_phones, add_place
from mcimport.convert.country import country_code
from mcimport.convert.email_address import plain, usable
from mcimport.convert.field_mapping import FieldMapping, field_mappings, map_unlisted
from mcimport.convert.identity import contact_id
from mcimport.convert.phone import e164
from mcimport.convert.text import number, shared_text, text, trim
from mcimport.errors import McimportError
from mcimport.models import (
    CANNOT,
    Contact,
    ContactRules,
    Conversion,
    Converted,
    ListFields,
    Member,
    OptIn,
    Skipped,
    Unsendable,
)
from mcimport.models.timestamps import instant

RECORD_LIMIT = 60_000  # bytes a record, as sent; Ometria's
UNKNOWN_INTEREST = "some members have an interest that the list does not define; it was left out"

_LARGE = 2**31  # integers below it need no check by `number`

_encoder = msgspec.json.Encoder()


class _Plan(Struct, frozen=True):
    """Holds what depends on the list and the rules alone."""

    rules: ContactRules
    field_mappings: Mapping[str, FieldMapping]
    unlisted: Callable[[str], FieldMapping]
    interests: Callable[[Mapping[str, Any]], tuple[list[str], bool]]
    optins: Mapping[str, OptIn | None]
    has_permissions: bool
    needed: frozenset[str]


def load_libraries() -> None:
    """Loads all libraries of a conversion, in a tenth of a second. Raises MachineError, as each of them would later."""
    for need in (partial(e164, "+34600555012", None), partial(country_code, "US"), partial(usable, "é@é.example")):
        need()


def make_converter(fields: ListFields, rules: ContactRules) -> Callable[[Member], Conversion]:
    """Returns the function that converts a member, for one list and one set of rules; threads may share it.

    It never raises, whatever JSON is in whichever field, except for failures of the machine (McimportError, OSError,
    MemoryError). A member without an address is Skipped; one without an id, or else with an address that cannot be
    used, is Unsendable. Its warnings UNKNOWN_FIELD and UNKNOWN_INTEREST say that the list was changed since `fields`
    was read. The rules are those of a client, whose `[fields]` the configuration has checked.
    """
    known = field_mappings(fields, rules)
    plan = _Plan(
        rules,
        known,
        # A field that was added after the list's fields were read is in every member from then on.
        lru_cache(maxsize=1024)(partial(map_unlisted, known=known)),
        _interest_reader(fields.interests),
        consent.optins(rules.consent),
        permissions.has_permissions(fields, rules),
        permissions.needed(rules.permission),
    )

    def convert(member: Member) -> Conversion:
        try:
            return _convert(member, plan)
        except (McimportError, ImportError, OSError, MemoryError):
            raise  # the machine's fault, and not the member's
        except Exception as error:  # noqa: BLE001 - a mistake of mcimport's with one member must not stop all others
            return Unsendable(f"{CANNOT} ({type(error).__name__})")

    return convert


def consent_alone(member: Member, rules: ContactRules) -> Contact | None:
    """Returns what is pushed of a member who cannot be pushed whole: id, consent and, if it can be used, the address.

    None for a member without an id, or without an opt-out, or whose consent Ometria keeps as it is.
    """
    identity = contact_id(member, rules.list_key)
    if identity is None:
        return None
    optin = consent.optin_of(member, rules, has_permissions=bool(rules.permissions))
    email = trim(member.email_address) if isinstance(member.email_address, str) else ""
    return consent_part(
        Contact(
            type_="contact",
            collection=rules.collection,
            id=identity,
            email=email if email and usable(email) else None,
            marketing_optin=optin,
            force_optin=True if rules.force_optin and optin in consent.SAID else None,
            timestamp_unsubscribed=consent.unsubscribed_at(member, optin),
            channels=consent.refused_sms(member),
        )
    )


def consent_part(contact: Contact) -> Contact | None:
    """Returns id, address and consent of a contact that Ometria does not accept whole, but never an opt-in.

    None where nothing is left.
    """
    is_yes = contact.marketing_optin in (None, "EXPLICITLY_OPTEDIN")
    channels = contact.channels if contact.channels == consent.SMS_NO else None
    if is_yes and channels is None:
        return None
    return Contact(
        type_=contact.type_,
        collection=contact.collection,
        id=contact.id,
        email=contact.email,
        marketing_optin=None if is_yes else contact.marketing_optin,
        force_optin=None if is_yes else contact.force_optin,
        timestamp_unsubscribed=contact.timestamp_unsubscribed,
        channels=channels,
    )


def encode_contact(contact: Contact) -> bytes | Unsendable:
    """Returns the record as sent (UTF-8 JSON); Unsendable where it is larger than Ometria accepts, 60,000 bytes."""
    record = _encoder.encode(contact)
    return record if len(record) <= RECORD_LIMIT else Unsendable("larger than 60,000 bytes")


def lacks_tags(member: Member) -> bool:
    """Says whether the member has more tags than are listed: Mailchimp lists fifty at most on a page."""
    count, tags = member.tags_count, member.tags
    if count == 0:
        return False
    total: int | float = count if isinstance(count, int) else number(count) or 0
    return total > (len(tags) if isinstance(tags, list) else 0)


def _interest_reader(defined: Mapping[str, str]) -> Callable[[Mapping[str, Any]], tuple[list[str], bool]]:
    """Returns the reader of a member's interests: their names, each once, and whether the list does not define one."""
    known = {key: name for key, value in defined.items() if (name := text(value))}

    @lru_cache(maxsize=4096)  # many members have chosen the same
    def named(*chosen: str) -> tuple[list[str], bool]:
        names = dict.fromkeys(known[key] for key in chosen if key in known)
        return list(names), any(key not in known for key in chosen)

    def read(interests: Mapping[str, Any]) -> tuple[list[str], bool]:
        return named(*[key for key, is_chosen in interests.items() if is_chosen is True])

    return read


def _convert(member: Member, plan: _Plan) -> Conversion:
    email = member.email_address
    is_plain = isinstance(email, str) and plain(email)
    if isinstance(email, str) and not is_plain:
        email = trim(email)
    if email is None or email == "":
        return Skipped("no address")
    identity = contact_id(member, plan.rules.list_key)
    if identity is None:
        return Unsendable("no id free of personal data")
    if not is_plain and (not isinstance(email, str) or not usable(email)):
        return Unsendable("unusable address")
    return _converted(member, plan, identity, email)


def _converted(member: Member, plan: _Plan, identity: str, email: str) -> Converted:
    builder = ContactBuilder()
    add_merge_fields(builder, member.merge_fields, plan.field_mappings, plan.unlisted)
    add_place(builder, member.location)
    add_phones(builder, member, has_sms=plan.rules.has_sms)
    optin = _add_status(builder, member.status, plan.optins)
    shown: dict[str, bool] = {}
    if plan.has_permissions or (member.marketing_permissions and permissions.shows_some(member.marketing_permissions)):
        shown = permissions.permissions_of(member.marketing_permissions)
        builder.properties["mailchimp_permissions"] = [text for text, is_given in shown.items() if is_given]
        optin = _permitted(builder, optin, shown, plan)
    _add_traits(builder, member)
    _add_tags(builder, member)
    _add_interests(builder, member.interests, plan.interests)
    opted = instant(member.timestamp_opt)
    if opted:
        builder.properties["mailchimp_opted_in"] = opted[1]
    if consent.add_times(builder.contact, member, optin, opted, plan.rules):
        builder.remarks.append("opt-in to come")
        builder.note("timestamp_subscribed", "a time in the future: left out")
    contact = Contact(
        type_="contact",
        collection=plan.rules.collection,
        id=identity,
        email=email,
        marketing_optin=optin,
        force_optin=True if plan.rules.force_optin and optin in consent.SAID else None,
        properties=builder.properties,
        **builder.contact,
    )
    return Converted(contact, tuple(builder.warnings), tuple(builder.notes), tuple(builder.remarks), tuple(shown))


def _add_status(builder: ContactBuilder, status: Any, optins: Mapping[str, OptIn | None]) -> OptIn | None:
    """Adds the status, and returns its opt-in. It is compared exactly.

    An odd spelling is kept as a property, unless trimming it would make it look like a known one.
    """
    if isinstance(status, str) and status in optins:
        builder.properties["mailchimp_status"] = status
        return optins[status]
    builder.warn(consent.unknown(status))
    builder.note("status", "unknown: neither opted in nor out")
    word = shared_text(status)
    if word and word not in optins:
        builder.properties["mailchimp_status"] = word
    return "NOT_SPECIFIED"


def _permitted(builder: ContactBuilder, optin: OptIn | None, shown: Mapping[str, bool], plan: _Plan) -> OptIn | None:
    """Returns the opt-in, but not for a member who has not given the configured permission."""
    if optin != "EXPLICITLY_OPTEDIN" or plan.needed <= permissions.given_names(shown):
        return optin
    names, instead = permissions.quoted(plan.rules.permission), plan.rules.without_permission
    builder.remarks.append(f"{'no_permission_out' if instead == 'out' else 'no_permission'}:{names}")
    become = "opted out" if instead == "out" else "not opted in"
    builder.note("marketing_permissions", f"{names} is not given: {become}")
    return consent.CHOICES[instead]


def _add_traits(builder: ContactBuilder, member: Member) -> None:
    properties, rating, vip = builder.properties, member.member_rating, member.vip
    if (rating := rating if type(rating) is int and -_LARGE < rating < _LARGE else number(rating)) is not None:
        properties["mailchimp_rating"] = rating
    if vip is False or vip is True:
        properties["mailchimp_vip"] = vip
    if member.language and (language := shared_text(member.language)):
        properties["mailchimp_language"] = language
    if member.source and (source := shared_text(member.source)):
        properties["mailchimp_source"] = source


def _add_tags(builder: ContactBuilder, member: Member) -> None:
    """Adds the names of all tags, an empty array without any, and nothing where only some of them are listed."""
    tags = member.tags
    if lacks_tags(member):
        builder.remarks.append("tags_left_out")
        builder.note("tags", "not all of them could be read: left out")
        return
    if not isinstance(tags, list):
        return
    names = [name for tag in tags if isinstance(tag, dict) and (name := shared_text(tag.get("name")))]
    if names or not tags:
        builder.properties["mailchimp_tags"] = names


def _add_interests(
    builder: ContactBuilder, interests: Any, read: Callable[[Mapping[str, Any]], tuple[list[str], bool]]
) -> None:
    """Adds the names of the chosen interests, an empty array if none is chosen, and nothing without groups."""
    if not isinstance(interests, dict) or not interests:
        return
    names, has_unknown = read(interests)
    if has_unknown:
        builder.warn(UNKNOWN_INTEREST)
        builder.note("interests", "one that the list does not define: left out")
    if names or not has_unknown:
        builder.properties["mailchimp_interests"] = names
