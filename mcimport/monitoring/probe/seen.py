"""What a probe has seen of one fact: a verdict, and the evidence in numbers and in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

NO_TIME = "there was no time left: the services were slow"

Verdict = Literal["holds", "differs", "unknown"]
HOLDS: Verdict = "holds"
DIFFERS: Verdict = "differs"
UNKNOWN: Verdict = "unknown"

Evidence = dict[str, Any]
"""Counts, shares, seconds, and names of fields; nothing of any member or contact."""

Seen = tuple[Verdict, Evidence]

_is_name = re.compile(r"@?[A-Za-z_]{1,40}").fullmatch


def is_name(text: str) -> bool:
    """Says whether a text of a service may be shown as the name of a field: it has no digit, blank or @ within."""
    return _is_name(text) is not None


def names(texts: Iterable[str]) -> list[str]:
    """Returns those that may be shown, sorted."""
    return sorted({text for text in texts if is_name(text)})


def judged(*, holds: bool, is_known: bool = True) -> Verdict:
    if not is_known:
        return UNKNOWN
    return HOLDS if holds else DIFFERS
