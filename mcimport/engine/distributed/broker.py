"""The broker, RabbitMQ: its exchanges and queues, and the Celery application of coordinators and workers.

Messages to workers go to one of 64 queues, by the accounts that they are for. Each queue has one active consumer at a
time, so that one worker process uses an account, and the rate limiter of that process is the account's. A message that
a worker rejects goes, through the dead-letter exchange, to a queue of the coordinator that sent it.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed, NotFound
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError
from msgspec import Struct
from pydantic import SecretStr

from mcimport.config import Client
from mcimport.engine.distributed.celery_patches import hang_up
from mcimport.errors import ConfigError, UnreachableError
from mcimport.report.format import pluralize
from mcimport.state import open_state, state_exists

TASK = "mcimport.page"
UNOPENED = "mcimport-unopened"  # header of a message that comes back: which worker could not open it, and why
SHARDS = 64
HEARTBEAT = 10  # seconds; a peer that sends nothing for about twice as long is taken to be gone
CONNECT_TIMEOUT = 5.0  # seconds
ANSWERS_WITHIN = 30.0  # seconds for one operation of the broker
KEPT = 7 * 86_400  # seconds for which replies wait for a coordinator

ORDERS = Exchange("mcimport.orders", type="topic", durable=True)
DEAD = Exchange("mcimport.dead", type="topic", durable=True)


def orders_queue(shard: int) -> Queue:
    """Returns the queue of messages to workers with this number, from 0 to 63.

    It is a classic queue: with quorum queues of RabbitMQ 3, twice as many pages run while one worker follows another.
    """
    return Queue(
        f"mcimport.orders.{shard:02d}",
        ORDERS,
        routing_key=f"{shard:02d}.#",
        durable=True,
        queue_arguments={"x-single-active-consumer": True, "x-dead-letter-exchange": DEAD.name},
    )


def outcomes_queue(state_id: str, client: str) -> Queue:
    """Returns the queue of replies to one coordinator; durable, so that they outlive it."""
    return Queue(f"mcimport.outcomes.{state_id}.{client}", durable=True, expires=KEPT)


def dead_queue(state_id: str, client: str) -> Queue:
    """Returns the queue of one coordinator's messages that were rejected, or that no worker took in time."""
    return Queue(
        f"mcimport.dead.{state_id}.{client}",
        DEAD,
        routing_key=f"*.{_tail(state_id, client)}",
        durable=True,
        expires=KEPT,
    )


def routing_key(shard: int, state_id: str, client: str) -> str:
    """Returns the routing key of a message: its shard, and which dead-letter queue it may end in."""
    return f"{shard:02d}.{_tail(state_id, client)}"


def shard_of(account_group: str) -> int:
    """Returns the number of the queue of all clients that share an account: `account_group` is their one name."""
    return zlib.crc32(account_group.encode()) % SHARDS


def group_by_account(clients: Iterable[Client]) -> dict[str, str]:
    """Maps each client's name to the first name among all that share an account with it, directly or through others.

    Clients with a key that cannot be read are left out: it is not known which accounts they share.
    """
    chosen = [(client, accounts) for client in clients if (accounts := _accounts(client))]
    account_group = {client.name: client.name for client, _ in chosen}
    having: dict[tuple[str, str], str] = {}

    def first(name: str) -> str:
        while account_group[name] != name:
            name = account_group[name]
        return name

    for client, accounts in chosen:
        for account in accounts:
            low, high = sorted((first(having.setdefault(account, client.name)), first(client.name)))
            account_group[high] = low
    return {name: first(name) for name in account_group}


def _accounts(client: Client) -> tuple[tuple[str, str], ...]:
    try:
        mailchimp, ometria = client.mailchimp_key(), client.ometria_key()
    except ConfigError:
        return ()
    return (
        ("mailchimp", client.mailchimp.account or mailchimp.get_secret_value()),
        ("ometria", client.ometria.account or ometria.get_secret_value()),
    )


class _Application(Celery):
    """Connects to the address that it was made with: Celery lets environment variables override it."""

    def connection_for_write(self, url: str | None = None, *arguments: Any, **options: Any) -> Connection:
        return super().connection_for_write(url or self.conf.mcimport_address, *arguments, **options)

    def connection_for_read(self, url: str | None = None, *arguments: Any, **options: Any) -> Connection:
        return super().connection_for_read(url or self.conf.mcimport_address, *arguments, **options)


