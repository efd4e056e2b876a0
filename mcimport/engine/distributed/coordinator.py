"""The engine of many machines: sends a message for each page, and records what became of it, whatever breaks meanwhile.

An outcome is recorded, and only then acknowledged to the broker.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field

from msgspec.structs import replace
from pydantic import SecretStr

from mcimport.config import Client
from mcimport.engine.distributed import broker
from mcimport.engine.distributed.broker_channel import BrokerChannel
from mcimport.engine.distributed.executor import PAGE_DEADLINE, TAKEN_OVER
from mcimport.engine.distributed.messages import Fence, MessageBuilder, PageMessage
from mcimport.engine.distributed.reply_handler import Fencing, ReplyHandler
from mcimport.engine.distributed.work_queue import WorkQueue
from mcimport.engine.interface import CircuitBreaker, RunSpec
from mcimport.engine.page.subscription_events import EventBudget, apply_event_limit
from mcimport.engine.threads import LocalEngine
from mcimport.errors import ConfigError, InterruptedRunError, ServiceDownError, StateError, UnreachableError
from mcimport.models import Outcome, Page, Window
from mcimport.report.format import duration
from mcimport.services.http import shutdown

LOOK_UP = 0.25  # seconds between two looks at whether a stop was asked for
BROKER_AWAY = 120.0  # seconds for which the broker may be away
STEADY = 10.0  # seconds for which a connection has to hold, to count as one
AGAIN = 1.0  # seconds between two tries to connect
NO_WORKER = 60.0  # seconds without any worker at the queue, after which there is none
LEND_ANEW = 300.0  # seconds between two notes in the state file that pages are out
LOOK_AT_QUEUE = 5.0  # seconds between two looks at how many workers take messages
OVERDUE = 2 * PAGE_DEADLINE + 120.0  # seconds without a reply after which messages are taken to be lost
RESUMES = "Nothing is lost: the next `mcimport sync` resumes where this one stopped."


_locks: dict[str, threading.Lock] = {}  # by account group; of the process: rounds that overlap have an engine each


class RemoteEngine:
    """Implements `Engine` over a broker.

    Clients that share an account are run one after another: a worker keeps the account's limits, not this process.
    `clients`: all that are configured, to find out which share an account.
    """

    is_local = False

    def __init__(self, address: SecretStr, clients: Iterable[Client]) -> None:
        self._app = broker.application(address)
        self._account_groups = broker.group_by_account(clients)
        self._local = LocalEngine()

    def client_lock(self, client: Client) -> AbstractContextManager[object]:
        account_group = self._account_groups.get(client.name)
        return nullcontext() if account_group is None else _locks.setdefault(account_group, threading.Lock())

    def run(
        self,
        spec: RunSpec,
        windows: Sequence[Window],
        pages: MutableMapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        if spec.is_dry:
            return self._local.run(spec, windows, pages, record)
        pages.clear()  # workers read everything themselves
        if not windows:
            return False
        account_group = self._account_groups.get(spec.client.name)
        if account_group is None:
            raise ConfigError(f"client {spec.client.name}: one of its keys could not be read when this command started")
        channel = BrokerChannel(self._app, broker.shard_of(account_group), spec.state_id, spec.client, spec.warn)
        rules, is_silenced = apply_event_limit(spec.services.mailchimp, spec.rules, spec.event_budget, spec.warn)
        queue = WorkQueue(windows, spec.client.mailchimp.connections)
        spec = replace(spec, rules=rules, event_budget=EventBudget(spec.event_budget.limit, most=0, events=()))
        builder = MessageBuilder(spec, account_group, channel.reply_to)
        with closing(channel):
            return Coordinator(channel, builder, queue, CircuitBreaker(record)).run() or is_silenced


@dataclass(eq=False)
class Coordinator:
    """Runs the windows of a queue over the broker. Belongs to one thread. `_channel`: not open yet."""

    _channel: BrokerChannel
    _builder: MessageBuilder
    _queue: WorkQueue
    _breaker: CircuitBreaker
    _connected: float | None = None  # since when; None while the broker is away
    _away_since: float = field(default_factory=time.monotonic)
    _is_away_reported: bool = False

    def __post_init__(self) -> None:
        self._spec = self._builder.spec
        self._stop = self._spec.services.stop
        self._fencing = Fencing(self._queue, self._channel, self._builder)
        self._handler = ReplyHandler(self._queue, self._fencing, self._builder, self._breaker)
        self._watch = WorkerWatch(self._spec, self._channel, self._fencing)

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
        while self._connected is None or not (self._queue.is_empty or self._is_leaving):
            try:
                if self._connected is None:
                    self._connect()
                    continue
                self._send_pages()
                self._receive()
                self._run_locally()
                if not self._has_landed:
                    self._watch.look()
            except UnreachableError as error:
                self._wait_for_broker(error)
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
        self._channel.open()
        self._fencing.send()
        self._connected = time.monotonic()
        self._watch.note_reply()

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
            self._channel.send(self._builder.page(message_id, window, is_suspect=self._queue.is_suspect(window)))

    def _run_locally(self) -> None:
        """Processes the pages that no worker can finish in this process, where the broker sets no time limit.

        No worker has a page of the client then. The connection is made anew afterwards: unused, it may have broken.
        """
        if self._fencing.is_pending or self._is_leaving or not (windows := self._queue.take_local_work()):
            return
        self._spec.services.pause(TAKEN_OVER)
        self._handler.is_silenced |= LocalEngine().run(self._builder.spec, windows, {}, self._record_local)
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
