"""Readers, which turn a merge field's value into what its type, or the contact field it goes to, requires.

A reader takes clean, non-empty text, a number, a truth value, an array, or an address that `address` has cleaned. It
returns None where the value does not fit; it never guesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from mcimport.convert.country import believed, country_code
from mcimport.convert.text import clean, number, shared_text, text
from mcimport.models import MergeField

Reader = Callable[[Any], Any]

NAMES = ("firstname", "middlename", "lastname", "prefix")
NAME_LIMIT = 255  # characters; Ometria's

TEXT_TYPES = ("text", "zip", "url", "imageurl", "radio", "dropdown", "birthday")  # types whose values are text as it is
_SHARED_TYPES = ("zip", "radio", "dropdown", "birthday")  # of these, those that many members have in common

_ADDRESS_KEYS = ("addr1", "addr2", "city", "state", "zip", "country")
_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f", "o": "o", "other": "o"}
_BIRTH_YEARS = range(1900, 2100)  # beyond them stand placeholders

_has_address = re.compile(r"[^\s@]@[^\s@]+\.[^\s@]").search
_iso_date = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ]\d\d:\d\d.*)?", re.ASCII).fullmatch
_LONGEST_DATE = 64  # characters
_local_date = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})", re.ASCII).fullmatch


def address(value: Mapping[str, Any]) -> dict[str, str]:
    """Returns Mailchimp's six parts of an address as clean text, without those that are empty.

    Empty where nothing is left but the US that Mailchimp fills in by itself.
    """
    parts = {
        key: part
        for key in _ADDRESS_KEYS
        if (given := value.get(key)) and (part := clean(given) if isinstance(given, str) else text(given))
    }
    return parts if len(parts) > 1 or parts != {"country": "US"} else {}


def is_email(value: Any) -> bool:
    """Says whether a text holds an e-mail address, which no name does."""
    return isinstance(value, str) and "@" in value and _has_address(value) is not None


def _plain(value: Any) -> str | None:
    return value if isinstance(value, str) else text(value)


def _object(value: Any) -> dict[str, str] | None:
    return value if isinstance(value, dict) else None


def _anything(value: Any) -> Any:
    if isinstance(value, str | bool | dict):
        return value
    return number(value)


def _name(value: Any) -> str | None:
    name = _plain(value)
    return None if name is None or is_email(name) else name[:NAME_LIMIT].rstrip()


def _gender(value: Any) -> str | None:
    return _GENDERS.get(value.casefold()) if isinstance(value, str) else None


def _country(value: Any) -> str | None:
    return country_code(believed(value) if isinstance(value, dict) else value)


def _date(options: Mapping[str, Any]) -> Reader:
    """Reads `YYYY-MM-DD`, and days written in the order of the field's `date_format`, as `YYYY-MM-DD`."""
    order = options.get("date_format")

    def read(value: Any) -> str | None:
        return read_text(value) if isinstance(value, str) and len(value) <= _LONGEST_DATE else None

    @lru_cache(maxsize=4096)
    def read_text(value: str) -> str | None:
        if found := _iso_date(value):
            return _day(found[1], found[2], found[3])
        found = _local_date(value)
        if found and order == "MM/DD/YYYY":
            return _day(found[3], found[1], found[2])
        if found and order == "DD/MM/YYYY":
            return _day(found[3], found[2], found[1])
        return None

    return read


def _day(year: str, month: str, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def _birth_date(merge: MergeField) -> Reader:
    """Returns the reader of a date of birth: a birthday field has no year, but every other may hold a full date."""
    whole = _date(merge.options)

    def read(value: Any) -> str | None:
        day: str | None = None if merge.type == "birthday" else whole(value)
        return day if day and int(day[:4]) in _BIRTH_YEARS else None

    return read


def property_reader(merge: MergeField) -> Reader:
    """Returns the reader for the field's type; one for anything where the type is unknown (the list was changed)."""
    if merge.type == "date":
        return _date(merge.options)
    readers: dict[str, Reader] = {"number": number, "address": _object}
    return _plain if merge.type in (*TEXT_TYPES, "phone") else readers.get(merge.type, _anything)


def quick_reader(merge: MergeField) -> Reader | None:
    """Returns a fast reader of values in their usual form; it returns None for what `property_reader` must read.

    There is none for types whose values are never that simple.
    """
    if merge.type in TEXT_TYPES:
        return _shared_text_or_none if merge.type in _SHARED_TYPES else _text_or_none
    return {"number": number, "date": _date(merge.options)}.get(merge.type)


def _text_or_none(value: Any) -> str | None:
    return clean(value) or None if isinstance(value, str) else None


def _shared_text_or_none(value: Any) -> str | None:
    return shared_text(value) or None


def field_reader(merge: MergeField, field: str) -> Reader:
    if field in NAMES:
        return _name
    return _FIELD_READERS[field](merge) if field in _FIELD_READERS else _plain


def takes_any_text(field: str) -> bool:
    """Says whether every text fits the contact field; what does not fit one goes to a property."""
    return field != "phone_number" and field not in _FIELD_READERS


_FIELD_READERS: Mapping[str, Callable[[MergeField], Reader]] = {
    "country_id": lambda _: _country,
    "date_of_birth": _birth_date,
    "gender": lambda _: _gender,
}
