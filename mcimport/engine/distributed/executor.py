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
from mcimport.engine.distributed.account_groups import leaders
from mcimport.engine.distributed.messages import Order, Reply, ReplyKind, settings_of
from mcimport.engine.distributed.seal import Sealed, SealError, open_order, seal
from mcimport.engine.distributed.sessions import Desk, OutdatedError, Room, Sitting
from mcimport.engine.distributed.standstill import Lease
from mcimport.engine.page.context import Job
from mcimport.engine.page.converter import FieldsInTime, RunConverter, Welcome
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.page.process import move
from mcimport.errors import ConfigError, InterruptedRunError, ServiceError
from mcimport.errors.machine import as_ours
from mcimport.models import ContactRules
from mcimport.services.connections import Accounts
from mcimport.services.http.request_log import Tell
from mcimport.services.http.retry import Stop

SILENT = 14.0  # seconds; a broker speaks every five, and gives up a worker after 18 at the earliest
STOOD_STILL = 8.0  # seconds; less than the heartbeat after which a broker gives up a worker, at the earliest
TAKEN_OVER = 1.1  # seconds; limits are told by the second
PAGE_DEADLINE = 840.0  # seconds; twice that, for one that lay ready, is below RabbitMQ's half hour
LOOK = 1.0  # seconds between two looks at the pages under way
MOST_OPEN = 100  # clients whose connections are kept for their next order


class _BrokenOffError(Exception):
    """The order may be another worker's by now."""


