"""When the rounds of `--every` are due."""

from __future__ import annotations

import math
import random
import re
import time

from mcimport.errors import ConfigError
from mcimport.report.format import escape

JITTER = 0.1  # of the interval: so much later may a round start, for the schedulers of many hosts must not start as one
MOST_JITTER = 30.0  # seconds
LONGEST = 366 * 86_400  # seconds

_INTERVAL = re.compile(r"([1-9]\d{0,5})\s*(s|m|min|h|d)", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def parse_interval(text: str) -> int:
    """Returns seconds. Raises ConfigError for what is no number with a unit."""
    found = _INTERVAL.fullmatch(text.strip())
    seconds = 0 if found is None else int(found[1]) * _SECONDS[found[2].lower()]
    if not 0 < seconds <= LONGEST:
        hint = "Write a number of seconds, minutes, hours or days, up to a year, like 30s, 5m or 1h."
        raise ConfigError(f"--every {escape(text)}: not understood", hint=hint)
    return seconds


class Schedule:
    """Rounds are due every so many seconds after the first; what is due while one is being begun is skipped.

    The system's clock may be set meanwhile: that moves no round.

    `interval`: seconds.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._began = time.monotonic()

    def seconds_left(self) -> float:
        """Returns how long to wait for the next round, by chance a little longer."""
        due = (math.floor((time.monotonic() - self._began) / self.interval) + 1) * self.interval
        jitter = random.uniform(0, min(JITTER * self.interval, MOST_JITTER))  # noqa: S311 - nothing is kept secret
        return max(0.0, self._began + due + jitter - time.monotonic())
