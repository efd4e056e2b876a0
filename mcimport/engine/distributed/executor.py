"""Processes pages in a worker: as long as their messages are this worker's, and no longer than a page may take."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress

from msgspec.structs import replace

from mcimport.config import Client
from mcimport.engine.distributed import messages
from mcimport.engine.distributed.broker import group_by_account
from mcimport.engine.distributed.broker_term import BrokerTerm, RevokedError, SuspendDetector
from mcimport.engine.distributed.client_slot import ClientSession, ClientSlot, OutdatedError, RunningPage, RunTools
from mcimport.engine.distributed.messages import Fence, Message, PageMessage, Reply, settings_digest
from mcimport.engine.distributed.seal import Sealed, SealError, open_message, seal
from mcimport.engine.page.context import make_context
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
from mcimport.services.ometria.sender import BatchSender

SUSPENDED = 8.0  # seconds without running; less than those after which a broker gives up a worker, at the earliest
TAKEN_OVER = 1.1  # seconds for which an account of a former worker is left alone: limits count by the second
PAGE_DEADLINE = 840.0  # seconds; twice that, for one that waited for a thread, is below RabbitMQ's half hour
LOOK = 1.0  # seconds between two looks at the pages under way
MOST_OPEN = 100  # clients whose connections are kept open for their next page


class PageExecutor:
    """Processes the pages of one worker, and clears fences. Safe to use from many threads.

    `name`: this worker's, in words for coordinators. `term`: whose messages this worker may process.
    """

    def __init__(
        self, name: str, clients: Mapping[str, Client], stop: StopSignal, tell: EventSink | None = None
    ) -> None:
        self.name = name
        self.term = BrokerTerm()
        self._worker_token = secrets.token_hex(16)
        self._clients = clients
        self._stop = stop
        self._account_groups = group_by_account(clients.values())
        self._suspend_detector = SuspendDetector(SUSPENDED, self._give_up)
        self._accounts = ConnectionPool(stop, tell=tell, may_send=self._suspend_detector.check)
        self._slots = {name: ClientSlot() for name in clients}
        self._suspect = threading.Lock()  # held while a suspect is processed

    def start(self) -> None:
        """Starts the threads that end what takes too long, and what may be another worker's."""
        self._suspend_detector.start()
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def opened(self, sealed: Sealed) -> Message:
        """Opens a message. Raises SealError, and msgspec.MsgspecError for a good seal on no message of this version."""
        client = self._clients.get(sealed.client)
        if client is None:
            raise SealError("no client")
        return open_message(client, sealed)

    def sealed(self, message: Message, reply: Reply) -> bytes:
        """Returns `reply` as it is sent; `message`: one that was opened here."""
        return seal(self._clients[message.client], reply)

    def has_fenced(self, message: PageMessage) -> bool:
        """Returns whether this process cleared the fence before; else the page may be an old one that is repeated."""
        return message.worker_token == self._worker_token

    def is_repeated(self, message: PageMessage) -> bool:
        """Returns whether this message came here before: then not from its coordinator, which sends no id twice."""
        return not self._slots[message.client].note(message.ref.id)

    def execute(self, message: Message, term: int | None = None, begun: Callable[[], None] = lambda: None) -> Reply:
        """Processes a page or clears a fence. Raises only what `begun` raises: other failures are in the reply.

        Args:
            message: one that was opened here.
            term: of the connection over which the message came; None: the present one's.
            begun: is called before a suspect is begun, which is then the only one here.
        """
        term = self.term.present if term is None else term
        if self._stop.requested.is_set():
            return messages.Returned(message.ref)
        if isinstance(message, Fence) or not message.is_suspect:
            return self._executed(message, term)
        if not self._suspect.acquire(blocking=False):
            return messages.Returned(message.ref)
        try:
            begun()
            return self._executed(message, term)
        finally:
            self._suspect.release()

    def worker_lost(self, message: PageMessage) -> messages.WorkerLost:
        """Replies to a page that another worker had and did not acknowledge: that one may have pushed until now."""
        with suppress(ConfigError):  # without its key, nothing was pushed from here
            self._accounts.pause(self._clients[message.client], TAKEN_OVER)
        return messages.WorkerLost(message.ref)

    def _executed(self, message: Message, term: int) -> Reply:
        client = self._clients[message.client]
        try:
            self._check_alike(client, message)
            if isinstance(message, PageMessage):
                reply = self._page(client, message, term)
            else:
                self._slots[client.name].begin(message.epoch, lambda: self.term.check(term))
                reply = messages.FenceCleared(message.ref, worker_token=self._worker_token)
        except OutdatedError:
            return messages.Outdated(message.ref, epoch=self._slots[client.name].epoch)
        except (InterruptedRunError, RevokedError):
            return self._not_ended(message)
        except ConfigError as error:
            return messages.Refused(message.ref, words=f"worker {self.name}: {error}", hint=error.hint)
        except ServiceError as error:
            return messages.Failed(message.ref, words=str(error), hint=error.hint)
        except Exception as error:  # noqa: BLE001 - a fault of this machine or of ours ends the run, as in one process
            ours = as_ours(error)
            return messages.Failed(message.ref, words=f"worker {self.name}: {ours}", hint=ours.hint)
        return reply

    @property
    def is_busy(self) -> bool:
        return any(slot.is_busy for slot in self._slots.values())

    def revoke(self) -> None:
        """Ends all pages under way, and returns those that wait: their messages may be another worker's by now."""
        self.term.end()
        for slot in self._slots.values():
            slot.clear()

    def _give_up(self) -> None:
        """Ends everything where this process, or the broker, stood still for too long."""
        self.revoke()
        self.term.hang_up()

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

    def _page(self, client: Client, message: PageMessage, term: int) -> Reply:
        slot = self._slots[client.name]
        with slot.run_page(message.epoch, lambda: self.term.check(term), lambda: self._opened(client)) as running:
            session = running.session
            with slot.change:
                converter, held, sender = _of_run(client, message, session)
            if message.has_sms:
                converter.note_sms()  # other workers may have met an SMS status since
            context = replace(
                make_context(session.services, message.list_key, converter, sender),
                rules=_rules(client, message),
                held=held,
                watched=message.watched,
                never_sent=message.never_sent,
                sample_size=client.ometria.spot_check,
            )
            try:
                outcome = process_page(message.window, context)
            except InterruptedRunError:
                return self._interrupted(slot, message, running)
        return messages.Processed(
            message.ref,
            outcome=outcome,
            usage=session.services.meter.drain(),
            warnings=session.take_warnings(),
            is_silenced=converter.is_silenced,
        )

    def _interrupted(self, slot: ClientSlot, message: PageMessage, running: RunningPage) -> Reply:
        if running.is_late:
            return messages.TimedOut(message.ref)
        if running.is_beside:
            return messages.Returned(message.ref)
        if slot.epoch > running.epoch:
            return messages.Outdated(message.ref, epoch=slot.epoch)
        return self._not_ended(message)

    def _not_ended(self, message: Message) -> messages.Returned | messages.Revoked:
        return messages.Returned(message.ref) if self._stop.requested.is_set() else messages.Revoked(message.ref)

    # ---- connections and time limits

    def _opened(self, client: Client) -> ClientSession:
        """Opens the client's connections. Another worker may have pushed to the account until now, so it is paused."""
        stack = ExitStack()
        services = stack.enter_context(self._accounts.open(client))
        services.pause(TAKEN_OVER)
        return ClientSession(services, stack.close)

    def _watch(self) -> None:
        while not self._stop.aborted.wait(LOOK):
            if self.term.is_silent():
                self._give_up()
            for slot in self._slots.values():
                with suppress(Exception):  # whatever it is, the other slots and the next look are to come
                    slot.end_late(time.monotonic() - PAGE_DEADLINE)
            idle = sorted((slot for slot in self._slots.values() if slot.is_idle), key=lambda slot: slot.used)
            for slot in idle[:-MOST_OPEN]:
                with suppress(Exception):  # as above
                    slot.clear_if_idle()


def _rules(client: Client, message: PageMessage) -> ContactRules:
    return replace(
        client.rules(message.list_key, message.new_since),
        subscription_events=message.subscription_events,
        until=message.until,
        has_sms=message.has_sms,
        permissions=frozenset(message.permissions),
    )


def _of_run(client: Client, message: PageMessage, session: ClientSession) -> RunTools:
    """Returns what a run works with; it counts what the run spends here: the message allows what is left.

    In a list's first run nothing is looked up.
    """
    services, run = session.services, (message.list_key, message.ref.run_id)
    if run not in session.runs:
        services.trace.begin(*run)
        is_asked = message.is_first or bool(message.permissions)
        fields = LazyListFields(services.mailchimp, message.list_key, is_asked=is_asked)
        event_budget = EventBudget(limit=message.events_left, most=0, events=())
        converter = RunConverter(services.mailchimp, fields, _rules(client, message), event_budget, session.warn)
        held = None if message.is_first else HeldLookups(services.contacts, message.imported_until, message.look_ups)
        sender = BatchSender(services.ometria, account_known_good=message.account_known_good)
        session.runs = {run: (converter, held, sender)}  # one run of a client at a time
    return session.runs[run]
