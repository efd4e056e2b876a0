"""Turns any JSON value into clean text, or into a number.

One rule for every text of Mailchimp: HTML entities (those that end in a semicolon, so that `?a=1&copy=2` stays
what it is) become characters, once; line breaks and tabs become one blank; other control characters and lone
surrogates go; Unicode is composed (NFC); blanks and invisible characters are trimmed from both ends.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from typing import Any

# Blanks of every kind, zero-width ones, direction marks, fillers and the blank of Braille: nothing that a reader sees.
_INVISIBLE = "".join(
    chr(code)
    for low, high in (
        (0x00, 0x20),
        (0x7F, 0xA0),
        (0xAD, 0xAD),
        (0x034F, 0x034F),
        (0x061C, 0x061C),
        (0x115F, 0x1160),
        (0x1680, 0x1680),
        (0x17B4, 0x17B5),
        (0x180E, 0x180E),
        (0x2000, 0x200F),
        (0x2028, 0x202F),
        (0x205F, 0x206F),
        (0x2800, 0x2800),
        (0x3000, 0x3000),
        (0x3164, 0x3164),
        (0xFEFF, 0xFEFF),
        (0xFFA0, 0xFFA0),
    )
    for code in range(low, high + 1)
)

REPLACED = "\ufffd"
"""Stands for what could not be read; a text that holds it must not replace a good one in Ometria."""

_entity = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});", re.ASCII)
_breaks = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_unwanted = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# A dot before exactly three digits may separate thousands ("1.250"), a leading zero makes a code: neither is a number.
_is_number = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.(?:\d{1,2}|\d{4,15}))?", re.ASCII).fullmatch


def trim(text: str) -> str:
    """Returns the text without blanks and invisible characters at both ends; "" where there is nothing else."""
    return text.strip(_INVISIBLE)


def clean(text: str) -> str:
    """Returns the text by this module's rule; "" where nothing is left that can be seen."""
    if text.isprintable() and "&" not in text:  # nearly always: there is nothing to remove inside
        if text.isascii():
            return text.strip()
        return "" if REPLACED in text else trim(unicodedata.normalize("NFC", text))
    text = _entity.sub(lambda found: html.unescape(found[0]), text)
    text = _unwanted.sub("", _breaks.sub(" ", text))
    return "" if REPLACED in text else trim(unicodedata.normalize("NFC", text))


_LABELS: dict[str, str] = {}  # results of `clean`: why a dict that learns is explained in `models.timestamps`
_MOST_LABELS = 4096
_LONGEST_LABEL = 100  # characters, so that the dict stays below a megabyte or two


def number(value: Any) -> int | float | None:
    """Returns a number that JSON can hold (finite, at most 64 bits), also of a text that certainly is one.

    None for anything that can be read in another way: `1,250`, `1.250`, `007`, true.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and _is_number(value):
        return float(value) if "." in value else int(value)
    return None


def shared_text(value: Any) -> str:
    """Returns the clean text of what many members share (a language, a tag), from a dict; "" for what is no text."""
    try:
        return _LABELS[value]
    except (KeyError, TypeError):  # TypeError: an array or an object
        return _learned(value) if isinstance(value, str) else ""


def _learned(value: str) -> str:
    found = clean(value)
    if len(value) <= _LONGEST_LABEL:
        if len(_LABELS) >= _MOST_LABELS:
            _LABELS.clear()  # frequent labels are soon there again
        _LABELS[value] = found
    return found


def text(value: Any) -> str | None:
    """Returns clean text for a text, a number or a truth value; None for null, arrays, objects, numbers beyond JSON."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if number(value) is None else str(value)
