"""Which queues a worker takes messages from: those that have no worker, and then, standing by, all others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

from celery import bootsteps

from mcimport.engine.distributed import broker
from mcimport.engine.distributed.celery_patches import frames_received, hang_up, keep_consumers
from mcimport.engine.distributed.executor import PageExecutor

SHARE_WITHIN = 4.0  # seconds in which a worker takes the queues without one; those that start together share them so
STAND_BY = 0.05  # seconds between two queues that it only stands by for, afterwards


def subscriptions(executor: PageExecutor, log: Callable[[str, str], None]) -> type[bootsteps.StartStopStep]:
    """Returns the step for a worker: Celery makes an instance of it without arguments of ours."""
    attributes = {"__module__": __name__, "executor": executor, "log": staticmethod(log)}
    return type("Subscriptions", (QueueSubscriptions,), attributes)


class QueueSubscriptions(bootsteps.StartStopStep):
    """A step of Celery's consumer, which starts with each connection to the broker, and stops with it.

    It takes queues in a random order: the broker makes a queue's first consumer the active one, and does not balance.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)
    executor: ClassVar[PageExecutor]
    log: ClassVar[staticmethod[[str, str], None]]

    def start(self, consumer: Any) -> None:
        connection = consumer.connection
        self.executor.term.begin(lambda: hang_up(connection), lambda: frames_received(connection))
        shards = random.sample(range(broker.SHARDS), broker.SHARDS)
        self._left = iter([(shard, True) for shard in shards] + [(shard, False) for shard in shards])
        self._taken = 0
        self._subscribed: set[int] = set()
        self._channel = connection.channel()
        for queue in map(broker.orders_queue, shards):
            queue(self._channel).declare()
        self._next(consumer)

    def stop(self, consumer: Any) -> None:
        """Ends the pages under way: their messages are delivered again, to this worker or another."""
        self._left = iter(())
        keep_consumers(consumer)
        self.executor.revoke()

    def _next(self, consumer: Any) -> None:
        """Takes one more queue; where that fails, a new connection makes them all anew."""
        try:
            self._subscribe(consumer)
        except broker.BROKEN as error:
            self.log("warning", f"cannot take pages from the broker ({type(error).__name__}): reconnecting")
            hang_up(consumer.connection)

    def _subscribe(self, consumer: Any) -> None:
        for shard, is_first_round in self._left:
            if shard in self._subscribed:
                continue
            queue = broker.orders_queue(shard)
            if is_first_round and broker.depth(self._channel, queue.name)[1]:
                continue
            self._subscribed.add(shard)
            self._taken += is_first_round
            consumer.task_consumer.add_queue(queue)
            consumer.task_consumer.consume()
            pause = SHARE_WITHIN / broker.SHARDS if is_first_round else STAND_BY
            consumer.timer.call_after(pause, self._next, (consumer,))
            return
        if self._subscribed:
            self.log("info", f"takes pages from {self._taken} of {broker.SHARDS} queues, and stands by for the others")
