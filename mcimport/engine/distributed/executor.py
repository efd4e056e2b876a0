"""Processes pages in a worker: as long as their messages are this worker's, and no longer than a page may take."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace

from mcimport.config import Client
from mcimport.engine.distributed.account_groups import group_by_account
from mcimport.engine.distributed.broker_term import BrokerTerm, RevokedError
from mcimport.engine.distributed.client_slot import ClientSession, ClientSlot, ClientSlots, OutdatedError, RunningPage
from mcimport.engine.distributed.messages import (
    Failed,
    Fence,
    FenceCleared,
    Message,
    Outdated,
    PageMessage,
    Processed,
    Refused,
    Reply,
    Returned,
    Revoked,
    TimedOut,
    WorkerLost,
    settings_digest,
)
from mcimport.engine.distributed.seal import Sealed, SealError, open_message, seal_reply
from mcimport.engine.distributed.suspend_detector import SuspendDetector
from mcimport.engine.page.context import PageContext, make_context
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.process import process_page
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.errors import ConfigError, InterruptedRunError, ServiceError
from mcimport.errors.machine import as_ours
from mcimport.models import ContactRules
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.request_log import EventSink
from mcimport.services.http.shutdown import StopSignal

SUSPENDED = 8.0  # seconds without running; less than those after which a broker gives up a worker, at the earliest
TAKEN_OVER = 1.1  # seconds for which an account of a former worker is left alone: limits count by the second
PAGE_DEADLINE = 840.0  # seconds; twice that, for one that waited for a thread, is below RabbitMQ's half hour
LOOK = 1.0  # seconds between two looks at the pages under way
MOST_OPEN = 100  # clients whose connections are kept open for their next page


class PageExecutor:
    """Processes the pages of one worker, and clears fences. Safe to use from many threads.

    Args:
        stop: ends everything.

    Attributes:
        name: this worker's, in words for coordinators.
    """

    def __init__(
        self, name: str, clients: Mapping[str, Client], stop: StopSignal, tell: EventSink | None = None
    ) -> None:
        self.name = name
        self._worker_token = secrets.token_hex(16)
        self._clients = clients
        self._stop = stop
        self._term = BrokerTerm()
        self._account_groups = group_by_account(clients.values())
        self._suspend_detector = SuspendDetector(SUSPENDED, self._give_up)
        self._accounts = ConnectionPool(stop, tell=tell, may_send=self._suspend_detector.check)
        self._slots = ClientSlots()
        self._suspect = threading.Lock()  # held while a suspect is processed

    def start(self) -> None:
        """Starts the threads that end what takes too long, and what may be another worker's."""
        self._suspend_detector.start()
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def connected(self, hang_up: Callable[[], None], received: Callable[[], int]) -> None:
        """Notes a new connection to the broker: see `BrokerTerm.begin`."""
        self._term.begin(hang_up, received)

    @property
    def term_of_connection(self) -> int:
        """The term of messages that come over the present connection to the broker."""
        return self._term.of_connection

    def opened(self, sealed: Sealed) -> Message:
        """Opens a message. Raises SealError, and msgspec.MsgspecError for a good seal on no message of this version."""
        client = self._clients.get(sealed.client)
        if client is None:
            raise SealError("no client")
        return open_message(client, sealed)

    def sealed(self, message: Message, reply: Reply) -> bytes:
        """Returns `reply` as it is sent; `message`: one that was opened here."""
        return seal_reply(self._clients[message.client], reply)

    def has_fenced(self, message: PageMessage) -> bool:
        """Returns whether this process cleared the fence before; else the page may be an old one that is repeated."""
        return message.worker_token == self._worker_token

    def is_repeated(self, message: PageMessage) -> bool:
        """Returns whether this message came here before: then not from its coordinator, which sends no id twice."""
        return not self._slot(self._clients[message.client]).note(message.ref.id)

    def execute(self, message: Message, term: int | None = None, begun: Callable[[], None] = lambda: None) -> Reply:
        """Processes a page or clears a fence. Raises only what `begun` raises: other failures are in the reply.

        Args:
            message: one that was opened here.
            term: of the connection over which the message came; None: the present one's.
            begun: is called before a suspect is begun, which is then the only one here.
        """
        term = self._term.present if term is None else term
        if self._stop.requested.is_set():
            return Returned(message.ref)
        if isinstance(message, Fence) or not message.is_suspect:
            return self._executed(message, term)
        if not self._suspect.acquire(blocking=False):
            return Returned(message.ref)
        try:
            begun()
            return self._executed(message, term)
        finally:
            self._suspect.release()

    def worker_lost(self, message: PageMessage) -> WorkerLost:
        """Replies to a page that another worker had and did not acknowledge: that one may have pushed until now."""
        with suppress(ConfigError):  # without its key, nothing was pushed from here
            self._accounts.pause(self._clients[message.client], TAKEN_OVER)
        return WorkerLost(message.ref)

    def _executed(self, message: Message, term: int) -> Reply:
        client = self._clients[message.client]
        try:
            return self._checked(client, message, term)
        except OutdatedError as error:
            return Outdated(message.ref, epoch=error.epoch)
        except (InterruptedRunError, RevokedError):
            return self._not_ended(message)
        except ConfigError as error:
            return Refused(message.ref, words=f"worker {self.name}: {error}", hint=error.hint)
        except ServiceError as error:
            return Failed(message.ref, words=str(error), hint=error.hint)
        except Exception as error:  # noqa: BLE001 - a fault of this machine or of ours ends the run, as in one process
            ours = as_ours(error)
            return Failed(message.ref, words=f"worker {self.name}: {ours}", hint=ours.hint)

    def _checked(self, client: Client, message: Message, term: int) -> Reply:
        self._check_alike(client, message)
        match message:
            case Fence():
                return self._fence(client, message, term)
            case PageMessage():
                return self._page(client, message, term)

    @property
    def is_busy(self) -> bool:
        return self._slots.is_busy

    def revoke(self) -> None:
        """Ends all pages under way, and returns those that wait: their messages may be another worker's by now."""
        self._term.end()
        self._slots.clear()

    def _give_up(self) -> None:
        """Ends everything where this process, or the broker, stood still for too long."""
        self.revoke()
        self._term.hang_up()

    def close(self) -> None:
        self._suspend_detector.end()
        self.revoke()

    # ---- one message

    def _check_alike(self, client: Client, message: Message) -> None:
        """Raises ConfigError for a list that this worker's file does not have, and where its settings differ."""
        if not client.any_list and message.list_key.lower() not in map(str.lower, client.lists):
            raise ConfigError(
                f"client {client.name} has no list {message.list_key}",
                hint="Use the same configuration for workers and coordinator.",
            )
        if settings_digest(client, message.list_key, self._account_groups.get(client.name, "")) != message.settings:
            raise ConfigError(
                f"the settings of client {client.name} differ from the coordinator's",
                hint="Use the same configuration and the same version of mcimport for workers and coordinator.",
            )

    def _fence(self, client: Client, fence: Fence, term: int) -> FenceCleared:
        self._slot(client).begin(fence.epoch, lambda: self._term.check(term))
        return FenceCleared(fence.ref, worker_token=self._worker_token)

    def _page(self, client: Client, message: PageMessage, term: int) -> Reply:
        with self._slot(client).run_page(
            message.epoch, lambda: self._term.check(term), lambda: self._opened(client)
        ) as running:
            context = self._context(client, message, running.session)
            try:
                outcome = process_page(message.window, context)
            except InterruptedRunError:
                return self._interrupted(client, message, running)
        session = running.session
        return Processed(
            message.ref,
            outcome=outcome,
            usage=session.services.meter.drain(),
            warnings=session.take_warnings(),
            is_silenced=self._converter(client, message, session).is_silenced,
        )

    def _interrupted(self, client: Client, message: PageMessage, running: RunningPage) -> Reply:
        if running.is_late:
            return TimedOut(message.ref)
        if running.is_beside:
            return Returned(message.ref)
        latest = self._slot(client).epoch
        return Outdated(message.ref, epoch=latest) if latest > running.epoch else self._not_ended(message)

    def _not_ended(self, message: Message) -> Returned | Revoked:
        return Returned(message.ref) if self._stop.requested.is_set() else Revoked(message.ref)

    def _context(self, client: Client, message: PageMessage, session: ClientSession) -> PageContext:
        services, converter = session.services, self._converter(client, message, session)
        if message.has_sms:
            converter.note_sms()  # other workers may have met an SMS status since
        return replace(
            make_context(services, message.list_key, converter),
            rules=_rules(client, message),
            held=self._held(client, message, session),
            watched=message.watched,
            never_sent=message.never_sent,
            account_known_good=message.account_known_good,
            sample_size=client.ometria.spot_check,
        )

    def _converter(self, client: Client, message: PageMessage, session: ClientSession) -> RunConverter:
        """Returns the run's converter, which counts its subscription events here: the message allows what is left."""
        with self._slot(client).change:
            known = session.converters.get((message.list_key, message.ref.run_id))
            if known is None:
                session.services.trace.begin(message.list_key, message.ref.run_id)
                is_asked = message.is_first or bool(message.permissions)
                fields = LazyListFields(session.services.mailchimp, message.list_key, is_asked=is_asked)
                event_budget = EventBudget(limit=message.events_left, most=0, events=())
                known = RunConverter(
                    session.services.mailchimp, fields, _rules(client, message), event_budget, session.warn
                )
                session.converters = {(message.list_key, message.ref.run_id): known}  # one run of a client at a time
            return known

    def _held(self, client: Client, message: PageMessage, session: ClientSession) -> HeldLookups | None:
        """Returns the run's look-ups, which count themselves: the message allows what is left. None in a first run."""
        if message.is_first:
            return None
        run = (message.list_key, message.ref.run_id)
        with self._slot(client).change:
            if run not in session.held:
                session.held = {run: HeldLookups(session.services.contacts, message.carried_until, message.look_ups)}
            return session.held[run]

    # ---- connections and time limits

    def _opened(self, client: Client) -> ClientSession:
        """Opens the client's connections. Another worker may have pushed to the account until now, so it is paused."""
        stack = ExitStack()
        services = stack.enter_context(self._accounts.open(client))
        services.pause(TAKEN_OVER)
        return ClientSession(services, stack.close)

    def _slot(self, client: Client) -> ClientSlot:
        return self._slots.of(client.name)

    def _watch(self) -> None:
        while not self._stop.aborted.wait(LOOK):
            if self._term.is_silent():
                self._give_up()
            self._slots.end_late(time.monotonic() - PAGE_DEADLINE)
            self._slots.close_idle(MOST_OPEN)


def _rules(client: Client, message: PageMessage) -> ContactRules:
    return replace(
        client.rules(message.list_key, message.new_since),
        subscription_events=message.subscription_events,
        until=message.until,
        has_sms=message.has_sms,
        permissions=frozenset(message.permissions),
    )
