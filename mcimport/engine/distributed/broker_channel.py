"""A coordinator's connection to the broker, for one client: sends messages, and receives replies and dead letters."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from celery import Celery
from kombu import Consumer
from msgspec import Struct
from msgspec.structs import replace

from mcimport.config import Client
from mcimport.engine.distributed import broker
from mcimport.engine.distributed.messages import Failed, Message, Processed, Refused, Reply
from mcimport.engine.distributed.seal import SealError, open_message, open_reply, reason_words, seal, sealed_of
from mcimport.report.format import escape

PREFETCH = 50  # messages that the broker delivers ahead
LONGEST_NAME = 100  # characters of a worker's name
MESSAGES_LIVE = 1_500.0  # seconds; then the broker returns a message that no worker has taken


class Received(Struct, frozen=True):
    """Holds what came from the broker, opened.

    Neither `unopened` nor `is_expired` is sealed: a process that can write to the broker may have sent them, with a
    copy of a message that a worker is processing.

    Attributes:
        message: a reply, or a message to a worker that comes back.
        done: acknowledges it to the broker, once it is recorded.
        unopened: which worker could not open a message that comes back, and why; empty where the broker only says that
            it was rejected.
        is_expired: the broker says that no worker took it in time.
    """

    message: Reply | Message
    done: Callable[[], None]
    unopened: str = ""
    is_expired: bool = False


class BrokerChannel:
    """Sends and receives. Belongs to one thread.

    What was received and not yet `done` is received again after `open`. What is not sealed with the client's keys is
    never received: `warn` takes words about it instead.
    """

    def __init__(self, app: Celery, shard: int, state_id: str, client: Client, warn: Callable[[str], None]) -> None:
        self._app = app
        self._client = client
        self._warn = warn
        self._key = broker.routing_key(shard, state_id, client.name)
        self._orders = broker.orders_queue(shard)
        self._outcomes = broker.outcomes_queue(state_id, client.name)
        self._dead = broker.dead_queue(state_id, client.name)
        self._received: deque[Received] = deque()
        self._connection: Any = None
        self.reply_to = self._outcomes.name
        self.queue = self._orders.name

    def open(self) -> None:
        """Connects, or connects anew. Raises UnreachableError and ConfigError."""
        self.close()
        with broker.in_words():
            self._connection = broker.connection(self._app, heartbeat=broker.HEARTBEAT)
            self._connection.connect()
            with broker.bounded(self._connection):
                channel, received = self._connection.default_channel, [self._outcomes, self._dead]
                for queue in (self._orders, *received):
                    queue(channel).declare()
                self._producer = self._app.amqp.Producer(channel)
                Consumer(channel, received, on_message=self._receive, prefetch_count=PREFETCH).consume()
            self._beaten = time.monotonic()

    def close(self) -> None:
        self._received.clear()
        if self._connection is not None:
            with suppress(*broker.BROKEN):
                self._connection.collect(1.0)  # without waiting for the broker's last answer
            self._connection = None

    def send(self, message: Message) -> None:
        """Returns when the broker has the message. Raises UnreachableError: it may have it then, too."""
        with broker.in_words(), broker.bounded(self._connection):
            self._app.send_task(
                broker.TASK,
                args=(seal(self._client, message).decode(),),
                task_id=message.ref.id,
                producer=self._producer,
                exchange=broker.ORDERS.name,
                routing_key=self._key,
                retry=False,
                delivery_mode=2,
                expiration=MESSAGES_LIVE,
                ignore_result=True,
            )

    def receive(self, seconds: float) -> Received | None:
        """Returns the next one; None where none comes in so many seconds. Raises UnreachableError."""
        if not self._received:
            with broker.in_words():
                if time.monotonic() - self._beaten > broker.HEARTBEAT / 4:
                    self._beaten = time.monotonic()
                    self._connection.heartbeat_check()
                with suppress(TimeoutError):
                    self._connection.drain_events(timeout=seconds)
        return self._received.popleft() if self._received else None

    def workers(self) -> int:
        """Returns how many workers take messages from the queue, or stand by for it. Raises UnreachableError."""
        with broker.in_words(), broker.bounded(self._connection):
            return broker.depth(self._connection.default_channel, self.queue)[1]

    def _receive(self, message: Any) -> None:
        try:
            received = _received(self._client, message)
        except SealError:
            name = self._client.name
            self._warn(f"a message from the broker was dropped: it is not signed with the keys of client {name}")
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError):
            pass  # of another version, or not from mcimport: its page stays pending
        else:
            self._received.append(received)
            return
        message.ack()


def _received(client: Client, message: Any) -> Received:
    """Opens a reply, or a message that comes back as Celery sent it: arguments, named arguments, and more."""

    def done() -> None:
        with broker.in_words():
            message.ack()

    headers = message.headers or {}
    if headers.get("task") != broker.TASK:
        return Received(_escaped(open_reply(client, sealed_of(message.body))), done)
    returned = open_message(client, sealed_of(json.loads(message.body)[0][0]))
    is_expired = headers.get("x-first-death-reason") == "expired"
    return Received(returned, done, _unopened(client, headers.get(broker.UNOPENED)), is_expired)


def _unopened(client: Client, why: Any) -> str:
    """Returns why a message was not opened: of the header, only a name and one of mcimport's own reasons are used."""
    words = reason_words(str(why.get("reason")), client.name) if isinstance(why, dict) else ""
    return f"worker {escape(str(why.get('worker')))[:LONGEST_NAME]} {words}" if words else ""


def _escaped(reply: Reply) -> Reply:
    """Returns the reply with texts that can be shown: they may quote other parties."""
    match reply:
        case Processed(outcome=outcome):
            letters = tuple(replace(letter, reason=escape(letter.reason)) for letter in outcome.letters)
            outcome = replace(outcome, letters=letters, warnings=tuple(map(escape, outcome.warnings)))
            return msgspec.structs.replace(reply, outcome=outcome, warnings=tuple(map(escape, reply.warnings)))
        case Refused() | Failed():
            return msgspec.structs.replace(reply, words=escape(reply.words), hint=escape(reply.hint))
        case _:
            return reply
