"""Where a worker carries out orders, for as long as they are its own, and for no longer than a page may take."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace

import msgspec

from mcimport.config import Client
from mcimport.engine.distributed.account_groups import group_by_account
from mcimport.engine.distributed.client_slot import ClientSession, ClientSlot, OutdatedError, RunningPage
from mcimport.engine.distributed.messages import Order, Reply, ReplyKind, settings_of
from mcimport.engine.distributed.seal import Sealed, SealError, open_order, seal
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
from mcimport.services.http.retry import StopSignal

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

    def opened(self, sealed: Sealed) -> Order:
        """Raises SealError, and msgspec.MsgspecError for what is sealed well and no order of this version."""
        client = self._clients.get(sealed.client)
        if client is None:
            raise SealError("no client")
        return open_order(client, sealed)

    def sealed(self, order: Order, reply: Reply) -> bytes:
        """`reply` as it is sent; `order`: one that was opened here."""
        return seal(self._clients[order.client], reply)

    def has_fenced(self, order: Order) -> bool:
        """Whether the fence before this page was answered here; else the page may be an old one that is repeated."""
        return order.kind == "fence" or order.worker_token == self._worker_token

    def is_repeated(self, order: Order) -> bool:
        """Whether this very page was brought here before, and by somebody else than the broker: no id is sent twice."""
        return order.kind == "page" and not self._slot(self._clients[order.client]).note(order.id)

    def execute(self, order: Order, term: int | None = None, begun: Callable[[], None] = lambda: None) -> Reply:
        """Raises nothing but what `begun` raises: every other failure is in the reply.

        Args:
            order: of a page, or a fence; one that was opened here.
            term: of the connection over which the order came; None: the present one's.
            begun: is called before a suspect is begun, which is then the only one here.
        """
        term = self._term if term is None else term
        if self._stop.requested.is_set():
            return self.reply(order, "returned")
        if not order.is_suspect:
            return self._executed(order, term)
        if not self._alone.acquire(blocking=False):
            return self.reply(order, "returned")
        try:
            begun()
            return self._executed(order, term)
        finally:
            self._alone.release()

    def worker_lost(self, order: Order) -> Reply:
        """For an order that was given to a worker before who did not come back: it may have pushed until now."""
        with suppress(ConfigError):  # it cannot be asked here, so nothing was pushed
            self._accounts.pause(self._clients[order.client], TAKEN_OVER)
        return self.reply(order, "lost")

    def _executed(self, order: Order, term: int) -> Reply:
        client = self._clients[order.client]
        try:
            self._check_alike(client, order)
            return self._page(client, order, term) if order.kind == "page" else self._fence(client, order, term)
        except OutdatedError as error:
            return self.reply(order, "outdated", epoch=error.epoch)
        except (InterruptedRunError, _RevokedError):
            return self._not_ended(order)
        except ConfigError as error:
            return self.reply(order, "refused", words=f"worker {self.name}: {error}", hint=error.hint)
        except ServiceError as error:
            return self.reply(order, "failed", words=str(error), hint=error.hint, status=error.status)
        except Exception as error:  # noqa: BLE001 - a fault of this machine or of ours ends the run, as in one process
            ours = as_ours(error)
            return self.reply(order, "failed", words=f"worker {self.name}: {ours}", hint=ours.hint)

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

    def reply(
        self,
        order: Order,
        kind: ReplyKind,
        *,
        epoch: int | None = None,
        words: str = "",
        hint: str = "",
        status: int = 0,
    ) -> Reply:
        return Reply(
            kind=kind,
            id=order.id,
            epoch=order.epoch if epoch is None else epoch,
            state_id=order.state_id,
            run_id=order.run_id,
            worker=self.name,
            window=order.window,
            words=words,
            hint=hint,
            status=status,
        )

    # ---- one order

    def _check_alike(self, client: Client, order: Order) -> None:
        """A list that is not in our file is not ours to move; other settings make another contact, or more a second."""
        if not client.any_list and order.list_key.lower() not in map(str.lower, client.lists):
            raise ConfigError(
                f"client {client.name} has no list {order.list_key}",
                hint="Use the same configuration for workers and coordinator.",
            )
        if settings_of(client, order.list_key, self._account_groups.get(client.name, "")) != order.settings:
            raise ConfigError(
                f"the settings of client {client.name} differ from the coordinator's",
                hint="Use the same configuration and the same version of mcimport for workers and coordinator.",
            )

    def _fence(self, client: Client, order: Order, term: int) -> Reply:
        self._slot(client).begin(order.epoch, self._in_term(term))
        return msgspec.structs.replace(self.reply(order, "clear"), worker_token=self._worker_token)

    def _page(self, client: Client, order: Order, term: int) -> Reply:
        assert order.window is not None  # noqa: S101 - the coordinator sends none without
        with self._slot(client).run_page(order.epoch, self._in_term(term), lambda: self._opened(client)) as running:
            context = self._context(client, order, running.session)
            try:
                outcome = process_page(order.window, context)
            except InterruptedRunError:
                return self._interrupted(client, order, running)
        session = running.session
        return msgspec.structs.replace(
            self.reply(order, "moved"),
            outcome=outcome,
            costs=session.services.meter.drain(),
            warnings=session.take_warnings(),
            is_silenced=self._converter(client, order, session).is_silenced,
        )

    def _interrupted(self, client: Client, order: Order, running: RunningPage) -> Reply:
        if running.is_late or running.is_beside:
            return self.reply(order, "late" if running.is_late else "returned")
        known = self._slot(client).epoch
        return self.reply(order, "outdated", epoch=known) if known > running.epoch else self._not_ended(order)

    def _not_ended(self, order: Order) -> Reply:
        return self.reply(order, "returned" if self._stop.requested.is_set() else "revoked")

    def _in_term(self, term: int) -> Callable[[], None]:
        def check() -> None:
            if term != self._term:
                raise _RevokedError

        return check

    def _context(self, client: Client, order: Order, session: ClientSession) -> PageContext:
        services, converter = session.services, self._converter(client, order, session)
        services.ometria.has_taken |= order.has_taken
        if order.has_sms:
            converter.note_sms()  # other workers may have met an SMS status since
        return replace(
            make_context(services, order.list_key, converter),
            rules=_rules(client, order),
            held=self._held(client, order, session),
            watched=order.watched,
            never_sent=order.never_sent,
            sample_size=client.ometria.spot_check,
        )

    def _converter(self, client: Client, order: Order, session: ClientSession) -> RunConverter:
        """One a run, which counts the run's subscription events; those of workers before were counted already."""
        with self._slot(client).change:
            known = session.converters.get((order.list_key, order.run_id))
            if known is None:
                session.services.trace.begin(order.list_key, order.run_id)
                is_asked = order.is_first or bool(order.permissions)
                fields = LazyListFields(session.services.mailchimp, order.list_key, is_asked=is_asked)
                event_budget = EventBudget(limit=order.events_left, most=0, events=())
                known = RunConverter(
                    session.services.mailchimp, fields, _rules(client, order), event_budget, session.warn
                )
                session.converters = {(order.list_key, order.run_id): known}  # one run of a client at a time
            return known

    def _held(self, client: Client, order: Order, session: ClientSession) -> HeldLookups | None:
        """One a run, which counts the run's look-ups; those of workers before were counted already."""
        if order.is_first:
            return None
        run = (order.list_key, order.run_id)
        with self._slot(client).change:
            if run not in session.held:
                session.held = {run: HeldLookups(session.services.contacts, order.carried_until, order.look_ups)}
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


def _rules(client: Client, order: Order) -> ContactRules:
    return replace(
        client.rules(order.list_key, order.new_since),
        subscription_events=order.subscription_events,
        until=order.until,
        has_sms=order.has_sms,
        permissions=frozenset(order.permissions),
    )
