"""Mailchimp's times as text, and as whole seconds since the epoch.

Mailchimp writes ISO 8601 with an offset and whole seconds (`2026-11-24T08:00:00+00:00`). A fraction of a second
must never go into a query: one in `since_last_changed` made the API ignore the filter and answer with everybody.
"""

from __future__ import annotations

import operator
import re
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A year's distance from the calendar's ends, so that nobody who reckons with a time falls off them; what programs write
# there (0001-01-01, 9999-12-31) means "no time" anyway.
_FIRST = (datetime(2, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LAST = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)

# fromisoformat alone would also take week dates, bare hours, any separator and times that name no offset.
_is_time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)", re.ASCII).fullmatch


USUAL_LENGTH = len("2026-11-24T08:00:00+00:00")


_signs = operator.itemgetter(7, 10, 13, 16, 19, 22)
_USUAL_SIGNS = ("-", "T", ":", ":", "+", ":")


def _is_usual(text: str) -> bool:
    """As Mailchimp writes it, as far as these signs can tell; what is no date is left to `fromisoformat`."""
    return len(text) == USUAL_LENGTH and _signs(text) == _USUAL_SIGNS


def epoch(text: Any) -> int | None:
    """Seconds UTC of an ISO 8601 time with an offset or `Z`; a fraction is dropped.

    None for anything else: another type, blanks, a time without an offset, a date that does not exist or lies in the
    first or last year of the calendar. What is not
    None always goes back through `iso`.
    """
    if not isinstance(text, str) or not (_is_usual(text) or _is_time(text)):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = moment - _EPOCH
    seconds = since.days * 86_400 + since.seconds  # half the cost of `since // one second`, and floors as it does
    return seconds if _FIRST <= seconds <= _LAST else None


def iso(seconds: int) -> str:
    """The time as Mailchimp writes it and both APIs take it, in UTC: `2026-11-24T08:00:00+00:00`.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()
