"""The values of `--since`: an ISO 8601 date or time, an age, or now."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Literal

from mcimport.errors import ConfigError
from mcimport.report.format import escape

Since = int | Literal["now"]

_AGE = re.compile(r"(\d{1,6})\s*(s|min|m|h|d|w)", re.IGNORECASE)
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EXAMPLES = "Use a date (2026-11-24), a time (2026-11-24T08:00:00+00:00), an age (90min, 36h, 7d, 2w) or now."
_AS_GOOD_AS_NOW = 60  # seconds; so that `run(key, datetime.now())` means what it says
_AHEAD = 300  # seconds; a time that is further ahead was typed by mistake


def parse(text: str, now: datetime | None = None) -> Since:
    """Returns seconds since the epoch, or "now". A time without an offset is local time, a date its local midnight.

    Raises ConfigError for anything else, and for a bare `m`: it may mean minutes or months.
    """
    words = text.strip()
    if words.lower() == "now":
        return "now"
    now = now or datetime.now().astimezone()
    age = _AGE.fullmatch(words)
    if age and age[2].lower() == "m":
        raise ConfigError(
            f"--since {words}: m could mean minutes or months", hint=f"Write {age[1]}min for minutes, or give a date."
        )
    try:
        if age:
            return moment(now - timedelta(seconds=int(age[1]) * _SECONDS[age[2].lower()]), now)
        return moment(datetime.fromisoformat(words), now)
    except (ValueError, OverflowError):
        raise ConfigError(f"--since {escape(words)}: not understood", hint=_EXAMPLES) from None


def read_as(text: str, parsed: Since | None) -> str:
    """Returns whose midnight a date, or whose time one without an offset, was taken for; empty for all others."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return ""
    if when.tzinfo is not None or not isinstance(parsed, int):
        return ""
    local, utc = (datetime.fromtimestamp(parsed, zone) for zone in (None, UTC))
    zone = local.astimezone().strftime("%Z, UTC%z")
    said = f"--since {text.strip()}: from {local:%Y-%m-%d %H:%M:%S} of this machine ({zone})"
    return f"{said}, {utc:%Y-%m-%d %H:%M:%S} UTC"


def moment(when: datetime, now: datetime | None = None) -> Since:
    """Returns seconds since the epoch; "now" for a time less than a minute ago, or a few minutes ahead.

    A naive `when` is local time. Raises ConfigError for a time that is further ahead, or that this machine cannot
    compute with, such as the year 1.
    """
    now = now or datetime.now().astimezone()
    try:
        seconds = when.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError("--since: date out of range", hint=_EXAMPLES) from None
    if seconds > now.timestamp() + _AHEAD:
        raise ConfigError("--since: that time is in the future", hint=_EXAMPLES)
    return "now" if seconds > now.timestamp() - _AS_GOOD_AS_NOW else math.floor(seconds)
