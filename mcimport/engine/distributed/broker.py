"""The broker, RabbitMQ: its exchanges and queues, and the Celery application that both ends are.

Orders go to one of 64 queues by the accounts that they are for. Each queue has one active consumer at a time, so that
one worker process works on an account, and its limiter there is the account's. An order that a worker rejects goes,
through the exchange of dead letters, to a queue of the coordinator that sent it.
"""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed, NotFound
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError
from pydantic import SecretStr

from mcimport.errors import ConfigError, UnreachableError
from mcimport.report.format import pluralize
from mcimport.state import open_state, state_exists

TASK = "mcimport.page"
UNOPENED = "mcimport-unopened"  # header of an order that comes back: which worker could not open it, and why
SHARDS = 64
HEARTBEAT = 10  # seconds; a peer that is silent for about twice as long is taken to be gone
CONNECT_TIMEOUT = 5.0  # seconds
ANSWERS_WITHIN = 30.0  # seconds
KEPT = 7 * 86_400  # seconds for which outcomes wait for a coordinator that does not come

ORDERS = Exchange("mcimport.orders", type="topic", durable=True)
DEAD = Exchange("mcimport.dead", type="topic", durable=True)


def orders_queue(shard: int) -> Queue:
    """A classic queue: of the quorum queues of RabbitMQ 3, twice as many pages run while one worker follows another."""
    return Queue(
        f"mcimport.orders.{shard:02d}",
        ORDERS,
        routing_key=f"{shard:02d}.#",
        durable=True,
        queue_arguments={"x-single-active-consumer": True, "x-dead-letter-exchange": DEAD.name},
    )


def outcomes_queue(state_id: str, client: str) -> Queue:
    """Durable, so that outcomes outlive their coordinator."""
    return Queue(f"mcimport.outcomes.{state_id}.{client}", durable=True, expires=KEPT)


def dead_queue(state_id: str, client: str) -> Queue:
    return Queue(
        f"mcimport.dead.{state_id}.{client}",
        DEAD,
        routing_key=f"*.{_tail(state_id, client)}",
        durable=True,
        expires=KEPT,
    )


def routing_key(shard: int, state_id: str, client: str) -> str:
    """The shard, and whose dead-letter queue the order may end in."""
    return f"{shard:02d}.{_tail(state_id, client)}"


def shard_of(account_group: str) -> int:
    """`account_group`: one name for all clients that share an account."""
    return zlib.crc32(account_group.encode()) % SHARDS


class _Application(Celery):
    """Goes to the address that it was made with: Celery lets variables of the environment come before it."""

    def connection_for_write(self, url: str | None = None, *arguments: Any, **options: Any) -> Connection:
        return super().connection_for_write(url or self.conf.mcimport_address, *arguments, **options)

    def connection_for_read(self, url: str | None = None, *arguments: Any, **options: Any) -> Connection:
        return super().connection_for_read(url or self.conf.mcimport_address, *arguments, **options)


def application(address: SecretStr) -> Celery:
    """Not configured by anything around it, and never the current one of this process."""
    url = address.get_secret_value()
    app = _Application("mcimport", broker=url, set_as_current=False)
    app.conf.mcimport_address = url
    if url.lower().startswith("amqps:"):  # else any certificate that this machine trusts would do, whoever's it is
        app.conf.broker_use_ssl = {"server_hostname": urlsplit(url).hostname}
    app.conf.update(
        accept_content=["json"],
        broker_channel_error_retry=True,  # else a worker ends, and goes on with its pages while others have them, too
        broker_connection_max_retries=None,  # a worker waits for its broker, however long
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=CONNECT_TIMEOUT,
        broker_heartbeat=HEARTBEAT,
        broker_heartbeat_checkrate=HEARTBEAT,  # a look a second: so that ours are never far apart
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_acks_on_failure_or_timeout=False,  # or what fails would never reach the dead-letter exchange
        task_create_missing_queues=False,
        task_ignore_result=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # threads cannot be cancelled: see `PageExecutor`
        worker_detect_quorum_queues=False,
        worker_enable_prefetch_count_reduction=False,  # pool threads would restore it, over the consumer's connection
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
    )
    return app


