"""Converts Mailchimp's times between text and whole seconds since the epoch.

Mailchimp writes ISO 8601 with an offset and whole seconds (`2026-11-24T08:00:00+00:00`). A fraction of a second
must never go into a query: one in `since_last_changed` made the API ignore the filter and return all members. (Facts
mailchimp-times, mailchimp-fractions.)

Tables that learn, here and in `convert.text`: every member has several times, and a few texts that many others have as
well. A module-level dict, looked up first and filled by the slow way, costs a fifth of `lru_cache` with a check of the
type: a value of another type ends in the same `except`, as KeyError or, where it cannot be hashed, TypeError. Each has
a limit, so that no list can fill the memory.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A year's distance from the calendar's ends, so that sums with a time stay inside it; what programs write there
# (0001-01-01, 9999-12-31) means "no time" anyway.
_FIRST = (datetime(2, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LAST = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)

# fromisoformat alone would also take week dates, bare hours and any separator.
_is_time = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII).fullmatch


Instant = tuple[int, str]
"""A time as seconds UTC and as it is sent."""

USUAL_LENGTH = len("2026-11-24T08:00:00+00:00")

# The three parts of a time as Mailchimp writes it: "2026-11-24T", "08:00:" and "00+00:00", as seconds. Days are learned
# from times that `_read` has read; to look up each part costs a third of what a calendar costs.
_DAYS: dict[str, int] = {}
_MOST_DAYS = 40_000  # a century of them, and some four megabytes
_MINUTES = {f"{hour:02}:{minute:02}:": 3600 * hour + 60 * minute for hour in range(24) for minute in range(60)}
_SECONDS = {f"{second:02}+00:00": second for second in range(60)}


def epoch(text: Any) -> int | None:
    """Returns the epoch seconds of an ISO 8601 time, which is UTC where it names no offset; a fraction is dropped.

    None for anything else: another type, blanks, a date that does not exist or is in the first or last year of the
    calendar. `iso` converts every other result back.
    """
    try:
        return _DAYS[text[:11]] + _MINUTES[text[11:17]] + _SECONDS[text[17:]]
    except (KeyError, TypeError):  # TypeError: it is not a text
        return _read(text) if isinstance(text, str) else None


def instant(text: Any) -> Instant | None:
    """Returns the epoch seconds and the text that is sent; None for what is no time.

    The text is rewritten only where it is not in Mailchimp's usual form already.
    """
    if not text:
        return None  # often one of the two times at which a member signed up
    try:
        return _DAYS[text[:11]] + _MINUTES[text[11:17]] + _SECONDS[text[17:]], text
    except (KeyError, TypeError):
        seconds = epoch(text)
    if seconds is None:
        return None
    return seconds, text if _is_usual(text) else iso(seconds)


def _read(text: str) -> int | None:
    """Reads a time of any form, and learns the day of a usual one."""
    if not _is_time(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    if not _FIRST <= seconds <= _LAST:
        return None
    if _is_usual(text) and len(_DAYS) < _MOST_DAYS:
        _DAYS[text[:11]] = seconds - _MINUTES[text[11:17]] - _SECONDS[text[17:]]
    return seconds


def _is_usual(text: str) -> bool:
    """Says whether this time, which exists, is written as Mailchimp writes times."""
    return len(text) == USUAL_LENGTH and text[10] == "T" and text[17:] in _SECONDS


def iso(seconds: int) -> str:
    """Returns the time as Mailchimp writes it and both APIs accept it, in UTC: `2026-11-24T08:00:00+00:00`.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()
