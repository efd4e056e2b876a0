"""Whether this process may still speak for what it was given: not after it stood still, when others may have it.

A broker that hears nothing for two heartbeats gives the messages to the next worker. A process that was stopped
(SIGSTOP, a suspended machine, a swapping one) does not notice; its clock tells it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mcimport.errors import InterruptedRunError

BEAT = 0.2  # seconds


def _clock() -> float:
    """Seconds; goes on while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SuspendDetector:
    """Renews itself as long as the process runs.

    Args:
        seconds: standing still for longer ends everything that was under way.
        on_suspend: is called then, before anything new may begin.
    """

    def __init__(self, seconds: float, on_suspend: Callable[[], None]) -> None:
        self._seconds = seconds
        self._on_suspend = on_suspend
        self._last = _clock()
        self._over = threading.Event()
        threading.Thread(target=self._renew, name="lease", daemon=True).start()

    def check(self) -> None:
        """Raises InterruptedRunError in the moment after a standstill, until what was under way has been ended."""
        if _clock() - self._last > self._seconds:
            raise InterruptedRunError("this worker was suspended")

    def end(self) -> None:
        self._over.set()

    def _renew(self) -> None:
        while not self._over.wait(BEAT):
            now = _clock()
            if now - self._last <= self._seconds or self._ended():
                self._last = now

    def _ended(self) -> bool:
        try:
            self._on_suspend()
        except Exception:  # noqa: BLE001 - whatever it is, nothing may be said before it went well, nor ever without this thread
            return False
        return True
