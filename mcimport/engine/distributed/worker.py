"""A Celery worker with threads: it takes messages from the broker, has them executed, and sends back the replies.

A message is acknowledged when the broker has its reply. One that the broker redelivers, because another worker did not
acknowledge it, is not tried again here, for that worker may have died of it: the reply is `WorkerLost`.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, ClassVar

import msgspec
from celery import Celery, bootsteps, signals
from celery.app.trace import setup_worker_optimizations
from celery.exceptions import Reject
from kombu import Queue
from kombu.pools import producers, set_limit
from pydantic import SecretStr

from mcimport.config import Client
from mcimport.convert import load_libraries
from mcimport.engine.distributed import broker
from mcimport.engine.distributed.celery_patches import end_worker, frames_received, hang_up, keep_consumers, tag_tasks
from mcimport.engine.distributed.executor import PageExecutor
from mcimport.engine.distributed.messages import Begun, Failed, Message, PageMessage, Refused, Reply, Unfenced
from mcimport.engine.distributed.seal import SealError, reason_words, sealed_of
from mcimport.errors import UnreachableError
from mcimport.report.format import duration, escape, pluralize
from mcimport.services.http import shutdown
from mcimport.services.http.request_log import EventSink
from mcimport.services.http.shutdown import StopSignal

RETRIES = {"max_retries": 8, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 5.0}  # some 20 seconds
LOOK_UP = 0.1  # seconds between two looks at whether the pages under way have ended
CONFIRMED_WITHIN = 30.0  # seconds, for one reply
LAST_WORDS = 5.0  # seconds in which threads may end after all work has ended; then those that hang are abandoned
LONGEST_NAME = 64  # characters of a client's name that are logged
PREFETCH = 2  # messages for each thread, counting the one that it processes
SHARE_WITHIN = 4.0  # seconds in which a worker takes the queues without one; those that start together share them so
STAND_BY = 0.05  # seconds between two queues that it only stands by for, afterwards
LIBRARIES = ("celery", "kombu", "amqp", "vine")  # whose warnings go to this worker's log

Log = Callable[[str, str], None]
"""Takes a level, "info", "warning" or "error", and a line."""


def run_worker(
    clients: Mapping[str, Client], address: SecretStr, concurrency: int, log: Log, tell: EventSink | None = None
) -> int:
    """Works until SIGTERM or Ctrl-C, then until the pages under way have ended (25 s at most); returns the exit code.

    It waits for a broker that cannot be reached. Raises ConfigError where the broker refuses the login, and
    MachineError, before any message is taken, where a library cannot be loaded: a failed import is not tried again in
    one process.
    """
    load_libraries()
    name, stop, log = f"{socket.gethostname()}.{os.getpid()}", StopSignal(), _escaping(log)
    _listen_to_libraries(stop, log)
    app = broker.application(address)
    with suppress(UnreachableError), broker.in_words(), broker.connection(app) as connection:
        connection.connect()
    app.conf.worker_prefetch_multiplier = PREFETCH
    app.conf.task_queues = [Queue(f"mcimport.worker.{name}", auto_delete=True, expires=60)]  # Celery wants one
    set_limit(concurrency + 1)
    executor = PageExecutor(name, clients, stop, tell)
    executor.start()
    _register(app, executor, log)
    app.steps["consumer"].add(subscriptions(executor, log))
    tag_tasks("term", lambda: executor.term.of_connection)
    # Celery's own handlers of signals are not used: they would begin by cancelling consumers (see `keep_consumers`).
    # Beside them, its own command does only this.
    setup_worker_optimizations(app, name)
    worker = app.WorkController(
        hostname=name,
        pool_cls="threads",
        concurrency=concurrency,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
    )
    over = threading.Event()
    _leave_when_asked(stop, executor, over, log)
    log("info", f"worker {name} starts: up to {pluralize(concurrency, 'page')} at a time")
    worker.start()
    over.set()
    executor.close()
    return int(worker.exitcode or 0)


def _escaping(log: Log) -> Log:
    """Returns a log that escapes lines: the names in them may come from anyone who can write to the broker."""
    return lambda level, line: log(level, escape(line))


def _register(app: Celery, executor: PageExecutor, log: Log) -> None:
    """Registers the one task of the application, which takes a sealed message and sends its reply."""
    replies = broker.connection(app)  # without heartbeats: no thread would send them between two replies

    def send(message: Message, reply: Reply) -> None:
        _publish(replies, executor.sealed(message, reply), routing_key=message.reply_to)

    def page(task: Any, text: str) -> None:
        if (message := _opened(replies, executor, task, text, log)) is not None:
            reply = _executed(executor, message, task, lambda: send(message, Begun(message.ref)), log)
            if reply is not None:
                send(message, reply)

    app.task(name=broker.TASK, bind=True, shared=False)(page)


def _opened(replies: Any, executor: PageExecutor, task: Any, text: str, log: Log) -> Message | None:
    """Opens a message; sends one with wrong seals back, and returns None. Raises Reject for one of another version."""
    try:
        sealed = sealed_of(text)
        return executor.opened(sealed)
    except (msgspec.MsgspecError, TypeError, ValueError):
        log("error", "a message was rejected: this version of mcimport does not understand it")
        raise Reject("no order", requeue=False) from None
    except SealError as error:
        words = reason_words(error.reason, sealed.client[:LONGEST_NAME])
        log("error", f"a message was dropped: worker {executor.name} {words}")
        _return(replies, task, text, {"worker": executor.name, "reason": error.reason})
        return None


def _executed(executor: PageExecutor, message: Message, task: Any, begun: Callable[[], None], log: Log) -> Reply | None:
    """Returns the reply to a message, None for a repeated one: it is dropped."""
    if isinstance(message, PageMessage):
        if (task.request.delivery_info or {}).get("redelivered"):
            return executor.worker_lost(message)
        if not executor.has_fenced(message):
            return Unfenced(message.ref)
        if executor.is_repeated(message):
            words = f"worker {executor.name} has already had it, for client {message.client}"
            log("error", f"a message was dropped: {words}")
            return None
    reply = executor.execute(message, task.request.term, begun)
    if isinstance(reply, Refused | Failed):
        kind = "refused" if isinstance(reply, Refused) else "failed"
        log("warning", f"a page of client {message.client} was answered with {kind}: {reply.words}")
    return reply


def _return(replies: Any, task: Any, text: str, why: dict[str, str]) -> None:
    """Sends an unopened message, with the reason, to its coordinator's dead-letter queue, as the broker does itself."""
    _publish(
        replies,
        json.dumps([[text], {}, {}]),
        exchange=broker.DEAD,
        declare=[broker.DEAD],
        routing_key=task.request.delivery_info["routing_key"],
        headers={"task": broker.TASK, broker.UNOPENED: why},
    )


