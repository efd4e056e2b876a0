"""Where a list's merge fields go, the custom fields that Ometria needs for them, and a `[fields]` table to paste."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from mcimport.convert import FieldMapping, field_mappings, has_permissions
from mcimport.convert.field_values import takes_any_text
from mcimport.models import ContactRules, ListFields
from mcimport.report.columns import Columns
from mcimport.report.format import escape

COLUMNS = Columns(heads=("merge tag", "name", "type", "goes to"), dropped=("type",), wrapped="name")
CUSTOM_COLUMNS = Columns(heads=("custom field", "type", "holds"), wrapped="holds")
CustomField = tuple[str, str, str]  # a row below CUSTOM_COLUMNS

MOST_OF_A_TYPE = 100  # custom fields of one type that Ometria lets an account have
_KINDS = {"number": "number", "date": "date", "address": "object"}
_OWN = (
    ("mailchimp_status", "text", "the member's status"),
    ("mailchimp_rating", "number", "the member's rating, 1 to 5"),
    ("mailchimp_vip", "true or false", "whether the member is a VIP"),
    ("mailchimp_language", "text", "the member's language"),
    ("mailchimp_source", "text", "where the member came from"),
    ("mailchimp_tags", "list of texts", "names of tags"),
    ("mailchimp_opted_in", "date and time", "when the member opted in"),
    ("mailchimp_sms_phone_number", "text", "a number for text messages that is not valid"),
)
_INTERESTS = ("mailchimp_interests", "list of texts", "names of interests")
_PERMISSIONS = ("mailchimp_permissions", "list of texts", "names of marketing permissions that are given")

_is_bare = re.compile(r"[A-Za-z0-9_-]+", re.ASCII).fullmatch


def rows(fields: ListFields, rules: ContactRules) -> list[tuple[str, ...]]:
    """Returns a row below COLUMNS for each of the list's merge fields, in the list's order."""
    return [
        (
            escape(mapping.merge.tag),
            escape(mapping.merge.name),
            escape(mapping.merge.type),
            _destination(mapping, rules) or "left out",
        )
        for mapping in _listed(fields, rules)
    ]


def _destination(mapping: FieldMapping, rules: ContactRules) -> str:
    """Returns where the values really go: on a list with SMS statuses, no merge field is the phone number."""
    return (
        f"properties.{mapping.fallback_property}"
        if rules.has_sms and mapping.field == "phone_number"
        else target(mapping)
    )


def target(mapping: FieldMapping) -> str:
    """Returns the target as `[fields]` names it: a field of the contact, `properties.NAME`, or "" for "left out"."""
    return "" if mapping.dropped else mapping.field or f"properties.{mapping.fallback_property}"


def custom_fields(fields: ListFields, rules: ContactRules) -> list[CustomField]:
    """Returns a row below CUSTOM_COLUMNS for each property that this list may need, those of its merge fields first."""
    optional = [_INTERESTS] if fields.interests else []
    optional += [_PERMISSIONS] if has_permissions(fields, rules) else []
    return [*_of_merge_fields(fields, rules), *_OWN, *optional]


def too_many(custom: Sequence[CustomField]) -> list[str]:
    """Returns a warning for each type of which more custom fields are needed than Ometria allows."""
    counts = Counter(kind for _, kind, _ in custom)
    return [
        f"{number:,} custom fields of type {kind}, but Ometria allows {MOST_OF_A_TYPE}: leave some out in [fields]"
        for kind, number in counts.items()
        if number > MOST_OF_A_TYPE
    ]


def interests(fields: ListFields) -> str:
    """Returns the names of the interests in one line, without their categories, which Ometria does not get either."""
    return ", ".join(filter(None, map(escape, fields.interests.values())))


def fields_table(fields: ListFields, rules: ContactRules) -> str:
    """Returns a `[fields]` table with a line for each merge field, which changes nothing until it is edited.

    Tags that are configured but not on this list stay in it, because `[fields]` serves all lists of a client. What
    `[fields]` cannot express is commented out.
    """
    lines = ["[fields]"]
    seen: set[str] = set()
    for mapping in field_mappings(fields, rules).values():
        tag = mapping.merge.tag
        if not mapping.listed and tag.upper() not in {name.upper() for name in rules.fields}:
            continue
        line = f"{_key(tag)} = {json.dumps(target(mapping))}"
        is_valid = tag.upper() not in seen and not target(mapping).startswith("properties.mailchimp_")
        seen.add(tag.upper())
        lines.append(f"{'' if is_valid else '# '}{line}  # {_remark(mapping)}")
    return "\n".join(lines) + "\n"


def _listed(fields: ListFields, rules: ContactRules) -> list[FieldMapping]:
    return [mapping for mapping in field_mappings(fields, rules).values() if mapping.listed]


def _of_merge_fields(fields: ListFields, rules: ContactRules) -> Iterator[CustomField]:
    for mapping in _listed(fields, rules):
        tag = escape(mapping.merge.tag)
        if mapping.dropped:
            continue
        if not mapping.field:
            kind = "text" if mapping.is_phone else _KINDS.get(mapping.merge.type, "text")
            yield mapping.fallback_property, kind, tag
        elif not takes_any_text(mapping.field):
            kind = "object" if mapping.merge.type == "address" else "text"
            yield mapping.fallback_property, kind, f"{tag}, where it does not fit {mapping.field}"


def _key(tag: str) -> str:
    """Returns the tag as a TOML key; characters that TOML forbids even in quotes are escaped."""
    return tag if _is_bare(tag) else json.dumps(tag, ensure_ascii=False).replace("\x7f", "\\u007F")


def _remark(mapping: FieldMapping) -> str:
    if not mapping.listed:
        return "not a field of this list"
    return ", ".join(escape(words) for words in (mapping.merge.name, mapping.merge.type) if words)
