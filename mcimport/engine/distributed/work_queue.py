"""The work of one run over the broker: windows that wait, pages under way, and pages that a worker may have died of.

It knows neither the broker nor a clock. No work is lost: it waits here, is under way, or was claimed by an outcome.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from mcimport.engine.distributed.messages import is_same_work
from mcimport.engine.interface import longest_first, stage
from mcimport.models import Bounds, Window
from mcimport.services.mailchimp import pagination

SUSPECT = 2  # workers that died while they had a page, after which it is a suspect
DEADLY = 2  # workers that died after they had begun it as a suspect, after which it is given up
REVOCATIONS = 3  # of a page, after which it is processed by the coordinator


@dataclass(slots=True)
class InFlight:
    """Describes a page message that is with the broker or a worker.

    Attributes:
        has_begun: a worker announced that it begins the page, as it does for suspects.
        is_done: the outcome of a former message has claimed its work, but it is under way until it is answered, too.
    """

    window: Window
    has_begun: bool = False
    is_done: bool = False


class WorkQueue:
    """Decides which page is sent next, and what is left to do. `most`: pages that may be under way at once.

    Why a page is sent alone, in halves or not at all: see "When a worker stops" in the README of the engines.
    """

    def __init__(self, windows: Iterable[Window], most: int) -> None:
        self._most = most
        self._waiting = deque(sorted(windows, key=longest_first))
        self._alone: deque[Window] = deque()  # pages that a worker may have died of: sent alone
        self._local: deque[Window] = deque()  # pages that no worker can finish
        self._in_flight: dict[str, InFlight] = {}
        self._learned = Bounds()
        self._claimed: set[str] = set()
        self._losses: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._timed_out: Counter[int] = Counter()
        self._revocations: Counter[int] = Counter()

    @property
    def is_empty(self) -> bool:
        return not (self._waiting or self._alone or self._local or self._in_flight)

    @property
    def is_under_way(self) -> bool:
        """A worker has a page, or may have one."""
        return bool(self._in_flight)

    def has(self, message_id: str) -> bool:
        return message_id in self._in_flight

    # ---- out

    def begin(self, message_id: str) -> Window | None:
        """Returns the window whose page is to be sent next, under way from now on; None where none is to be for now.

        A page that a worker may have died of is sent when nothing else is under way; one of a later stage, when none of
        an earlier one is; what the outcome of a former message left of a page, when the present one is answered, too.
        """
        window = self._due()
        if window is None:
            return None
        window = replace(window, bounds=window.bounds | self._learned)
        self._in_flight[message_id] = InFlight(window)
        return window

    def _due(self) -> Window | None:
        if any(self.losses(in_flight.window) for in_flight in self._in_flight.values()):
            return None
        if self._alone or self._local:
            return self._alone.popleft() if self._alone and not self._in_flight else None
        if not self._waiting or len(self._in_flight) >= self._most:
            return None
        following, under_way = self._waiting[0], [in_flight.window for in_flight in self._in_flight.values()]
        if any(stage(window) < stage(following) or is_same_work(window, following) for window in under_way):
            return None
        return self._waiting.popleft()

    def take_local_work(self) -> list[Window]:
        """Hands over the pages that no worker can finish, once nothing else is under way or waits to be sent alone."""
        if self._in_flight or self._alone:
            return []
        local, self._local = list(self._local), deque()
        return local

    def is_suspect(self, window: Window) -> bool:
        """Returns whether so many workers died while they had this page that it may be the reason."""
        return self._losses[window.number] >= SUSPECT

    def losses(self, window: Window) -> int:
        """Returns how many workers died while they had this page."""
        return self._losses[window.number]

    # ---- in

    def claim(self, message_id: str, window: Window) -> bool:
        """Returns whether the work of an outcome was still to be done, and takes it off.

        A page that was sent twice may have two outcomes: the first one counts. Where that is a former message's, the
        present one stays under way until it is answered, too. An outcome that is received again claims nothing: what it
        left to be done may be the very same part, in smaller pages.
        """
        if message_id in self._claimed:
            return False
        self._claimed.add(message_id)
        in_flight = self._in_flight.pop(message_id, None)
        is_claimed = not in_flight.is_done if in_flight else self._claim_elsewhere(window)
        if is_claimed:
            for counter in (self._losses, self._deaths, self._timed_out, self._revocations):
                counter.pop(window.number, None)
        return is_claimed

    def _claim_elsewhere(self, window: Window) -> bool:
        for in_flight in self._in_flight.values():
            if is_same_work(in_flight.window, window) and not in_flight.is_done:
                in_flight.is_done = True
                return True
        for waiting in (self._waiting, self._alone, self._local):
            for other in waiting:
                if is_same_work(other, window):
                    waiting.remove(other)
                    return True
        return False

    def add_rest(self, window: Window) -> None:
        """Adds what an outcome left of its window; all pages from now on are sent with the bounds that it learned."""
        self._learned |= window.bounds
        self._waiting.appendleft(window)

    def begun(self, message_id: str) -> None:
        if in_flight := self._in_flight.get(message_id):
            in_flight.has_begun = True

    def land(self, message_id: str) -> InFlight | None:
        """Takes off a message that came back without an outcome. None where its work is not awaited any more."""
        in_flight = self._in_flight.pop(message_id, None)
        return None if in_flight is None or in_flight.is_done else in_flight

    def again(self, window: Window) -> None:
        """Queues a page to be sent once more, before all others."""
        (self._alone if self.losses(window) else self._waiting).appendleft(window)

    def recall(self) -> None:
        """Queues all pages under way to be sent again, after a fence that ends what a worker may still have of them."""
        former, self._in_flight = list(self._in_flight.values()), {}
        for in_flight in former:
            if not in_flight.is_done:
                self.again(in_flight.window)

    def worker_lost(self, in_flight: InFlight) -> bool:
        """Notes that a worker died while it had this page. Returns whether the page is given up, and not queued again.

        One worker may die of something else after it began a suspect, two hardly: then the page is given up.
        """
        number = in_flight.window.number
        self._losses[number] += 1
        self._deaths[number] += in_flight.has_begun
        if self._deaths[number] >= DEADLY:
            return True
        self._alone.append(in_flight.window)
        return False

    def revoked(self, window: Window) -> None:
        """Queues a page that was revoked: to be sent again, and after three times to be processed by the coordinator.

        The page may be the reason: it may keep its workers from sending heartbeats, each of them, for ever.
        """
        self._revocations[window.number] += 1
        if self._revocations[window.number] < REVOCATIONS:
            self.again(window)
        else:
            self._local.append(window)

    def timed_out(self, window: Window) -> None:
        """Queues a page that took too long: in halves first, then to be processed by the coordinator."""
        self._timed_out[window.number] += 1
        if self._timed_out[window.number] == 1 and window.page > pagination.SMALLEST_PAGE:
            self.again(replace(window, page=pagination.half(window.page)))
        else:
            self._local.append(window)