def application(address: SecretStr) -> Celery:
    """Returns the Celery application, which takes no configuration from elsewhere, and is not the process's current."""
    url = address.get_secret_value()
    app = _Application("mcimport", broker=url, set_as_current=False)
    app.conf.mcimport_address = url
    if url.lower().startswith("amqps:"):  # else a certificate for any host would do, if this machine trusts it
        app.conf.broker_use_ssl = {"server_hostname": urlsplit(url).hostname}
    app.conf.update(
        accept_content=["json"],
        broker_channel_error_retry=True,  # else a worker ends, and continues its pages while others have them, too
        broker_connection_max_retries=None,  # a worker waits for its broker, however long
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=CONNECT_TIMEOUT,
        broker_heartbeat=HEARTBEAT,
        broker_heartbeat_checkrate=HEARTBEAT,  # looks once a second, so that our heartbeats are never late
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_acks_on_failure_or_timeout=False,  # else a failed task would never reach the dead-letter exchange
        task_create_missing_queues=False,
        task_ignore_result=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # threads cannot be cancelled: see `PageExecutor`
        worker_detect_quorum_queues=False,
        worker_enable_prefetch_count_reduction=False,  # pool threads would restore it, over the consumer's connection
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
    )
    return app


def connection(app: Celery, *, heartbeat: int = 0) -> Connection:
    """Returns a connection that is not open yet. `heartbeat`: in seconds; 0: none."""
    return app.connection_for_write(heartbeat=heartbeat, connect_timeout=CONNECT_TIMEOUT)


@contextmanager
def bounded(connection: Connection) -> Iterator[None]:
    """Breaks the connection where the broker does not answer in time: the client library would wait for ever."""
    timer = threading.Timer(ANSWERS_WITHIN, hang_up, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


BROKEN: tuple[type[Exception], ...] = (AMQPError, KombuError, OSError)
"""What an operation raises on a connection that is broken, or that cannot be made."""


@contextmanager
def in_words() -> Iterator[None]:
    """Raises UnreachableError for a broker that cannot be reached, and ConfigError for one that refuses the login.

    Neither names its address, which holds a password.
    """
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
    """Returns how many messages wait in a queue, and how many consumers it has.

    Raises amqp's NotFound where there is no such queue; then the channel is closed.
    """
    _, messages, consumers = channel.queue_declare(queue=queue, passive=True)
    return int(messages), int(consumers)


class BrokerStatus(Struct, frozen=True):
    """Counts queues and messages at the broker.

    Attributes:
        queues: of messages to workers; with_worker: of these, those that a worker takes messages from.
        waiting: messages that no worker took yet; outcomes: replies that no coordinator took yet.
        dead: messages that were rejected, and wait for their coordinator.
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
    """Counts what is at the broker, and makes nothing there.

    `db_path`: the state file whose replies and dead letters are counted; it need not exist. Raises UnreachableError,
    ConfigError or StateError.
    """
    state_id = ""
    if state_exists(db_path):
        with open_state(db_path, create=False) as state:
            state_id = state.state_id
    names = list(clients) if state_id else []
    with in_words(), connection(application(address)) as opened:
        opened.connect()
        with bounded(opened):
            orders = [_depth(opened, orders_queue(shard)) for shard in range(SHARDS)]
            outcomes = sum(_depth(opened, outcomes_queue(state_id, name))[0] for name in names)
            dead = sum(_depth(opened, dead_queue(state_id, name))[0] for name in names)
    with_worker = sum(consumers > 0 for _, consumers in orders)
    return BrokerStatus(SHARDS, with_worker, sum(messages for messages, _ in orders), outcomes, dead)


def _depth(connection: Connection, queue: Queue) -> tuple[int, int]:
    """Returns what `depth` does, and twice 0 where there is no such queue."""
    try:
        return depth(connection.default_channel, queue.name)
    except NotFound:
        return 0, 0


def _tail(state_id: str, client: str) -> str:
    """Returns the end of a routing key; the client's name in hexadecimal, for a dot in it would part the key."""
    return f"{state_id}.{client.encode().hex()}"
