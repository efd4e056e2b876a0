"""For how long the messages that the broker gave a worker are that worker's, and no other's.

A broker that hears nothing for two heartbeats gives the messages to the next worker. A process that was stopped
(SIGSTOP, a suspended machine, a swapping one) does not notice; its clock tells it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mcimport.errors import InterruptedRunError

SILENT = 14.0  # seconds; a broker sends a heartbeat every five, and gives up a worker after 18 at the earliest
BEAT = 0.2  # seconds between two looks at the clock


class RevokedError(Exception):
    """The message came over a connection that has ended: it may be another worker's by now."""


class BrokerTerm:
    """Numbers the connections to the broker: a term begins with each, and ends with it or before.

    Once a connection is over, the broker gives all that it delivered over it to another worker, also what only waits
    here. So each message is processed in its own term alone. Safe to use from many threads.

    Attributes:
        of_connection: the term of the present connection; a former one after `end`, until there is a new connection.
        hang_up: breaks the connection: what waits in it may be another worker's, which only a new connection tells.
    """

    def __init__(self) -> None:
        self.present = self.of_connection = 0
        self.hang_up: Callable[[], None] = lambda: None
        self._received: Callable[[], int] | None = None
        self._count, self._heard_at = -1, 0.0

    def begin(self, hang_up: Callable[[], None], received: Callable[[], int]) -> None:
        """Notes a new connection; `received` counts what has come over it."""
        self.hang_up = hang_up
        self._count, self._heard_at = -1, time.monotonic()
        self._received = received
        self.of_connection = self.present

    def end(self) -> None:
        """Ends the term, as its connection is over or about to be."""
        self.present += 1
        self._received = None

    def check(self, term: int) -> None:
        """Raises RevokedError for a term that has ended."""
        if term != self.present:
            raise RevokedError

    def is_silent(self) -> bool:
        """Returns whether nothing has come from the broker for too long; called about every second.

        Then it may not receive what this worker sends either, and give its messages to another.
        """
        received, now = self._received, time.monotonic()
        if received is None:
            return False
        if (count := received()) != self._count:
            self._count, self._heard_at = count, now
            return False
        return now - self._heard_at > SILENT


def _clock() -> float:
    """Seconds; goes on while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SuspendDetector:
    """Looks at the clock a few times a second, and finds out that this process did not run for too long.

    Args:
        seconds: for which the process may stand still.
        on_suspend: ends what was under way, after the process stood still for longer; called again where it raises.
    """

    def __init__(self, seconds: float, on_suspend: Callable[[], None]) -> None:
        self._seconds = seconds
        self._on_suspend = on_suspend
        self._last = _clock()
        self._over = threading.Event()

    def start(self) -> None:
        self._last = _clock()
        threading.Thread(target=self._renew, name="suspend-detector", daemon=True).start()

    def check(self) -> None:
        """Raises InterruptedRunError after a standstill, until `on_suspend` has ended what was under way."""
        if _clock() - self._last > self._seconds:
            raise InterruptedRunError("this worker was suspended")

    def end(self) -> None:
        self._over.set()

    def _renew(self) -> None:
        while not self._over.wait(BEAT):
            now = _clock()
            with suppress(Exception):  # it is tried again: no request may leave before it succeeds
                if now - self._last > self._seconds:
                    self._on_suspend()
                self._last = now
