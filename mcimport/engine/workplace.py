"""Where a worker carries out orders: its clients' services, and who is at work for whom.

Of one client only orders of the latest epoch are at work. A later one ends the earlier ones first, so that nothing that
was read for an earlier order is pushed after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import msgspec

from mcimport.accounts import Accounts, Services
from mcimport.config import Client
from mcimport.engine.lease import Lease
from mcimport.engine.orders import Order, Reply, ReplyKind, sealed, settings_of
from mcimport.errors import ConfigError, InterruptedRunError, ServiceError
from mcimport.limits import Stop
from mcimport.models import ContactRules
from mcimport.move import Job, move
from mcimport.run_converter import FieldsInTime, RunConverter, Welcome
from mcimport.trace import Tell

STOOD_STILL = 8.0  # seconds; less than the heartbeat after which a broker gives up a worker, at the earliest
TAKEN_OVER = 1.1  # seconds; limits are told by the second
PAGE_DEADLINE = 840.0  # seconds; twice that, for one that lay ready, is below RabbitMQ's half hour
LOOK = 1.0  # seconds between two looks at the pages under way
MOST_OPEN = 100  # clients whose connections are kept for their next order


class _ReturnedError(Exception):
    """The order may be another worker's by now, or cannot be begun at present."""


class _OutdatedError(Exception):
    """A later epoch of the client is known."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


@dataclass(eq=False)
class _Desk:
    """A client's services and what its runs convert with, for one epoch. `warnings`: for the next reply."""

    services: Services
    close: Callable[[], None]
    converters: dict[tuple[str, int], RunConverter] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def take_warnings(self) -> tuple[str, ...]:
        told, self.warnings = self.warnings, []
        return tuple(dict.fromkeys(told))


@dataclass(eq=False)
class _Sitting:
    """One page under way. `is_late`: it took longer than a page may, and is being ended."""

    desk: _Desk
    epoch: int
    began: float
    is_late: bool = False


@dataclass(eq=False)
class _Room:
    """One client's. `change` guards all of it."""

    epoch: int = 0
    desk: _Desk | None = None
    sittings: set[_Sitting] = field(default_factory=set)
    used: float = 0.0
    change: threading.Condition = field(default_factory=threading.Condition)

    def rest(self) -> None:
        """Another worker may have had the account until now."""
        if self.desk is not None:
            self.desk.services.ometria.rest(TAKEN_OVER)

    def clear(self) -> None:
        """Ends what is under way: connections are closed under its feet, and every wait is woken."""
        if self.desk is not None:
            self.desk.close()
            self.desk = None