class Workplace:
    """Safe to use from many threads.

    Args:
        stop: ends everything.

    Attributes:
        name: this worker's, as coordinators hear it.
        term_of_line: what orders of the present connection to the broker come with.
    """

    def __init__(self, name: str, clients: Mapping[str, Client], stop: Stop, tell: Tell | None = None) -> None:
        self.name = name
        self._session = secrets.token_hex(16)
        self._clients = clients
        self._stop = stop
        self._term = self.term_of_line = 0
        self._hang_up: Callable[[], None] = lambda: None
        self._received: Callable[[], int] | None = None
        self._bytes, self._spoke = -1, 0.0
        self._leaders = leaders(clients.values())
        self._lease = Lease(STOOD_STILL, self._stood_still)
        self._accounts = Accounts(stop, tell=tell, may_send=self._lease.check)
        self._rooms: dict[str, Room] = {}
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
        return order.kind == "fence" or order.session == self._session

    def is_repeated(self, order: Order) -> bool:
        """Whether this very page was brought here before, and by somebody else than the broker: no id is sent twice."""
        return order.kind == "page" and not self._room(self._clients[order.client]).note(order.id)

    def carry_out(self, order: Order, term: int | None = None, begun: Callable[[], None] = lambda: None) -> Reply:
        """Raises nothing but what `begun` raises: every other failure is in the reply.

        Args:
            order: of a page, or a fence; one that was opened here.
            term: of the connection over which the order came; None: the present one's.
            begun: is called before a suspect is begun, which is then the only one here.
        """
        term = self._term if term is None else term
        if self._stop.asked.is_set():
            return self.reply(order, "returned")
        if not order.is_suspect:
            return self._carried_out(order, term)
        if not self._alone.acquire(blocking=False):
            return self.reply(order, "returned")
        try:
            begun()
            return self._carried_out(order, term)
        finally:
            self._alone.release()

    def lost(self, order: Order) -> Reply:
        """For an order that was given to a worker before who did not come back: it may have pushed until now."""
        with suppress(ConfigError):  # it cannot be asked here, so nothing was pushed
            self._accounts.rest(self._clients[order.client], TAKEN_OVER)
        return self.reply(order, "lost")

    def _carried_out(self, order: Order, term: int) -> Reply:
        client = self._clients[order.client]
        try:
            self._check_alike(client, order)
            return self._page(client, order, term) if order.kind == "page" else self._fence(client, order, term)
        except OutdatedError as error:
            return self.reply(order, "outdated", epoch=error.epoch)
        except (InterruptedRunError, _BrokenOffError):
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
        return any(room.is_busy for room in self._all_rooms())

    def break_off(self) -> None:
        """The messages under way may be another's by now, and those that lie ready: ends the work on all of them."""
        self._term += 1
        self._received = None  # that connection is over, or about to be
        for room in self._all_rooms():
            room.clear()

    def _stood_still(self) -> None:
        """Or the broker did. What the broker sent meanwhile may be another's, too: only a new connection tells."""
        self.break_off()
        self._hang_up()

    def close(self) -> None:
        self._lease.end()
        self.break_off()

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
            memory=order.memory,
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
        if settings_of(client, order.list_key, self._leaders.get(client.name, "")) != order.settings:
            raise ConfigError(
                f"the settings of client {client.name} differ from the coordinator's",
                hint="Use the same configuration and the same version of mcimport for workers and coordinator.",
            )

    def _fence(self, client: Client, order: Order, term: int) -> Reply:
        self._room(client).begin(order.epoch, self._in_term(term))
        return msgspec.structs.replace(self.reply(order, "clear"), session=self._session)

    def _page(self, client: Client, order: Order, term: int) -> Reply:
        assert order.window is not None  # noqa: S101 - the coordinator sends none without
        with self._room(client).seated(order.epoch, self._in_term(term), lambda: self._opened(client)) as sitting:
            job = self._job(client, order, sitting.desk)
            try:
                outcome = move(order.window, job)
            except InterruptedRunError:
                return self._interrupted(client, order, sitting)
        desk = sitting.desk
        return msgspec.structs.replace(
            self.reply(order, "moved"),
            outcome=outcome,
            costs=desk.services.meter.take(),
            warnings=desk.take_warnings(),
            is_silenced=self._converter(client, order, desk).is_silenced,
        )

    def _interrupted(self, client: Client, order: Order, sitting: Sitting) -> Reply:
        if sitting.is_late or sitting.is_beside:
            return self.reply(order, "late" if sitting.is_late else "returned")
        known = self._room(client).epoch
        return self.reply(order, "outdated", epoch=known) if known > sitting.epoch else self._not_ended(order)

    def _not_ended(self, order: Order) -> Reply:
        return self.reply(order, "returned" if self._stop.asked.is_set() else "broken_off")

    def _in_term(self, term: int) -> Callable[[], None]:
        def check() -> None:
            if term != self._term:
                raise _BrokenOffError

        return check

    def _job(self, client: Client, order: Order, desk: Desk) -> Job:
        services, converter = desk.services, self._converter(client, order, desk)
        services.ometria.has_taken |= order.has_taken
        if order.has_sms:
            converter.note_sms()  # other workers may have met an SMS status since
        return Job(
            list_key=order.list_key,
            mailchimp=services.mailchimp,
            ometria=services.ometria,
            convert=converter,
            aside=converter.aside,
            rules=_rules(client, order),
            held=self._held(client, order, desk),
            watched=order.watched,
            never_sent=order.never_sent,
            sample_size=client.ometria.spot_check,
            meter=services.meter,
            trace=services.trace,
        )

    def _converter(self, client: Client, order: Order, desk: Desk) -> RunConverter:
        """One a run, which counts the run's subscription events; those of workers before were counted already."""
        with self._room(client).change:
            known = desk.converters.get((order.list_key, order.run_id))
            if known is None:
                desk.services.trace.begin(order.list_key, order.run_id)
                is_asked = order.is_first or bool(order.permissions)
                fields = FieldsInTime(desk.services.mailchimp, order.list_key, is_asked=is_asked)
                welcome = Welcome(limit=order.welcome_left, most=0, events=())
                known = RunConverter(desk.services.mailchimp, fields, _rules(client, order), welcome, desk.warn)
                desk.converters = {(order.list_key, order.run_id): known}  # one run of a client at a time
            return known

    def _held(self, client: Client, order: Order, desk: Desk) -> HeldLookups | None:
        """One a run, which counts the run's look-ups; those of workers before were counted already."""
        if order.is_first:
            return None
        run = (order.list_key, order.run_id)
        with self._room(client).change:
            if run not in desk.held:
                desk.held = {run: HeldLookups(desk.services.contacts, order.carried_until, order.look_ups)}
            return desk.held[run]

    # ---- rooms

    def _opened(self, client: Client) -> Desk:
        """Another worker may have had the account until now."""
        stack = ExitStack()
        services = stack.enter_context(self._accounts.open(client))
        services.rest(TAKEN_OVER)
        return Desk(services, stack.close)

    def _room(self, client: Client) -> Room:
        with self._lock:
            return self._rooms.setdefault(client.name, Room())

    def _all_rooms(self) -> list[Room]:
        with self._lock:
            return list(self._rooms.values())

    def _watch(self) -> None:
        while not self._stop.now.wait(LOOK):
            self._look()

    def _look(self) -> None:
        self._listen()
        rooms = self._all_rooms()
        for room in rooms:
            with suppress(Exception):  # whatever it is, the next room and the next look are to come
                room.end_late(time.monotonic() - PAGE_DEADLINE)
        idle = sorted((room for room in rooms if room.is_idle), key=lambda room: room.used)
        for room in idle[: max(0, len(idle) - MOST_OPEN)]:
            with suppress(Exception):  # as above
                room.clear_if_idle()

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
