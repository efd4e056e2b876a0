"""Pushes a second: no more than an account takes, measured where they are sent."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

from mcimport.errors import InterruptedRunError
from mcimport.services.http.shutdown import StopSignal

SLACK, MORE_SLACK, MOST_SLACK = 1.01, 0.01, 1.05  # what leaves evenly arrives less so: a second is a little longer
NEARLY = 0.85  # the share of the configured pushes that, when taken in the last second, tells that all of them are
NOT_SENT_YET = 0.02  # seconds between two looks at a turn whose request has not left yet
RECOVERY = 2_000  # the configured rate's share by which an answered push raises the present one, at first
QUEUE_LOW = 10_000  # records of room in Ometria's queue below which pushes slow down


class Permit:
    """One push's place in the pace. `moment`: when its bytes had left (monotonic); infinite until that is known."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.moment = math.inf

    def sent(self) -> None:
        """The request is on the wire, or will never be: between turn and sending a connection may have been made."""
        self.moment = min(self.moment, time.monotonic())


class RateLimiter:
    """So many turns a second, evenly spaced, and never more than that in any second, as measured where they are sent.

    One for each Ometria account. A refusal (429) gives every second a little more air, for the way may be less even
    than was hoped. Where less was taken in the last second than is configured, that is what the account takes, and the
    new rate. Answers raise it again, the faster the longer no refusal came, up to the configured one. A queue that
    reports little room slows the turns in proportion.
    """

    def __init__(self, per_second: float) -> None:
        self._most = per_second
        self._rate = per_second
        self._room = 1.0
        self._slack = SLACK
        self._next = 0.0
        self._cut_at = 0.0
        self._calm = 0
        self._taken: deque[float] = deque(maxlen=math.ceil(per_second) + 1)
        self._lock = threading.Lock()
        self._latest: deque[Permit] = deque(maxlen=max(1, math.floor(per_second)))

    def permit(self, stop: StopSignal) -> Permit:
        """Waits for the next turn; raises InterruptedRunError at `stop.aborted`."""
        while True:
            with self._lock:
                now = time.monotonic()
                pause = max(self._next, self._window_opens()) - now
                if pause <= 0:
                    permit = Permit(now)
                    self._latest.append(permit)
                    self._next = now + 1 / (self._rate * self._room)
                    return permit
            if stop.aborted.wait(pause):
                raise InterruptedRunError("stopped")

    def pause(self, seconds: float) -> None:
        """No turn for so long: somebody else may have taken turns of the account until now."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _window_opens(self) -> float:
        """When the oldest of the latest turns, as many as a second may hold, is more than that second ago.

        One that is not on the wire yet may be there at any moment: so not before a little later.
        """
        if len(self._latest) < (self._latest.maxlen or 1):
            return 0.0
        sent = self._latest[0].moment
        if sent == math.inf:
            return time.monotonic() + NOT_SENT_YET
        return sent + self._slack * len(self._latest) / self._most

    def refused(self, permit: Permit) -> None:
        """A 429: those that were under way together count once."""
        with self._lock:
            if permit.began < self._cut_at:
                return
            self._cut_at = time.monotonic()
            self._calm = 0
            self._slack = min(MOST_SLACK, self._slack + MORE_SLACK)
            in_a_second = sum(moment > self._cut_at - 1.0 for moment in self._taken)
            if in_a_second >= NEARLY * self._most:
                return  # the account takes what is configured: the way there was uneven, and there is more air now
            self._rate = max(self._most / 32, min(0.95 * self._rate, in_a_second or 0.5 * self._rate))
            self._next = max(self._next, self._cut_at + 0.5)

    def served(self, room: int | None) -> None:
        """A push was taken; `room` is what the queue says it has left, in records, None when it says nothing."""
        with self._lock:
            self._calm += 1
            self._taken.append(time.monotonic())
            self._rate = min(self._most, self._rate + self._most / RECOVERY * (1 + self._calm / 100))
            self._room = 1.0 if room is None else max(0.02, min(1.0, room / QUEUE_LOW))
