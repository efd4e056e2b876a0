"""A coordinator's line to the broker, for one client: orders out, outcomes and dead letters in."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from celery import Celery
from kombu import Consumer

from mcimport.engine import broker
from mcimport.engine.orders import NOBODY, Order, Reply, encoded, order_of, reply_of

AHEAD = 50  # messages that may lie here unread
ORDERS_LIVE = 1_500.0  # seconds; then the broker gives one back that no worker has taken


@dataclass(frozen=True, slots=True)
class Heard:
    """`said`: a reply, or an order that was rejected. `done`: it is on record, and need not be said again."""

    said: Reply | Order
    done: Callable[[], None]


class Line:
    """Belongs to one thread. What is heard and not yet `done` is heard again after `open`."""

    def __init__(self, app: Celery, shard: int, memory: str, client: str) -> None:
        self._app = app
        self._key = broker.routing_key(shard, memory, client)
        self._orders = broker.orders_queue(shard)
        self._outcomes = broker.outcomes_queue(memory, client)
        self._dead = broker.dead_queue(memory, client)
        self._heard: deque[Heard] = deque()
        self._connection: Any = None
        self.reply_to = self._outcomes.name
        self.queue = self._orders.name

    def open(self) -> None:
        """Anew, too. Raises UnreachableError."""
        self.close()
        with broker.in_words():
            self._connection = broker.connection(self._app, heartbeat=broker.HEARTBEAT)
            self._connection.connect()
            with broker.bounded(self._connection):
                self._begin()
            self._beaten = time.monotonic()

    def _begin(self) -> None:
        channel = self._connection.default_channel
        for queue in (self._orders, self._outcomes, self._dead):
            queue(channel).declare()
        self._producer = self._app.amqp.Producer(channel)
        consumer = Consumer(channel, [self._outcomes, self._dead], on_message=self._hear, prefetch_count=AHEAD)
        consumer.consume()

    def close(self) -> None:
        self._heard.clear()
        if self._connection is not None:
            with suppress(*broker.BROKEN):
                self._connection.collect(1.0)  # without waiting for a last word
            self._connection = None

    def send(self, order: Order) -> None:
        """Returns when the broker has it. Raises UnreachableError: perhaps it has."""
        with broker.in_words(), broker.bounded(self._connection):
            self._app.send_task(
                broker.TASK,
                args=(encoded(order).decode(),),
                task_id=order.id,
                producer=self._producer,
                exchange=broker.ORDERS.name,
                routing_key=self._key,
                retry=False,
                delivery_mode=2,
                expiration=ORDERS_LIVE,
                ignore_result=True,
            )

    def hear(self, seconds: float) -> Heard | None:
        """The next that comes, in so many seconds at most. Raises UnreachableError."""
        if not self._heard:
            with broker.in_words():
                self._beat()
                with suppress(TimeoutError):
                    self._connection.drain_events(timeout=seconds)
        return self._heard.popleft() if self._heard else None

    def workers(self) -> int:
        """How many take orders from the queue, or stand by for it. Raises UnreachableError."""
        with broker.in_words(), broker.bounded(self._connection):
            return broker.depth(self._connection.default_channel, self.queue)[1]

    def _beat(self) -> None:
        if time.monotonic() - self._beaten > broker.HEARTBEAT / 4:
            self._beaten = time.monotonic()
            self._connection.heartbeat_check()

    def _hear(self, message: Any) -> None:
        with suppress(msgspec.MsgspecError, ValueError, LookupError, TypeError):
            self._heard.append(Heard(_said(message), lambda: _acknowledge(message)))
            return
        message.ack()  # from another version, or not from us: what it was about stays pending


def _acknowledge(message: Any) -> None:
    with broker.in_words():
        message.ack()


def _said(message: Any) -> Reply | Order:
    """An order that was rejected comes as Celery sent it: arguments, named arguments, and more.

    One that nobody took in time comes by the same exchange, and is as good as given back.
    """
    headers = message.headers or {}
    if headers.get("task") != broker.TASK:
        return reply_of(message.body)
    order = order_of(json.loads(message.body)[0][0])
    if headers.get("x-first-death-reason") != "expired":
        return order
    return Reply(
        kind="returned", id=order.id, epoch=order.epoch, run_id=order.run_id, worker=NOBODY, window=order.window
    )
