"""Where a worker carries out orders, for as long as they are its own, and for no longer than a page may take."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace

from mcimport.config import Client
from mcimport.engine.distributed.account_groups import group_by_account
from mcimport.engine.distributed.client_slot import ClientSession, ClientSlot, OutdatedError, RunningPage
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
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.converter import EventBudget, LazyListFields, RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.page.process import process_page
from mcimport.errors import ConfigError, InterruptedRunError, ServiceError
from mcimport.errors.machine import as_ours
from mcimport.models import ContactRules
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.request_log import EventSink
from mcimport.services.http.shutdown import StopSignal

SILENT = 14.0  # seconds; a broker speaks every five, and gives up a worker after 18 at the earliest
STOOD_STILL = 8.0  # seconds; less than the heartbeat after which a broker gives up a worker, at the earliest
TAKEN_OVER = 1.1  # seconds; limits are told by the second
PAGE_DEADLINE = 840.0  # seconds; twice that, for one that lay ready, is below RabbitMQ's half hour
LOOK = 1.0  # seconds between two looks at the pages under way
MOST_OPEN = 100  # clients whose connections are kept for their next order


class _RevokedError(Exception):
    """The order may be another worker's by now."""


class PageExecutor:
    """Safe to use from many threads.

    Args:
        stop: ends everything.

    Attributes:
        name: this worker's, as coordinators hear it.
        term_of_line: what orders of the present connection to the broker come with.
    """

    def __init__(
        self, name: str, clients: Mapping[str, Client], stop: StopSignal, tell: EventSink | None = None
    ) -> None:
        self.name = name
        self._worker_token = secrets.token_hex(16)
        self._clients = clients
        self._stop = stop
        self._term = self.term_of_line = 0
        self._hang_up: Callable[[], None] = lambda: None
        self._received: Callable[[], int] | None = None
        self._bytes, self._spoke = -1, 0.0
        self._account_groups = group_by_account(clients.values())
        self._suspend_detector = SuspendDetector(STOOD_STILL, self._stood_still)
        self._accounts = ConnectionPool(stop, tell=tell, may_send=self._suspend_detector.check)
        self._slots: dict[str, ClientSlot] = {}
        self._lock = threading.Lock()
        self._alone = threading.Lock()
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def connected(self, hang_up: Callable[[], None], received: Callable[[], int]) -> None:
        """A connection to the broker begins; `hang_up` breaks it, `received` counts what came over it.

        What is given over a connection is ours as long as that lasts, which is a term: afterwards the broker gives it
        to another worker, also what only lies ready here.
        """
        self._hang_up = hang_up
        self._bytes, self._spoke = -1, time.monotonic()
        self._received = received
        self.term_of_line = self._term

    def opened(self, sealed: Sealed) -> Message:
        """Raises SealError, and msgspec.MsgspecError for a good seal on no message of this version."""
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
        term = self._term if term is None else term
        if self._stop.requested.is_set():
            return Returned(message.ref)
        if isinstance(message, Fence) or not message.is_suspect:
            return self._executed(message, term)
        if not self._alone.acquire(blocking=False):
            return Returned(message.ref)
        try:
            begun()
            return self._executed(message, term)
        finally:
            self._alone.release()

    def worker_lost(self, message: PageMessage) -> WorkerLost:
        """Replies to a page that another worker had and did not acknowledge: that one may have pushed until now."""
        with suppress(ConfigError):  # it cannot be asked here, so nothing was pushed
            self._accounts.pause(self._clients[message.client], TAKEN_OVER)
        return WorkerLost(message.ref)

    def _executed(self, message: Message, term: int) -> Reply:
        client = self._clients[message.client]
        try:
            return self._checked(client, message, term)
        except OutdatedError as error:
            return Outdated(message.ref, epoch=error.epoch)
        except (InterruptedRunError, _RevokedError):
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
        return any(slot.is_busy for slot in self._all_slots())

    def revoke(self) -> None:
        """The messages under way may be another's by now, and those that lie ready: ends the work on all of them."""
        self._term += 1
        self._received = None  # that connection is over, or about to be
        for slot in self._all_slots():
            slot.clear()

    def _stood_still(self) -> None:
        """Or the broker did. What the broker sent meanwhile may be another's, too: only a new connection tells."""
        self.revoke()
        self._hang_up()

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
        self._slot(client).begin(fence.epoch, self._in_term(term))
        return FenceCleared(fence.ref, worker_token=self._worker_token)

    def _page(self, client: Client, message: PageMessage, term: int) -> Reply:
        with self._slot(client).run_page(message.epoch, self._in_term(term), lambda: self._opened(client)) as running:
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

    def _in_term(self, term: int) -> Callable[[], None]:
        def check() -> None:
            if term != self._term:
                raise _RevokedError

        return check

    def _context(self, client: Client, message: PageMessage, session: ClientSession) -> PageContext:
        services, converter = session.services, self._converter(client, message, session)
        if message.has_sms:
            converter.note_sms()  # other workers may have met an SMS status since
        return PageContext(
            list_key=message.list_key,
            mailchimp=services.mailchimp,
            ometria=services.ometria,
            convert=converter,
            fetch_missing_tags=converter.fetch_missing_tags,
            rules=_rules(client, message),
            held=self._held(client, message, session),
            watched=message.watched,
            never_sent=message.never_sent,
            account_known_good=message.account_known_good,
            sample_size=client.ometria.spot_check,
            meter=services.meter,
            trace=services.trace,
        )

    def _converter(self, client: Client, message: PageMessage, session: ClientSession) -> RunConverter:
        """One a run, which counts the run's subscription events; those of workers before were counted already."""
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
        """One a run, which counts the run's look-ups; those of workers before were counted already."""
        if message.is_first:
            return None
        run = (message.list_key, message.ref.run_id)
        with self._slot(client).change:
            if run not in session.held:
                session.held = {run: HeldLookups(session.services.contacts, message.carried_until, message.look_ups)}
            return session.held[run]

    # ---- rooms

    def _opened(self, client: Client) -> ClientSession:
        """Another worker may have had the account until now."""
        stack = ExitStack()
        services = stack.enter_context(self._accounts.open(client))
        services.pause(TAKEN_OVER)
        return ClientSession(services, stack.close)

    def _slot(self, client: Client) -> ClientSlot:
        with self._lock:
            return self._slots.setdefault(client.name, ClientSlot())

    def _all_slots(self) -> list[ClientSlot]:
        with self._lock:
            return list(self._slots.values())

    def _watch(self) -> None:
        while not self._stop.aborted.wait(LOOK):
            self._look()

    def _look(self) -> None:
        self._listen()
        slots = self._all_slots()
        for slot in slots:
            with suppress(Exception):  # whatever it is, the next room and the next look are to come
                slot.end_late(time.monotonic() - PAGE_DEADLINE)
        idle = sorted((slot for slot in slots if slot.is_idle), key=lambda slot: slot.used)
        for slot in idle[: max(0, len(idle) - MOST_OPEN)]:
            with suppress(Exception):  # as above
                slot.clear_if_idle()

    def _listen(self) -> None:
        """A broker that is silent for long does not hear us either, perhaps, and gives what we have to another."""
        received, now = self._received, time.monotonic()
        if received is None:
            return
        if (many := received()) != self._bytes:
            self._bytes, self._spoke = many, now
        elif now - self._spoke > SILENT:
            self._stood_still()


def _rules(client: Client, message: PageMessage) -> ContactRules:
    return replace(
        client.rules(message.list_key, message.new_since),
        subscription_events=message.subscription_events,
        until=message.until,
        has_sms=message.has_sms,
        permissions=frozenset(message.permissions),
    )
