"""The pages under way for each client of a worker: only those of the client's latest epoch.

A later epoch ends the pages of earlier ones first, so that nothing that was read for an earlier message is pushed after
a page of it.
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
from mcimport.services.ometria.sender import BatchSender

RunTools = tuple[RunConverter, HeldLookups | None, BatchSender]
"""What the pages of one run are converted, looked up and sent with."""


class OutdatedError(Exception):
    """A later epoch of the client is known."""


@dataclass(eq=False)
class ClientSession:
    """Holds a client's open connections, and what its runs work with, for one epoch.

    `runs`: by list key and run id; without look-ups in a list's first run. `warnings`: for the next reply.
    """

    services: ClientServices
    close: Callable[[], None]
    runs: dict[tuple[str, int], RunTools] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def take_warnings(self) -> tuple[str, ...]:
        warnings, self.warnings = self.warnings, []
        return tuple(dict.fromkeys(warnings))


@dataclass(eq=False)
class RunningPage:
    """Describes one page under way.

    Attributes:
        began: when (monotonic seconds).
        is_late: it took longer than a page may, and is being ended.
        is_beside: a page that shares its connections is late, so that this one is ended, too.
    """

    session: ClientSession
    epoch: int
    began: float
    is_late: bool = False
    is_beside: bool = False


class ClientSlot:
    """Admits the pages of one client in a worker, and ends them. Safe to use from many threads.

    Attributes:
        change: guards all of it, and is notified when a page has ended.
        epoch: the latest that is known.
        used: when a page was last begun (monotonic seconds).
    """

    def __init__(self) -> None:
        self.change = threading.Condition()
        self.epoch = 0
        self.used = 0.0
        self._session: ClientSession | None = None
        self._running: set[RunningPage] = set()
        self._message_ids: set[str] = set()

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def is_idle(self) -> bool:
        """Its connections are open, and no page uses them at present."""
        return self._session is not None and not self._running

    def note(self, message_id: str) -> bool:
        """Returns whether this message of the present epoch comes for the first time."""
        with self.change:
            is_new = message_id not in self._message_ids
            self._message_ids.add(message_id)
            return is_new

    def begin(self, epoch: int, check: Callable[[], None]) -> None:
        """Ends the pages of earlier epochs, and returns when none is under way any more.

        Raises OutdatedError where a later epoch is known, and what `check` raises for a message that may be another
        worker's by now.
        """
        with self.change:
            if epoch > self.epoch:
                self.epoch = epoch
                self._message_ids.clear()  # older messages are refused as outdated
                self.clear()
            while any(page.epoch < epoch for page in self._running) and self.epoch == epoch:
                self.change.wait()
            if epoch < self.epoch:
                raise OutdatedError
            check()

    @contextmanager
    def run_page(
        self, epoch: int, check: Callable[[], None], open_session: Callable[[], ClientSession]
    ) -> Iterator[RunningPage]:
        """Admits a page as `begin` does, and counts it as under way until the block ends.

        The client's connections are opened with `open_session`, if they are not open. Raises as `begin`, and what
        `open_session` raises.
        """
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
        """Ends the pages under way: closes their connections, and wakes every wait."""
        with self.change:
            session, self._session = self._session, None
            if session is not None:
                session.close()

    def clear_if_idle(self) -> None:
        with self.change:
            if self.is_idle:
                self.clear()

    def end_late(self, before: float) -> None:
        """Ends pages that began before then (monotonic seconds), and those that share their connections."""
        with self.change:
            for page in self._running:
                page.is_late |= page.began < before
            late = {page.session for page in self._running if page.is_late}
            for page in self._running:
                page.is_beside |= page.session in late
            for session in late:
                session.close()
                if self._session is session:
                    self._session = None
