"""Whether any worker takes the messages of a run and replies to them; and the note that pages are with workers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mcimport.engine.distributed.broker_channel import BrokerChannel
from mcimport.engine.distributed.executor import PAGE_DEADLINE
from mcimport.engine.distributed.fencing import Fencing
from mcimport.engine.interface import RunSpec
from mcimport.errors import ServiceDownError
from mcimport.report.format import duration

NO_WORKER = 60.0  # seconds without any worker at the queue, after which there is none
LEND_ANEW = 300.0  # seconds between two notes in the state file that pages are out
LOOK_AT_QUEUE = 5.0  # seconds between two looks at how many workers take messages
OVERDUE = 2 * PAGE_DEADLINE + 120.0  # seconds without a reply after which messages are taken to be lost
RESUMES = "Nothing is lost: the next `mcimport sync` resumes where this one stopped."


@dataclass(eq=False)
class WorkerWatch:
    """Watches the workers for one run, and ends it where there is none, or none replies."""

    _spec: RunSpec
    _channel: BrokerChannel
    _fencing: Fencing
    _looked: float = field(default_factory=time.monotonic)
    _last_reply: float = field(default_factory=time.monotonic)
    _none_since: float | None = None  # no worker is at the queue
    _lent: float | None = None  # when it was last noted that pages are out
    _was_overdue: bool = False  # so that a fence was sent, and no page was answered since

    def note_reply(self) -> None:
        """Records that an awaited message was answered, or the connection was made anew."""
        self._last_reply = time.monotonic()

    def note_page_reply(self) -> None:
        self._was_overdue = False

    def note_first_page(self) -> None:
        """Notes in the state file that pages are with workers; later pages of the run change nothing.

        Called before the page is sent, and not before a fence is cleared: until then, the note of a coordinator before
        this one stays as it is.
        """
        if self._lent is None:
            self._lend()

    def look(self) -> None:
        """Looks every few seconds. Raises ServiceDownError without workers or replies, and UnreachableError."""
        now = time.monotonic()
        if now - self._looked < LOOK_AT_QUEUE:
            return
        self._looked = now
        self._look_for_workers(now)
        if self._lent is not None and now - self._lent > LEND_ANEW:
            self._lend()
        if now - self._last_reply < OVERDUE:
            return
        if self._fencing.is_pending or self._was_overdue:
            raise ServiceDownError("no worker answers", hint=RESUMES)
        self._last_reply = now
        self._was_overdue = True
        self._fencing.send()

    def _look_for_workers(self, now: float) -> None:
        if self._channel.workers():
            self._none_since = None
            return
        if self._none_since is None:
            self._none_since = now
            self._spec.waits(f"no worker connected yet; waiting up to {duration(NO_WORKER)}")
        if now - self._none_since > NO_WORKER:
            raise ServiceDownError(
                f"no worker is connected to queue {self._channel.queue}",
                hint=f"Is `mcimport worker` running, with the same broker? {RESUMES}",
            )

    def _lend(self) -> None:
        self._lent = time.monotonic()
        self._spec.lent()