def _publish(replies: Any, body: bytes | str, **options: Any) -> None:
    """Publishes and waits for the broker's confirmation. Raises Reject, with a new delivery, where that fails."""
    try:
        with producers[replies].acquire(block=True) as producer:
            producer.publish(
                body,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                confirm_timeout=CONFIRMED_WITHIN,
                retry=True,
                retry_policy=RETRIES,
                **options,
            )
    except broker.BROKEN as error:
        raise Reject(type(error).__name__, requeue=True) from None


def _leave_when_asked(stop: StopSignal, executor: PageExecutor, over: threading.Event, log: Log) -> None:
    """Handles SIGTERM and Ctrl-C: pages under way may end after the first, not after the second.

    The handler leaves that to a thread. `over` is set when Celery's worker has ended.
    """

    def leave() -> None:
        log("info", f"stopping: pages under way have up to {duration(shutdown.LEAVE_WITHIN)} to finish")
        stop.request()
        deadline = time.monotonic() + shutdown.LEAVE_WITHIN
        while executor.is_busy and time.monotonic() < deadline and not stop.aborted.wait(LOOK_UP):
            pass
        stop.abort()
        executor.revoke()
        end_worker(0)
        if not over.wait(LAST_WORDS):
            sys.stderr.flush()
            os._exit(0)  # a thread hangs in its connection to the broker, which gives its message to another worker

    def ask(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=stop.abort if stop.requested.is_set() else leave, name="leaving", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


def _listen_to_libraries(stop: StopSignal, log: Log) -> None:
    """Sends the libraries' warnings to this worker's log: first lines, without tracebacks, and none while it stops."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not stop.requested.is_set():
                log("warning", record.getMessage().partition("\n")[0])

    signals.setup_logging.connect(lambda **_: None, weak=False)  # or Celery would set up its own
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(Handler())


def subscriptions(executor: PageExecutor, log: Log) -> type[bootsteps.StartStopStep]:
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