class Workplace:
    """Safe to use from many threads.

    Args:
        name: this worker's, as coordinators hear it.
        stop: ends everything.

    Attributes:
        term_of_line: what orders of the present connection to the broker come with.
    """

    def __init__(self, name: str, clients: Mapping[str, Client], stop: Stop, tell: Tell | None = None) -> None:
        self._name = name
        self._clients = clients
        self._stop = stop
        self._term = self.term_of_line = 0
        self._hang_up: Callable[[], None] = lambda: None
        self._lease = Lease(STOOD_STILL, self._stood_still)
        self._accounts = Accounts(stop, tell=tell, may_send=self._lease.check)
        self._rooms: dict[str, _Room] = {}
        self._lock = threading.Lock()
        self._alone = threading.Lock()
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def connected(self, hang_up: Callable[[], None]) -> None:
        """A connection to the broker begins; `hang_up` breaks it.

        What is given over a connection is ours as long as that lasts, which is a term: afterwards the broker gives it
        to another worker, also what only lies ready here.
        """
        self._hang_up = hang_up
        self.term_of_line = self._term

    def carry_out(self, order: Order, term: int | None = None, begun: Callable[[], None] = lambda: None) -> Reply:
        """Never raises what `errors` knows: it is in the reply.

        Args:
            order: of a page, or a fence.
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
        room = self._rooms.get(order.client)
        if room is not None:
            with room.change:
                room.rest()
        return self.reply(order, "lost")

    def _carried_out(self, order: Order, term: int) -> Reply:
        client = self._clients.get(order.client)
        if client is None:
            words = f"worker {self._name} has no client {order.client}"
            return self.reply(
                order, "refused", words=words, hint="Give workers and coordinator the same configuration."
            )
        try:
            self._check_alike(client, order)
            return self._page(client, order, term) if order.kind == "page" else self._fence(client, order, term)
        except _OutdatedError as error:
            return self.reply(order, "outdated", epoch=error.epoch)
        except (InterruptedRunError, _ReturnedError):
            return self.reply(order, "returned")
        except ConfigError as error:
            return self.reply(order, "refused", words=f"worker {self._name}: {error}", hint=error.hint)
        except ServiceError as error:
            return self.reply(order, "failed", words=str(error), hint=error.hint, status=error.status)

    @property
    def is_busy(self) -> bool:
        return any(room.sittings for room in self._all_rooms())

    def break_off(self) -> None:
        """The messages under way may be another's by now, and those that lie ready: ends the work on all of them."""
        self._term += 1
        for room in self._all_rooms():
            with room.change:
                room.clear()

    def _stood_still(self) -> None:
        """What the broker sent meanwhile may be another's, too: only a new connection tells."""
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
            run_id=order.run_id,
            worker=self._name,
            window=order.window,
            words=words,
            hint=hint,
            status=status,
        )

    # ---- one order

    def _check_alike(self, client: Client, order: Order) -> None:
        """Another key leads to another account, and other settings make another contact, or more of them a second."""
        ours = sealed(client, order.nonce)
        for side, seal, theirs in (
            ("Mailchimp", ours.mailchimp, order.seals.mailchimp),
            ("Ometria", ours.ometria, order.seals.ometria),
        ):
            if seal != theirs:
                raise ConfigError(
                    f"the {side} key of client {client.name} is not the coordinator's",
                    hint="A renewed key? Start the workers anew, once they have it, too.",
                )
        if settings_of(client, order.list_key) != order.settings:
            raise ConfigError(
                f"the settings of client {client.name} are not the coordinator's",
                hint="Another file, or another version of mcimport? Start workers and coordinator with the same.",
            )

    def _fence(self, client: Client, order: Order, term: int) -> Reply:
        room = self._room(client)
        with room.change:
            self._begin_epoch(room, order, term)
        return self.reply(order, "clear")

    def _page(self, client: Client, order: Order, term: int) -> Reply:
        assert order.window is not None  # noqa: S101 - the coordinator sends none without
        with self._seated(client, order, term) as sitting:
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

    def _interrupted(self, client: Client, order: Order, sitting: _Sitting) -> Reply:
        if sitting.is_late:
            return self.reply(order, "late")
        known = self._room(client).epoch
        return self.reply(order, "outdated", epoch=known) if known > sitting.epoch else self.reply(order, "returned")

    def _job(self, client: Client, order: Order, desk: _Desk) -> Job:
        services, converter = desk.services, self._converter(client, order, desk)
        services.ometria.has_taken |= order.has_taken
        return Job(
            list_key=order.list_key,
            mailchimp=services.mailchimp,
            ometria=services.ometria,
            convert=converter,
            aside=converter.aside,
            watched=frozenset(order.watched),
            meter=services.meter,
            trace=services.trace,
        )

    def _converter(self, client: Client, order: Order, desk: _Desk) -> RunConverter:
        """One a run, which counts the run's subscription events; those of workers before were counted already."""
        with self._room(client).change:
            known = desk.converters.get((order.list_key, order.run_id))
            if known is None:
                desk.services.trace.begin(order.list_key, order.run_id)
                fields = FieldsInTime(desk.services.mailchimp, order.list_key)
                welcome = Welcome(limit=order.welcome_left, most=0, events=())
                known = RunConverter(desk.services.mailchimp, fields, _rules(client, order), welcome, desk.warn)
                desk.converters = {(order.list_key, order.run_id): known}  # one run of a client at a time
            return known

    # ---- who is at work

    @contextmanager
    def _seated(self, client: Client, order: Order, term: int) -> Iterator[_Sitting]:
        room = self._room(client)
        with room.change:
            self._begin_epoch(room, order, term)
            if room.desk is None:
                room.desk = self._opened(client)
                room.rest()
            sitting = _Sitting(room.desk, order.epoch, time.monotonic())
            room.sittings.add(sitting)
            room.used = sitting.began
        try:
            yield sitting
        finally:
            with room.change:
                room.sittings.discard(sitting)
                room.change.notify_all()

    def _begin_epoch(self, room: _Room, order: Order, term: int) -> None:
        """Returns when nobody of an earlier one is at work any more.

        Raises _OutdatedError where a later one is known, _ReturnedError where the term of its connection is over.
        """
        if order.epoch > room.epoch:
            room.epoch = order.epoch
            room.clear()
        while any(one.epoch < order.epoch for one in room.sittings) and room.epoch == order.epoch:
            room.change.wait()
        if order.epoch < room.epoch:
            raise _OutdatedError(room.epoch)
        if term != self._term:
            raise _ReturnedError

    def _opened(self, client: Client) -> _Desk:
        stack = ExitStack()
        services = stack.enter_context(self._accounts.open(client))
        return _Desk(services, stack.close)

    def _room(self, client: Client) -> _Room:
        with self._lock:
            return self._rooms.setdefault(client.name, _Room())

    def _all_rooms(self) -> list[_Room]:
        with self._lock:
            return list(self._rooms.values())

    def _watch(self) -> None:
        while not self._stop.now.wait(LOOK):
            now = time.monotonic()
            for room in self._all_rooms():
                with room.change:
                    late = [one for one in room.sittings if now - one.began > PAGE_DEADLINE]
                    for one in late:
                        one.is_late = True
                        one.desk.close()
                        if room.desk is one.desk:
                            room.desk = None
            self._close_the_oldest()

    def _close_the_oldest(self) -> None:
        idle = [room for room in self._all_rooms() if room.desk is not None and not room.sittings]
        for room in sorted(idle, key=lambda one: one.used)[: max(0, len(idle) - MOST_OPEN)]:
            with room.change:
                if not room.sittings:
                    room.clear()


def _rules(client: Client, order: Order) -> ContactRules:
    return replace(client.rules(order.list_key, order.new_since), subscription_events=order.subscription_events)
