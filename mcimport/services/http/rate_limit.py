"""The limit of requests a second to one Ometria account."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

from mcimport.errors import InterruptedRunError
from mcimport.services.http.shutdown import StopSignal

SLACK, MORE_SLACK, MOST_SLACK = 1.005, 0.01, 1.05  # requests sent evenly arrive less so: a second is a little longer
NEARLY = 0.85  # of the configured rate: an account that accepted as much in the last second accepts all of it
LATE = 0.02  # seconds after its time that a permit is given while others wait for the next
NOT_SENT_YET = 0.02  # seconds between two looks at a permit whose request has not left yet
RECOVERY = 2_000  # the configured rate divided by this is what an accepted request adds to the present one, at first
QUEUE_LOW = 10_000  # records of room in Ometria's queue below which pushes slow down


class Permit:
    """Allows one request. `moment`: when its bytes had left (monotonic seconds); infinite until that is known."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.moment = math.inf

    def sent(self) -> None:
        """Notes that the request has left, or never will: a connection may have been made since the permit."""
        self.moment = min(self.moment, time.monotonic())


class RateLimiter:
    """Gives so many permits a second, evenly spaced, and no more in any second, measured when the requests leave.

    A refusal (429) makes every second a little longer, for requests may arrive less evenly than they leave. Where the
    account accepted less in the last second than is configured, that becomes the rate. Each accepted request raises it
    again, by more the longer no refusal came, up to the configured rate. A queue that reports little room slows the
    rate in proportion.
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

    def set(self, per_second: float) -> None:
        """Changes the configured rate; what was sent lately, and what the account refused, still counts."""
        with self._lock:
            if per_second == self._most:
                return
            self._rate = per_second if self._rate == self._most else min(self._rate, per_second)
            self._most = per_second
            self._taken = deque(self._taken, maxlen=math.ceil(per_second) + 1)
            self._latest = deque(self._latest, maxlen=max(1, math.floor(per_second)))

    def permit(self, stop: StopSignal) -> Permit:
        """Waits for the next permit and returns it. Raises InterruptedRunError once `stop` is aborted."""
        while True:
            with self._lock:
                now = time.monotonic()
                pause = max(self._next, self._window_opens()) - now
                if pause <= 0:
                    permit = Permit(now)
                    self._latest.append(permit)
                    late = now - self._next  # as threads wake: that delays no later permit
                    self._next = now + 1 / (self._rate * self._room) - (late if late < LATE else 0.0)
                    return permit
            if stop.aborted.wait(pause):
                raise InterruptedRunError("stopped")

    def pause(self, seconds: float) -> None:
        """Gives no permit for so many seconds: another process may have used the account until now."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _window_opens(self) -> float:
        """Returns when (monotonic seconds) the oldest of the latest permits is a second old: a second holds no more.

        A request that has not left yet may leave at any moment: then it is not before NOT_SENT_YET from now.
        """
        if len(self._latest) < (self._latest.maxlen or 1):
            return 0.0
        sent = self._latest[0].moment
        if sent == math.inf:
            return time.monotonic() + NOT_SENT_YET
        return sent + self._slack * len(self._latest) / self._most

    def refused(self, permit: Permit) -> None:
        """Notes a 429 and lowers the rate; refusals of requests that were in flight together count once."""
        with self._lock:
            if permit.began < self._cut_at:
                return
            self._cut_at = time.monotonic()
            self._calm = 0
            self._slack = min(MOST_SLACK, self._slack + MORE_SLACK)
            in_a_second = sum(moment > self._cut_at - 1.0 for moment in self._taken)
            if in_a_second >= NEARLY * self._most:
                return  # the account accepts the configured rate: requests arrived unevenly, which the slack now allows
            self._rate = max(self._most / 32, min(0.95 * self._rate, in_a_second or 0.5 * self._rate))
            self._next = max(self._next, self._cut_at + 0.5)

    def served(self, room: int | None) -> None:
        """Notes an accepted request. `room`: records that Ometria's queue still takes; None where it does not say."""
        with self._lock:
            self._calm += 1
            self._taken.append(time.monotonic())
            self._rate = min(self._most, self._rate + self._most / RECOVERY * (1 + self._calm / 100))
            self._room = 1.0 if room is None else max(0.02, min(1.0, room / QUEUE_LOW))
