"""Fences: before any page of a run is sent, a worker confirms that no older page of the client is being processed.

So data that was read for an earlier message is never pushed after newer data, whatever died or hung meanwhile.
"""

from __future__ import annotations

import time

from mcimport.engine.distributed.broker_channel import BrokerChannel
from mcimport.engine.distributed.message_builder import MessageBuilder
from mcimport.engine.distributed.work_queue import WorkQueue

PAUSE = 1.0  # seconds before anything is sent again to a worker that leaves: it would come back at once


class Fencing:
    """Sends the fences of one run, and knows whether pages may be sent.

    Attributes:
        epoch: of the last fence. Pages carry it.
        is_cleared: a worker has cleared the last fence.
        worker_token: of that worker. Pages carry it, too.
    """

    def __init__(self, queue: WorkQueue, channel: BrokerChannel, builder: MessageBuilder) -> None:
        self._queue = queue
        self._channel = channel
        self._builder = builder
        self._awaited = ""  # the id of the fence whose reply is awaited
        self._send_at = 0.0  # when the next one is to be sent (monotonic seconds); 0: it was sent, or none is to be
        self._is_unfenced = False  # a worker that did not clear the last fence has taken over
        self.epoch = 0
        self.is_cleared = False
        self.worker_token = ""

    @property
    def is_pending(self) -> bool:
        """A fence was sent and not cleared, or is to be sent later."""
        return bool(self._awaited or self._send_at)

    @property
    def allows_pages(self) -> bool:
        return not (self.is_pending or self._is_unfenced)

    def awaits(self, message_id: str) -> bool:
        """Returns whether this is the fence whose reply is awaited."""
        return message_id == self._awaited

    def send(self, after: int = 0) -> None:
        """Sends a new fence: no page is sent before it is cleared, and those under way wait to be sent again.

        `after`: a higher epoch than ours that a worker knows. Raises UnreachableError.
        """
        self.epoch = max(after + 1, self.epoch + 1, time.time_ns())
        self.is_cleared = self._is_unfenced = False
        self._queue.recall()
        fence = self._builder.fence(self.epoch)
        self._awaited, self._send_at = fence.ref.id, 0.0
        self._channel.send(fence)

    def send_later(self) -> None:
        """Leaves the worker, which is about to stop, some time before the next fence."""
        self._awaited, self._send_at = "", time.monotonic() + PAUSE

    def send_if_due(self) -> None:
        """Sends the fence that was put off, or the one for a worker that has taken over. Raises UnreachableError."""
        if self._send_at:
            is_due = time.monotonic() > self._send_at
        else:
            is_due = self._is_unfenced and not self._awaited and not self._queue.is_under_way
        if is_due:
            self.send()

    def note_cleared(self, worker_token: str) -> None:
        self._awaited, self._send_at = "", 0.0
        self.is_cleared, self.worker_token = True, worker_token

    def note_unfenced(self) -> None:
        """Notes that another worker has taken over; it gets its fence once the other pages under way are answered.

        One of them may be what the worker before it died of.
        """
        self._is_unfenced = True
