"""Maps each merge field to a field of the contact, to a property, or to nothing.

Without a line in `[fields]`, FNAME and LNAME are the names, the list's first field of type phone is the phone number,
and everything else becomes a property under its tag: lower case, with `_` for whatever Ometria's ids cannot hold.
The first field of type birthday is `properties.birthday`, whatever its tag. Where two would have one name, the tag in
plain capitals keeps it, and the other gets a check sum of its tag behind it: the same name in every run, in whichever
order the list gives its fields. Tags are the same in any case, as they are in Mailchimp.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from zlib import crc32

from msgspec import Struct

from mcimport.convert.field_values import NAMES, Reader, field_reader, property_reader, quick_reader
from mcimport.convert.permissions import needed
from mcimport.models import CONTACT_FIELDS, ContactRules, ListFields, MergeField

MAPPING_VERSION = 2
"""To be raised whenever the same member, with the same settings, becomes another contact than before."""

OWN_PROPERTIES = frozenset(
    {
        "mailchimp_interests",
        "mailchimp_language",
        "mailchimp_opted_in",
        "mailchimp_permissions",
        "mailchimp_rating",
        "mailchimp_sms_phone_number",
        "mailchimp_source",
        "mailchimp_status",
        "mailchimp_tags",
        "mailchimp_vip",
    }
)
"""The properties that mcimport fills by itself; no merge field may have one of their names."""

_DEFAULTS = {"FNAME": "firstname", "LNAME": "lastname"}
_PREFIX = "properties."

_unfit = re.compile(r"[^a-z0-9_]")


class FieldMapping(Struct, frozen=True):
    """Says where the values of one merge field go.

    Attributes:
        merge: the field as the list describes it; of type "" where the list does not know the tag.
        field: a field of the contact, or "".
        fallback_property: the property for values without a `field`, and for those that do not fit theirs.
        dropped: `[fields]` leaves it out.
        read: turns the value into what its target requires; None where it does not fit. Not used for phone numbers.
        is_phone: becomes E.164.
        listed: the list has a field of this tag.
        is_address: an address goes to that property as it is.
        is_name: goes to one of the contact's names, if it can be one.
        quick: reads a plain value of a plain property; None for what it leaves to `read`, and where there is none.
    """

    merge: MergeField
    field: str
    fallback_property: str
    dropped: bool
    read: Reader
    is_phone: bool
    listed: bool
    is_address: bool = False
    is_name: bool = False
    quick: Reader | None = None


def field_mappings(fields: ListFields, rules: ContactRules) -> dict[str, FieldMapping]:
    """Returns a mapping for each tag of the list and of `[fields]`, in the list's order, and for FNAME and LNAME."""
    mapping = {tag.upper(): target for tag, target in rules.fields.items()}
    listed = {tag.upper() for tag in fields.merge_fields}
    others = [tag for tag in (*mapping, *_DEFAULTS) if tag not in listed]
    merges = {**fields.merge_fields, **{tag: MergeField(tag, "") for tag in others}}
    targets = _targets(merges, mapping)
    names = _property_names(merges, targets)
    return {
        tag: _mapping_of(merge, targets[tag], names[tag], listed=tag in fields.merge_fields)
        for tag, merge in merges.items()
    }


def map_unlisted(tag: str, known: Mapping[str, FieldMapping]) -> FieldMapping:
    """Returns the mapping of a tag that is not in `known`: that of the tag in capitals, else one to a property."""
    if tag.upper() in known:
        return known[tag.upper()]
    taken = OWN_PROPERTIES.union(route.fallback_property for route in known.values())
    name = _plain_name(tag)
    return _mapping_of(MergeField(tag, ""), "", distinct(name, tag) if name in taken else name, listed=False)


def distinct(name: str, tag: str) -> str:
    """Returns a property name that no other tag has: the name and a check sum of the tag."""
    return f"{name}_{crc32(tag.encode('utf-8', 'surrogatepass')):08x}"


def fingerprint(rules: ContactRules) -> str:
    """Returns the fingerprint of `[fields]`, `[consent]` and mcimport's own mapping, so that a change of it is noticed.

    Neither the list's own fields nor a line that says what would happen without it change it.
    """
    fields = {tag.upper(): target for tag, target in rules.fields.items()}
    said = sorted((tag, target) for tag, target in fields.items() if target != _default_target(tag))
    permission = [sorted(needed(rules.permission)), rules.without_permission]
    known = [MAPPING_VERSION, said, sorted(rules.consent.items()), permission]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _mapping_of(merge: MergeField, target: str | None, name: str, *, listed: bool) -> FieldMapping:
    field = target if target in CONTACT_FIELDS else ""
    is_known = listed and target is not None
    return FieldMapping(
        merge=merge,
        field=field,
        fallback_property=name,
        dropped=target is None,
        read=field_reader(merge, field) if field else property_reader(merge),
        is_phone=field == "phone_number" or (not field and merge.type == "phone"),
        listed=listed,
        is_address=is_known and not field and merge.type == "address",
        is_name=is_known and field in NAMES,
        quick=quick_reader(merge) if is_known and not field else None,
    )


def _targets(merges: Mapping[str, MergeField], mapping: Mapping[str, str]) -> dict[str, str | None]:
    """Returns tag to target: of `[fields]`, then the defaults. None: left out; "": a property named by its tag."""
    found: dict[str, str | None] = {tag: mapping[tag.upper()] or None for tag in merges if tag.upper() in mapping}
    taken = set(found.values())
    for tag, merge in merges.items():
        if tag in found:
            continue
        default = _DEFAULTS.get(tag.upper(), "phone_number" if merge.type == "phone" else "")
        found[tag] = "" if default in taken else default
        taken.add(default)
    return found


def _property_names(merges: Mapping[str, MergeField], targets: Mapping[str, str | None]) -> dict[str, str]:
    """Returns a property name for each tag, also of a contact field: values that do not fit it need one."""
    names = {
        tag: target.removeprefix(_PREFIX) for tag, target in targets.items() if target and target.startswith(_PREFIX)
    }
    taken = OWN_PROPERTIES.union(names.values())
    rest = sorted((tag for tag in merges if tag not in names), key=lambda tag: (tag != tag.upper(), tag))
    birthday = _birthday(rest, merges)
    for tag in rest:
        name = "birthday" if tag == birthday else _plain_name(tag)
        names[tag] = distinct(name, tag) if name in taken else name
        taken |= {names[tag]}
    return names


def _birthday(tags: Sequence[str], merges: Mapping[str, MergeField]) -> str | None:
    """Returns the tag that becomes `properties.birthday`: the one of that name, else the first of that type."""
    named = (tag for tag in tags if _plain_name(tag) == "birthday")
    return next(named, next((tag for tag in tags if merges[tag].type == "birthday"), None))


def _plain_name(tag: str) -> str:
    return _unfit.sub("_", tag.lower()) or "_"


def _default_target(tag: str) -> str:
    """Returns the target of a tag without a line in `[fields]`, as far as the tag alone tells."""
    return _DEFAULTS.get(tag.upper(), f"{_PREFIX}{_plain_name(tag)}")
