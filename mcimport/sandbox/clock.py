"""Tells the time of the two services: this machine's, wrong by a setting, and advanced by hand."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from email.utils import formatdate

from mcimport.sandbox.settings import SandboxSettings


class Clock:
    """Returns epoch seconds; safe to read from any thread."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._ahead = 0.0 if settings.start is None else settings.start - time.time()

    def now(self) -> float:
        return time.time() + self._ahead + self._settings.clock_skew

    def second(self) -> int:
        """Returns the whole second: Mailchimp's times have no fractions."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        self._ahead += seconds

    def http_date(self) -> str:
        """Returns the `Date` of a response, which may come from another clock than the one that dates changes."""
        ahead = self._settings.edge_skew + random.random() * self._settings.edge_spread  # noqa: S311 - not secret
        return formatdate(int(self.now() + ahead), usegmt=True)


def iso(seconds: int) -> str:
    """Returns a time as Mailchimp writes it: ISO 8601, whole seconds, an offset; "" where it is not set (0)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else ""


def epoch(text: str) -> int:
    """Returns the epoch seconds of an ISO 8601 time, UTC where it has no zone. Raises ValueError for other texts."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
