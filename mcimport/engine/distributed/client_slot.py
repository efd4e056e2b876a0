"""Who is at work for one client in a worker: of its orders only those of the latest epoch.

A later one ends the earlier ones first, so that nothing that was read for an earlier order is pushed after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.services.connections import ClientServices


class OutdatedError(Exception):
    """A later epoch of the client is known."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


@dataclass(eq=False)
class ClientSession:
    """A client's services and what its runs convert and look up with, for one epoch. `warnings`: for the next reply."""

    services: ClientServices
    close: Callable[[], None]
    converters: dict[tuple[str, int], RunConverter] = field(default_factory=dict)
    held: dict[tuple[str, int], HeldLookups] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def take_warnings(self) -> tuple[str, ...]:
        told, self.warnings = self.warnings, []
        return tuple(dict.fromkeys(told))


@dataclass(eq=False)
class RunningPage:
    """One page under way.

    Attributes:
        is_late: it took longer than a page may, and is being ended.
        is_beside: one that it shares its connections with is late, so that it is ended, too.
    """

    session: ClientSession
    epoch: int
    began: float
    is_late: bool = False
    is_beside: bool = False


class ClientSlot:
    """Safe to use from many threads.

    Attributes:
        change: guards all of it.
        epoch: the latest that is known.
        used: when a page was begun last (monotonic).
    """

    def __init__(self) -> None:
        self.change = threading.Condition()
        self.epoch = 0
        self.used = 0.0
        self._session: ClientSession | None = None
        self._running: set[RunningPage] = set()
        self._order_ids: set[str] = set()

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def is_idle(self) -> bool:
        """Its connections are open, and nobody needs them at present."""
        return self._session is not None and not self._running

    def note(self, order_id: str) -> bool:
        """Whether this order of the present epoch comes for the first time."""
        with self.change:
            is_new = order_id not in self._order_ids
            self._order_ids.add(order_id)
            return is_new

    def begin(self, epoch: int, check: Callable[[], None]) -> None:
        """Returns when nobody of an earlier one is at work any more.

        Raises OutdatedError where a later one is known, and what `check` raises: whether the order is still ours.
        """
        with self.change:
            if epoch > self.epoch:
                self.epoch = epoch
                self._order_ids.clear()  # whatever is older is refused as such
                self._close()
            while any(one.epoch < epoch for one in self._running) and self.epoch == epoch:
                self.change.wait()
            if epoch < self.epoch:
                raise OutdatedError(self.epoch)
            check()

    @contextmanager
    def run_page(
        self, epoch: int, check: Callable[[], None], open_session: Callable[[], ClientSession]
    ) -> Iterator[RunningPage]:
        """For one page, from when `begin` returns on. Raises as that, and what `open_session` raises."""
        with self.change:
            self.begin(epoch, check)
            self._session = self._session or open_session()
            running = RunningPage(self._session, epoch, time.monotonic())
            self._running.add(running)
            self.used = running.began
        try:
            yield running
        finally:
            with self.change:
                self._running.discard(running)
                self.change.notify_all()

    def clear(self) -> None:
        """Ends what is under way: connections are closed under its feet, and every wait is woken."""
        with self.change:
            self._close()

    def clear_if_idle(self) -> None:
        with self.change:
            if self.is_idle:
                self._close()

    def end_late(self, before: float) -> None:
        """Ends pages that began before then (monotonic), and with them those that share their connections."""
        with self.change:
            late = [one for one in self._running if one.began < before]
            for one in late:
                one.is_late = True
            for one in self._running:
                one.is_beside |= any(one.session is other.session for other in late)
            for one in late:
                one.session.close()
                if self._session is one.session:
                    self._session = None

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
