"""What each reply means for a run: its outcome is recorded, or its page is sent again or becomes a dead letter.

Before any page of a run is sent, a fence is: a worker confirms that no older page of the client is being processed. So
data that was read for an earlier message is never pushed after newer data, whatever died or hung meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mcimport.engine.distributed import messages
from mcimport.engine.distributed.broker_channel import BrokerChannel, Received
from mcimport.engine.distributed.messages import Fence, Message, MessageBuilder, PageMessage, Reply
from mcimport.engine.distributed.work_queue import InFlight, WorkQueue
from mcimport.engine.interface import CircuitBreaker
from mcimport.errors import ConfigError, FatalError, McimportError
from mcimport.models import NewDeadLetter, Outcome, Window

PAUSE = 1.0  # seconds before anything is sent again to a worker that leaves: it would come back at once


@dataclass(eq=False)
class Fencing:
    """Sends the fences of one run, and knows whether pages may be sent. `is_cleared`: a worker cleared the last one."""

    _queue: WorkQueue
    _channel: BrokerChannel
    _builder: MessageBuilder
    is_cleared: bool = False
    _awaited: str = ""  # the id of the fence whose reply is awaited
    _send_at: float = 0.0  # when the next one is to be sent (monotonic seconds); 0: it was sent, or none is to be
    _is_unfenced: bool = False  # a worker that did not clear the last fence has taken over

    @property
    def is_pending(self) -> bool:
        """A fence was sent and not cleared, or is to be sent later."""
        return bool(self._awaited or self._send_at)

    @property
    def allows_pages(self) -> bool:
        return not (self.is_pending or self._is_unfenced)

    def awaits(self, message_id: str) -> bool:
        return message_id == self._awaited

    def send(self, after: int = 0) -> None:
        """Sends a new fence: no page is sent before it is cleared, and those under way wait to be sent again.

        `after`: a higher epoch than ours that a worker knows. Raises UnreachableError.
        """
        self.is_cleared = self._is_unfenced = False
        self._queue.recall()
        fence = self._builder.fence(after)
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
        self.is_cleared, self._builder.worker_token = True, worker_token

    def note_unfenced(self) -> None:
        """Notes that another worker has taken over; it gets its fence once the other pages under way are answered.

        One of them may be what the worker before it died of.
        """
        self._is_unfenced = True


@dataclass(eq=False)
class ReplyHandler:
    """Takes the replies of one run, and the messages that come back from the broker.

    Attributes:
        failure: what ends the run; the first that was met.
        pause_until: no page is sent before then (monotonic seconds): a worker that leaves would return it at once.
    """

    _queue: WorkQueue
    _fencing: Fencing
    _builder: MessageBuilder
    _breaker: CircuitBreaker
    failure: McimportError | None = None
    is_silenced: bool = False
    pause_until: float = 0.0

    def take(self, received: Received) -> None:
        """Takes one of this run. Raises UnreachableError where a fence has to be sent, and cannot be."""
        match received.message:
            case PageMessage() | Fence() as message:
                self._take_back(message, received)
            case reply if self._fencing.awaits(reply.ref.id):
                self._take_fence_reply(reply)
            case messages.Processed() as reply:
                self._take_processed(reply)
            case messages.Begun() as reply:
                self._queue.begun(reply.ref.id)
            case reply if (in_flight := self._queue.land(reply.ref.id)) is not None:
                self._take_unprocessed(reply, in_flight)

    def _record(self, outcome: Outcome) -> None:
        """Records the outcome; a failure to do so, and ten failed pages in a row, end the run."""
        try:
            self._breaker.record(outcome)
        except McimportError as error:
            self.failure = self.failure or error

    def _take_fence_reply(self, reply: Reply) -> None:
        match reply:
            case messages.FenceCleared():
                self._fencing.note_cleared(reply.worker_token)
            case messages.Refused() | messages.Failed():
                self._fail(reply)
            case messages.Outdated():
                self._fencing.send(reply.epoch)
            case _:  # the worker leaves: the next one is asked
                self._fencing.send_later()

    def _take_processed(self, reply: messages.Processed) -> None:
        outcome = reply.outcome
        if outcome.window is None or not self._queue.claim(reply.ref.id, outcome.window):
            return
        self._builder.spec.services.meter.add(reply.usage)
        self._builder.spec.warn(*reply.warnings)
        self.is_silenced |= reply.is_silenced
        self._builder.count(outcome)
        if outcome.failed and self.failure:
            return  # what fails while the run ends is left pending, rather than filling the dead letters
        if outcome.rest:
            self._queue.add_rest(outcome.rest)
        self._record(outcome)

    def _take_unprocessed(self, reply: Reply, in_flight: InFlight) -> None:
        window = in_flight.window
        match reply:
            case messages.Refused() | messages.Failed():
                self._fail(reply)
            case messages.WorkerLost():
                if self._queue.worker_lost(in_flight):
                    self._give_up(window)
            case messages.TimedOut():
                self._queue.timed_out(window)
            case messages.Unfenced():
                self._queue.again(window)
                self._fencing.note_unfenced()
            case _:
                self.pause_until = time.monotonic() + PAUSE
                if isinstance(reply, messages.Revoked):
                    self._queue.revoked(window)
                else:
                    self._queue.again(window)
                if isinstance(reply, messages.Outdated):  # another coordinator of this state file: but there is a lock
                    self._fencing.send(reply.epoch)

    def _take_back(self, message: Message, received: Received) -> None:
        """Takes a message that came back from the broker, or a copy of it.

        Why it came back is not sealed (see `Received`) and says nothing of the page, which becomes no dead letter for
        it. A fence shows what the worker is, and ends first what it may still have of the page.
        """
        if self._queue.has(message.ref.id):
            if (in_flight := self._queue.land(message.ref.id)) is not None:
                self._queue.revoked(in_flight.window)
            self._fencing.send()
        elif self._fencing.awaits(message.ref.id):
            if received.is_expired:
                self._fencing.send_later()
            else:
                self.failure = self.failure or _not_opened(received.unopened)

    def _give_up(self, window: Window) -> None:
        """Records a dead letter for a page that its workers died of."""
        reason = f"{self._queue.losses(window)} workers died while processing this page"
        letter = NewDeadLetter("window", "transport", window.sweep, window.start, window.until, reason)
        self._record(Outcome(window=window, letters=(letter,), failed=True, began=int(time.time())))

    def _fail(self, reply: messages.Refused | messages.Failed) -> None:
        kind = ConfigError if isinstance(reply, messages.Refused) else FatalError
        self.failure = self.failure or kind(reply.words, hint=reply.hint)


def _not_opened(unopened: str) -> McimportError:
    if unopened:
        return ConfigError(
            unopened,
            hint="Use the same configuration and the same keys for workers and coordinator, then restart the workers.",
        )
    return FatalError(
        "a worker did not understand the message that it was sent",
        hint="Use the same version of mcimport for workers and coordinator.",
    )
