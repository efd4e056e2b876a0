"""The two services' own clock: this machine's, wrong by the knob, and moved on by hand."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import formatdate

from mcimport.sandbox.settings import SandboxSettings


class Clock:
    """Epoch seconds; safe to read from any thread."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._ahead = 0.0 if settings.start is None else settings.start - time.time()

    def now(self) -> float:
        return time.time() + self._ahead + self._settings.clock_skew

    def second(self) -> int:
        """The whole second: Mailchimp's times have no more."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        self._ahead += seconds

    def http_date(self) -> str:
        """What an answer says, which may be another clock than the one that dates changes."""
        return formatdate(int(self.now() + self._settings.edge_skew), usegmt=True)


def iso(seconds: int) -> str:
    """As Mailchimp writes times: ISO 8601, whole seconds, an offset. Not set (0) is an empty text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else ""


# A plus that was not percent-encoded arrives as a blank before the offset.
_IGNORED_TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+(Z|[+ -]\d\d:?\d\d)?| \d\d:?\d\d)")


def query_time(text: str) -> int | None:
    """Epoch seconds; None for a time that Mailchimp was seen to ignore: with a fraction, or with a bare plus.

    Raises:
        ValueError: this is no time.
    """
    if _IGNORED_TIMES.fullmatch(text):
        return None
    return epoch(text)


def epoch(text: str) -> int:
    """Epoch seconds of an ISO 8601 time, UTC where it has no zone. Raises ValueError when it is none."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
