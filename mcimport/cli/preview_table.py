"""Members beside the contacts they become: the only place that shows personal data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size

from mcimport.convert import encode_contact, permissions_of
from mcimport.models import Conversion, Converted, ListFields, Member, Skipped, Unsendable
from mcimport.report.format import escape

HEADS = ("Mailchimp member", "Ometria contact")
_PLACE = ("country_code", "timezone")  # what is used of `location`
_LEAST_SIDE, _MOST_SIDE = 46, 90  # columns


def rows(member: Member, conversion: Conversion, fields: ListFields, width: int) -> list[tuple[str, str]]:
    """Returns the member's filled fields at the left, the contact's at the right; cut to fit `width` columns."""
    side = min(_MOST_SIDE, max(_LEAST_SIDE, width // 2 - 2))
    left = _lines(_member_pairs(member, fields), side)
    right = _lines(_contact_pairs(conversion), side)
    return list(zip_longest(left, right, fillvalue=""))


def remarks(conversion: Conversion) -> list[str]:
    """Returns why the member becomes no contact, or a line for each field that was left out or changed, and why."""
    if reason := _reason_not_sent(conversion):
        return [reason]
    if isinstance(conversion, Converted):
        return [f"{escape(name)}: {escape(why)}" for name, why in conversion.notes]
    return []


def document(member: Member, conversion: Conversion) -> dict[str, Any]:
    """Returns both sides for programs. `contact` is null where `reason` says why."""
    converted = conversion if isinstance(conversion, Converted) else None
    return {
        "member": {name: value for name, value in msgspec.to_builtins(member).items() if value is not None},
        "contact": msgspec.to_builtins(converted.contact) if converted else None,
        "reason": _reason_not_sent(conversion) or None,
        "warnings": list(converted.warnings) if converted else [],
        "notes": [{"field": name, "why": why} for name, why in converted.notes] if converted else [],
    }


def _reason_not_sent(conversion: Conversion) -> str:
    """Returns why the member cannot be sent; empty for one who can."""
    if isinstance(conversion, Skipped):
        return f"skipped: {conversion.reason}"
    encoded = encode_contact(conversion.contact) if isinstance(conversion, Converted) else conversion
    return f"would be a dead letter: {encoded.reason}" if isinstance(encoded, Unsendable) else ""


def _member_pairs(member: Member, fields: ListFields) -> Iterator[tuple[str, str]]:
    for name in Member.__struct_fields__:
        value = getattr(member, name)
        if name == "interests" and isinstance(value, dict):
            yield name, _text([fields.interests.get(key, key) for key, chosen in value.items() if chosen is True])
        elif name in ("merge_fields", "location") and isinstance(value, dict):
            used = (key for key in value if name == "merge_fields" or key in _PLACE)
            yield from ((f"{name}.{key}", _text(value[key])) for key in used)
        elif name == "marketing_permissions":
            yield name, _text(permissions_of(value))
        else:
            yield name, _text(value)


def _contact_pairs(conversion: Conversion) -> Iterator[tuple[str, str]]:
    if not isinstance(conversion, Converted):
        yield "-", _reason_not_sent(conversion)
        return
    for name, value in msgspec.to_builtins(conversion.contact).items():
        if name in ("properties", "channels"):
            yield from ((f"{name}.{key}", _text(part)) for key, part in value.items())
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    """Returns a value on one line; empty for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        parts = ((key, _text(part)) for key, part in value.items())
        return ", ".join(f"{escape(key)}: {part}" for key, part in parts if part)
    if isinstance(value, list):
        return ", ".join(filter(None, map(_named, value)))
    return escape(str(value))


def _named(value: Any) -> str:
    """Returns the name of a tag, which Mailchimp gives as an object; any other value as `_text` does."""
    return _text(value["name"] if isinstance(value, Mapping) and "name" in value else value)


def _lines(pairs: Iterator[tuple[str, str]], side: int) -> list[str]:
    filled = [(escape(name), words) for name, words in pairs if words]
    width = max((cell_len(name) for name, _ in filled), default=0)
    return [_truncate(f"{set_cell_size(name, width)}  {words}", side) for name, words in filled]


def _truncate(line: str, width: int) -> str:
    return line if cell_len(line) <= width else set_cell_size(line, width - 3) + "..."
