"""What Ometria's asynchronous validation refuses of a record."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

Complaint = dict[str, str]
"""`error_message` and `error_path`, as `GET /push/_errors` lists them."""

_SHAPES = {
    "email": r"[^@\s<>\"]+@[^@\s<>\"]+\.[^@\s<>\"]+",
    "marketing_optin": r"EXPLICITLY_OPTEDIN|EXPLICITLY_OPTEDOUT|NOT_SPECIFIED",
    "country_id": r"[A-Z]{2}",
    "phone_number": r"\+[1-9]\d{6,14}",
    "gender": r"m|f|o",
    "id": r"[^@]+",
    "@collection": r".+",
    "@type": r".+",
}
_TEXTS = ("firstname", "middlename", "lastname", "prefix", "customer_id", "timezone")
_TIMES = ("timestamp_acquired", "timestamp_subscribed", "timestamp_unsubscribed")
_OTHERS = ("@add_to_lists", "@remove_from_lists", "@merge", "@force_optin", "store_ids", "date_of_birth")
_FIELDS = {*_SHAPES, *_TEXTS, *_TIMES, *_OTHERS, "channels", "properties"}
_FIELD_ID = re.compile(r"[a-z0-9_]+")


def complaint_of(record: dict[str, Any], *, known: bool) -> Complaint | None:
    """The first thing wrong with a record; None if nothing is. Only a contact's own fields are looked at.

    Args:
        record: as pushed.
        known: a record with its id is stored already, so this one may be a part only.
    """
    needed = ("@type", "id") if known or record.get("@type") != "contact" else ("@type", "id", "email", "@collection")
    for name in needed:
        if name not in record:
            return _complaint("required", name)
    fields = record if record["@type"] == "contact" else {name: record[name] for name in needed}
    return next((wrong for name, value in fields.items() if (wrong := _wrong(name, value))), None)


def _wrong(name: str, value: Any) -> Complaint | None:
    if name not in _FIELDS:
        return _complaint("unknown field", name)
    if name == "properties":
        right = isinstance(value, dict) and _are_properties(value)
    elif name == "channels":
        right = _are_channels(value)
    else:
        right = _check_of(name)(value)
    return None if right else _complaint("not a valid value", name)


def _complaint(message: str, name: str) -> Complaint:
    return {"error_message": message, "error_path": f"root > {name}"}


def _check_of(name: str) -> Callable[[Any], bool]:
    if name in _SHAPES:
        return lambda value: isinstance(value, str) and re.fullmatch(_SHAPES[name], value, re.DOTALL) is not None
    if name in _TEXTS:
        return lambda value: isinstance(value, str)
    if name in _TIMES:
        return _is_time
    return _is_date if name == "date_of_birth" else lambda _: True


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _is_date(value: Any) -> bool:
    try:
        return bool(date.fromisoformat(value).isoformat() == value)
    except (TypeError, ValueError):
        return False


def _are_channels(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(channel, dict) and all(isinstance(allowed, bool) for allowed in channel.values())
        for channel in value.values()
    )


def _are_properties(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_FIELD_ID.fullmatch(name) is not None and _are_properties(part) for name, part in value.items())
    return all(map(_are_properties, value)) if isinstance(value, list) else True
