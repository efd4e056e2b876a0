"""`--every`: round after round, each a call of its own, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import math
import random
import re
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mcimport.cli import exits
from mcimport.cli.output import print_error
from mcimport.errors import ConfigError
from mcimport.errors.machine import as_ours
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
    """When rounds are due: every so many seconds after the first; what is due while a round goes on is skipped.

    `interval`: seconds.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._began = time.monotonic()
        self._round = 0

    def begin_round(self) -> None:
        self._round = self._rounds_due()

    @property
    def pace(self) -> float:
        """Seconds between the starts of this round and the next, if this one ended now: more where some are skipped."""
        return (self._rounds_due() + 1 - self._round) * self._interval

    def seconds_left(self) -> float:
        """Returns how long to wait for the next round, by chance a little longer."""
        due = (self._rounds_due() + 1) * self._interval
        jitter = random.uniform(0, min(JITTER * self._interval, MOST_JITTER))  # noqa: S311 - nothing is kept secret
        return self._began + due + jitter - time.monotonic()

    def _rounds_due(self) -> int:
        return math.floor((time.monotonic() - self._began) / self._interval)


def run_rounds(schedule: Schedule, call: Callable[[list[int]], int]) -> int:
    """Calls again and again, and returns the exit code of the signal that ended it.

    `call` appends the signals that it takes itself. An error of a round is printed, and the next round may do better;
    but a ConfigError of the first is raised, for somebody sees it.
    """
    with _caught_signals() as (caught, wait):
        is_first = True
        while not caught:
            schedule.begin_round()
            try:
                call(caught)
            except Exception as error:
                if is_first and isinstance(error, ConfigError):
                    raise
                print_error(as_ours(error))
            is_first = False
            if not caught:
                wait(schedule.seconds_left())
        return exits.SIGTERM if caught[0] == signal.SIGTERM else exits.CTRL_C


@contextmanager
def _caught_signals() -> Iterator[tuple[list[int], Callable[[float], None]]]:
    """Yields the signals that came, in order, and a wait of so many seconds, which ends with one.

    Python writes a byte to the socket for each signal: so one that comes just before the wait ends it, too, and the
    handler takes no lock that the main thread may hold.
    """
    caught: list[int] = []
    reader, writer = socket.socketpair()

    def handle(number: int, _: FrameType | None) -> None:
        caught.append(number)

    def wait(seconds: float) -> None:
        select.select([reader], [], [], max(0.0, seconds))

    with reader, writer:
        writer.setblocking(False)  # noqa: FBT003 - it takes no keyword
        woken = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield caught, wait
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken)
