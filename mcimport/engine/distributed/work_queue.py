"""What one run still has to do: windows that wait, pages under way, and those that a worker may have died of.

Knows neither the broker nor a clock. No work is forgotten: it waits here, is under way, or was claimed by an outcome.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mcimport.engine.circuit_breaker import longest_first
from mcimport.engine.distributed.messages import is_same_work
from mcimport.models import Bounds, Window
from mcimport.services.mailchimp import pagination

SUSPECT = 2  # workers that died while they had a page, after which it is a suspect
DEADLY = 2  # workers that died after they had begun it as a suspect, after which it is to blame
BREAKS = 3  # times that a worker was broken off while it had a page, after which no more worker is asked


@dataclass(slots=True)
class InFlight:
    """An order that is with the broker or a worker.

    Attributes:
        has_begun: a worker announced so, as it does of suspects.
        is_done: the outcome of a former order has claimed its work, but somebody is at work on it until it is answered.
    """

    window: Window
    has_begun: bool = False
    is_done: bool = False


class WorkQueue:
    """`most`: pages that may be under way at once."""

    def __init__(self, windows: Iterable[Window], most: int) -> None:
        self._most = most
        self._waiting = deque(sorted(windows, key=longest_first))
        self._alone: deque[Window] = deque()  # those that a worker may have died of
        self._local: deque[Window] = deque()  # those that no worker brings to an end
        self._in_flight: dict[str, InFlight] = {}
        self._learned = Bounds()
        self._claimed: set[str] = set()
        self._losses: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._timed_out: Counter[int] = Counter()
        self._breaks: Counter[int] = Counter()

    @property
    def is_empty(self) -> bool:
        return not (self._waiting or self._alone or self._local or self._in_flight)

    @property
    def is_under_way(self) -> bool:
        """A worker has something of it, or may have."""
        return bool(self._in_flight)

    def has(self, order_id: str) -> bool:
        """It is under way, and was not answered yet."""
        return order_id in self._in_flight

    # ---- out

    def begin(self, order_id: str) -> Window | None:
        """The next to be sent, under way from now on; None: nothing for now.

        What a worker may have died of, and what is to be moved here, is begun when nothing else is under way.
        """
        window = self._due()
        if window is None:
            return None
        window = replace(window, bounds=window.bounds | self._learned)
        self._in_flight[order_id] = InFlight(window)
        return window

    def _due(self) -> Window | None:
        if any(self._is_alone(in_flight.window) for in_flight in self._in_flight.values()):
            return None
        if self._alone or self._local:
            return self._alone.popleft() if self._alone and not self._in_flight else None
        return self._waiting.popleft() if self._waiting and len(self._in_flight) < self._most else None

    def take_local_work(self) -> list[Window]:
        """What no worker brings to an end, once nobody is at work on anything; they are the caller's from now on."""
        if self._in_flight or self._alone:
            return []
        local, self._local = list(self._local), deque()
        return local

    def is_suspect(self, window: Window) -> bool:
        return self._losses.get(window.number, 0) >= SUSPECT

    def losses(self, window: Window) -> int:
        """Workers that died while they had a page of it."""
        return self._losses.get(window.number, 0)

    def _is_alone(self, window: Window) -> bool:
        return self.losses(window) > 0

    # ---- in

    def claim(self, order_id: str, window: Window) -> bool:
        """Whether this very work was still to be done; it is not any more.

        A page that was given to another may have two outcomes: the first one counts. Where it is a former order's, the
        present one is under way until it is answered, too. An outcome that is heard again claims nothing: what it left
        to be done may be the very same part, asked for otherwise.
        """
        if order_id in self._claimed:
            return False
        self._claimed.add(order_id)
        in_flight = self._in_flight.pop(order_id, None)
        is_claimed = not in_flight.is_done if in_flight else self._claim_elsewhere(window)
        if is_claimed:
            for counter in (self._losses, self._deaths, self._timed_out, self._breaks):
                counter.pop(window.number, None)
        return is_claimed

    def _claim_elsewhere(self, window: Window) -> bool:
        for in_flight in self._in_flight.values():
            if is_same_work(in_flight.window, window) and not in_flight.is_done:
                in_flight.is_done = True
                return True
        for waiting in (self._waiting, self._alone, self._local):
            for one in waiting:
                if is_same_work(one, window):
                    waiting.remove(one)
                    return True
        return False

    def add_rest(self, window: Window) -> None:
        """What an outcome left of its window; the bounds that were learned are for all that is begun from now on."""
        self._learned |= window.bounds
        self._waiting.appendleft(window)

    def begun(self, order_id: str) -> None:
        """A worker says so."""
        if in_flight := self._in_flight.get(order_id):
            in_flight.has_begun = True

    def land(self, order_id: str) -> InFlight | None:
        """An order without an outcome is not under way any more; None: nobody waits for its work."""
        in_flight = self._in_flight.pop(order_id, None)
        return None if in_flight is None or in_flight.is_done else in_flight

    def again(self, window: Window) -> None:
        """To be sent once more, before all others."""
        (self._alone if self._is_alone(window) else self._waiting).appendleft(window)

    def recall(self) -> None:
        """Of no order that was sent is anybody at work any more, or somebody will say so."""
        in_flight, self._in_flight = list(self._in_flight.values()), {}
        for one in in_flight:
            if not one.is_done:
                self.again(one.window)

    def worker_lost(self, in_flight: InFlight) -> bool:
        """A worker died while it had this page; whether the page is to blame, which is then the caller's.

        First it is sent alone of its client. If that worker dies, too, perhaps of another client's page, it is a
        suspect, of which a worker has one at a time and announces it. If that one dies of something else just then, it
        is not of the next one, too: then the page is to blame.
        """
        number = in_flight.window.number
        self._losses[number] += 1
        self._deaths[number] += in_flight.has_begun
        if self._deaths[number] >= DEADLY:
            return True
        self._alone.append(in_flight.window)
        return False

    def revoked(self, window: Window) -> None:
        """A worker lost its leave to go on. Perhaps because of the page, which keeps it from telling that it lives.

        So it would be with the next one, and for ever.
        """
        self._breaks[window.number] += 1
        if self._breaks[window.number] < BREAKS:
            self.again(window)
        else:
            self._local.append(window)

    def timed_out(self, window: Window) -> None:
        """Half of it may be done in time; but a crowded second is read whole, and an account may be busy for hours."""
        self._timed_out[window.number] += 1
        if self._timed_out[window.number] == 1 and window.page > pagination.SMALLEST_PAGE:
            self.again(replace(window, page=pagination.half(window.page)))
        else:
            self._local.append(window)
