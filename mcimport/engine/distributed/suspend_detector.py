"""Whether this process may still speak for what it was given: not after it stood still, when others may have it.

A broker that hears nothing for two heartbeats gives the messages to the next worker. A process that was stopped
(SIGSTOP, a suspended machine, a swapping one) does not notice; its clock tells it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mcimport.errors import InterruptedRunError

BEAT = 0.2  # seconds


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
        """Starts the thread that looks at the clock."""
        self._last = _clock()
        threading.Thread(target=self._renew, name="suspend-detector", daemon=True).start()

    def check(self) -> None:
        """Raises InterruptedRunError after a standstill, until `on_suspend` has ended what was under way."""
        if _clock() - self._last > self._seconds:
            raise InterruptedRunError("this worker was suspended")

    def end(self) -> None:
        """Ends the thread."""
        self._over.set()

    def _renew(self) -> None:
        while not self._over.wait(BEAT):
            now = _clock()
            with suppress(Exception):  # it is tried again: no request may leave before it succeeds
                if now - self._last > self._seconds:
                    self._on_suspend()
                self._last = now
