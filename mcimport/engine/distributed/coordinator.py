"""One run over the broker: sends a message for each page, and records what became of it, whatever breaks meanwhile.

An outcome is recorded, and only then acknowledged to the broker.
"""

from __future__ import annotations

import time
import uuid

from mcimport.engine.distributed.broker_channel import BrokerChannel
from mcimport.engine.distributed.executor import TAKEN_OVER
from mcimport.engine.distributed.fencing import Fencing
from mcimport.engine.distributed.message_builder import MessageBuilder
from mcimport.engine.distributed.messages import Fence, PageMessage
from mcimport.engine.distributed.reply_handler import ReplyHandler
from mcimport.engine.distributed.work_queue import WorkQueue
from mcimport.engine.distributed.worker_watch import WorkerWatch
from mcimport.engine.interface import CircuitBreaker
from mcimport.engine.threads import LocalEngine
from mcimport.errors import InterruptedRunError, ServiceDownError, StateError, UnreachableError
from mcimport.models import Outcome
from mcimport.report.format import duration
from mcimport.services.http import shutdown

LOOK_UP = 0.25  # seconds between two looks at whether a stop was asked for
BROKER_AWAY = 120.0  # seconds for which the broker may be away
STEADY = 10.0  # seconds for which a connection has to hold, to count as one
AGAIN = 1.0  # seconds between two tries to connect


class Coordinator:
    """Runs the windows of a queue over the broker. Belongs to one thread.

    `channel`: not open yet. `local`: processes pages that no worker can finish.
    """

    def __init__(
        self,
        channel: BrokerChannel,
        builder: MessageBuilder,
        queue: WorkQueue,
        breaker: CircuitBreaker,
        local: LocalEngine,
    ) -> None:
        self._spec = builder.spec
        self._channel = channel
        self._builder = builder
        self._queue = queue
        self._breaker = breaker
        self._local = local
        self._stop = self._spec.services.stop
        self._fencing = Fencing(queue, channel, builder)
        self._handler = ReplyHandler(queue, self._fencing, builder, breaker)
        self._watch = WorkerWatch(self._spec, channel, self._fencing)
        self._connected: float | None = None  # since when; None while the broker is away
        self._away_since = time.monotonic()
        self._is_away_reported = False

    def run(self) -> bool:
        """Processes all windows, and returns whether subscription events were kept back.

        Raises FatalError, ConfigError, ServiceDownError, InterruptedRunError or StateError.
        """
        try:
            self._run()
        finally:
            if self._has_landed:
                self._spec.given_back()
        return self._handler.is_silenced

    def _run(self) -> None:
        self._connect()
        while not (self._queue.is_empty or self._is_leaving):
            try:
                self._send_pages()
                self._receive()
                self._run_locally()
                if not self._has_landed:
                    self._watch.look()
            except UnreachableError as error:
                self._wait_for_broker(error)
                self._connect()
        self._land()
        if self._handler.failure:
            raise self._handler.failure
        if self._stop.requested.is_set():
            raise InterruptedRunError("stopped")

    @property
    def _has_landed(self) -> bool:
        """No worker has a page of the client: one confirmed that, and what was sent since was answered."""
        return self._fencing.is_cleared and not self._queue.is_under_way

    @property
    def _is_leaving(self) -> bool:
        return self._handler.failure is not None or self._stop.requested.is_set()

    def _land(self) -> None:
        """Records pages under way that end in time; the next coordinator receives the replies to the others."""
        deadline = time.monotonic() + shutdown.LEAVE_WITHIN
        while self._queue.is_under_way and time.monotonic() < deadline and not self._stop.aborted.is_set():
            try:
                self._receive()
            except UnreachableError:
                return

    def _connect(self) -> None:
        """Connects, also after the connection broke: pages under way then may be so still, so a fence is sent first."""
        while True:
            try:
                self._channel.open()
                self._fencing.send()
            except UnreachableError as error:
                self._wait_for_broker(error)
            else:
                self._connected = time.monotonic()
                self._watch.note_reply()
                return

    def _wait_for_broker(self, error: UnreachableError) -> None:
        """Waits a little before the next try. Raises ServiceDownError where no connection has held for too long."""
        now = time.monotonic()
        if self._connected is not None and now - self._connected > STEADY:
            self._away_since = now
            self._is_away_reported = False
        self._connected = None
        if not self._is_away_reported:
            self._is_away_reported = True
            self._spec.waits(f"{error}; retrying for up to {duration(BROKER_AWAY)}")
        if now - self._away_since > BROKER_AWAY:
            raise ServiceDownError(str(error), hint=error.hint) from None
        if self._stop.requested.wait(AGAIN):
            raise InterruptedRunError("stopped") from None

    def _send_pages(self) -> None:
        self._fencing.send_if_due()
        if not self._fencing.allows_pages or time.monotonic() < self._handler.pause_until:
            return
        while (window := self._queue.begin(message_id := uuid.uuid4().hex)) is not None:
            self._watch.note_first_page()
            message = self._builder.page(
                message_id,
                window,
                epoch=self._fencing.epoch,
                worker_token=self._fencing.worker_token,
                is_suspect=self._queue.is_suspect(window),
            )
            self._channel.send(message)

    def _run_locally(self) -> None:
        """Processes the pages that no worker can finish in this process, where the broker sets no time limit.

        No worker has a page of the client then. The connection is made anew afterwards: unused, it may have broken.
        """
        if self._fencing.is_pending or self._is_leaving or not (windows := self._queue.take_local_work()):
            return
        self._spec.services.pause(TAKEN_OVER)
        self._handler.is_silenced |= self._local.run(self._builder.spec, windows, {}, self._record_local)
        self._connect()

    def _record_local(self, outcome: Outcome) -> None:
        self._breaker.record(outcome)
        self._builder.count(outcome)

    def _receive(self) -> None:
        received = self._channel.receive(LOOK_UP)
        if received is None:
            return
        ref = received.message.ref
        if (self._fencing.awaits(ref.id) or self._queue.has(ref.id)) and not received.is_expired:
            self._watch.note_reply()
        if (ref.run_id, ref.state_id) == (self._spec.run_id, self._spec.state_id):  # else no run waits for it any more
            if not isinstance(received.message, PageMessage | Fence) and not self._fencing.awaits(ref.id):
                self._watch.note_page_reply()
            self._handler.take(received)
        if not isinstance(self._handler.failure, StateError):  # else it is not recorded: the next run receives it again
            received.done()