def connection(app: Celery, *, heartbeat: int = 0) -> Connection:
    """Not opened yet."""
    return app.connection_for_write(heartbeat=heartbeat, connect_timeout=CONNECT_TIMEOUT)


def hang_up(line: Connection) -> None:
    """From any thread: whoever waits for the broker there finds the connection broken."""
    amqp = getattr(line, "_connection", None)  # each of these, asked in the open, would connect anew
    sock = getattr(getattr(amqp, "_transport", None), "sock", None)
    if sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own would pull the rug from under who reads


def received(line: Connection | None) -> int:
    """How many frames came over a connection, heartbeats too; from any thread, and -1 where there is none."""
    return int(getattr(getattr(line, "_connection", None), "bytes_recv", -1))


@contextmanager
def bounded(line: Connection) -> Iterator[None]:
    """Hangs up under an answer that does not come: the client library would wait for it without end."""
    timer = threading.Timer(ANSWERS_WITHIN, hang_up, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


BROKEN: tuple[type[Exception], ...] = (AMQPError, KombuError, OSError)
"""What an operation raises on a connection that is gone, or on one that cannot be made."""


@contextmanager
def in_words() -> Iterator[None]:
    """What a broker's absence raises, as UnreachableError, and its refusal as ConfigError: without its address."""
    try:
        yield
    except (AccessRefused, NotAllowed):
        raise ConfigError(
            "the broker refused the login",
            hint="Check user, password and virtual host: they are part of `broker` in [engine].",
        ) from None
    except BROKEN as error:
        raise UnreachableError(
            f"the broker cannot be reached ({type(error).__name__})",
            hint="Is RabbitMQ running, and is `broker` in [engine] right? `mcimport check` tests it.",
        ) from None


def depth(channel: Any, queue: str) -> tuple[int, int]:
    """How many messages wait in a queue, and how many consumers it has. Raises amqp's NotFound, and then is closed."""
    _, messages, consumers = channel.queue_declare(queue=queue, passive=True)
    return int(messages), int(consumers)


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """What there is at the broker.

    Attributes:
        queues: of orders; with_worker: of these, those that somebody takes orders from.
        waiting: orders that nobody took yet; outcomes: replies that nobody took yet.
        dead: orders that were rejected, and wait for their coordinator.
    """

    queues: int
    with_worker: int
    waiting: int
    outcomes: int
    dead: int

    @property
    def words(self) -> str:
        return (
            f"{self.with_worker} of {self.queues} queues have a worker, {pluralize(self.waiting, 'message')} waiting,"
            f" {pluralize(self.outcomes, 'result')} not fetched, {self.dead:,} in dead-letter queues"
        )


def inspect(address: SecretStr, db_path: Path, clients: Iterable[str]) -> BrokerStatus:
    """`db_path`: whose outcomes and dead letters are counted; it need not exist.

    Raises UnreachableError, ConfigError or StateError. Nothing is made there that was not there before.
    """
    state_id = _memory(db_path)
    with in_words(), connection(application(address)) as line:
        line.connect()
        names = list(clients) if state_id else []
        with bounded(line):
            orders = [_depth(line, orders_queue(shard).name) for shard in range(SHARDS)]
            outcomes = [_depth(line, outcomes_queue(state_id, name).name) for name in names]
            dead = [_depth(line, dead_queue(state_id, name).name) for name in names]
    there = [one for one in orders if one is not None]
    return BrokerStatus(
        queues=SHARDS,
        with_worker=sum(consumers > 0 for _, consumers in there),
        waiting=sum(messages for messages, _ in there),
        outcomes=sum(one[0] for one in outcomes if one),
        dead=sum(one[0] for one in dead if one),
    )


def _memory(db_path: Path) -> str:
    """Empty without a state file."""
    if not state_exists(db_path):
        return ""
    with open_state(db_path, create=False) as state:
        return state.state_id


def _depth(line: Connection, queue: str) -> tuple[int, int] | None:
    """None: there is no such queue."""
    try:
        return depth(line.default_channel, queue)
    except NotFound:
        return None


def _tail(state_id: str, client: str) -> str:
    """Words of a topic may not hold the dots that a client's name may have."""
    return f"{state_id}.{client.encode().hex()}"
