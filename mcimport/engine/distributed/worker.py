"""A Celery worker with threads: takes orders, has them carried out, and sends back what became of them.

An order is acknowledged when its reply is with the broker. One that was not sealed with our keys is dropped, and its
coordinator finds it, with the reason, among its dead letters. One that was delivered before, to a worker that did not
come back, is not tried again here, for it may be what that worker died of: it is sent back as lost.
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
from typing import Any

import msgspec
from celery import Celery, bootsteps, signals
from celery.app.trace import setup_worker_optimizations
from celery.exceptions import Reject
from celery.worker import state
from kombu import Queue
from kombu.pools import producers, set_limit
from pydantic import SecretStr

from mcimport.config import Client
from mcimport.convert import load_libraries
from mcimport.engine.distributed import broker
from mcimport.engine.distributed.executor import PageExecutor
from mcimport.engine.distributed.messages import Begun, Failed, Message, PageMessage, Refused, Reply, Unfenced
from mcimport.engine.distributed.seal import SealError, reason_words, sealed_of
from mcimport.errors import UnreachableError
from mcimport.report.format import duration, escape, pluralize
from mcimport.services.http import shutdown
from mcimport.services.http.request_log import EventSink
from mcimport.services.http.shutdown import StopSignal

SHARE_WITHIN = 4.0  # seconds in which a worker takes what nobody else has; those that start together share it so
RETRIES = {"max_retries": 8, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 5.0}  # some 20 seconds
STAND_BY = 0.05  # seconds between two queues that it only stands by for, afterwards
LOOK_UP = 0.1  # seconds between two looks at whether the pages in hand have ended
CONFIRMED_WITHIN = 30.0  # seconds, for one reply
LAST_WORDS = 5.0  # seconds in which threads may end once everything is over; those that hang are left behind
LONGEST_NAME = 64  # letters of a client's name that are told
SPARE = 2  # orders that lie ready for each thread, counting the one in its hand
QUIET = ("celery", "kombu", "amqp", "vine")  # libraries' loggers, told on through ours

Log = Callable[[str, str], None]
"""Takes a level, "info", "warning" or "error", and a line."""


def run_worker(
    clients: Mapping[str, Client], address: SecretStr, concurrency: int, log: Log, tell: EventSink | None = None
) -> int:
    """Works until SIGTERM or Ctrl-C, and then until the pages in hand have ended, for 25 s at most; the exit code.

    A broker that is away is waited for. Raises ConfigError where it does not let us in, and MachineError, before any
    order is taken, where a library cannot be loaded: that is not tried again in this process.
    """
    load_libraries()
    name, stop, log = f"{socket.gethostname()}.{os.getpid()}", StopSignal(), _escaping(log)
    _listen_to_libraries(stop, log)
    app = broker.application(address)
    with suppress(UnreachableError), broker.in_words(), broker.connection(app) as line:
        line.connect()
    app.conf.worker_prefetch_multiplier = SPARE
    app.conf.task_queues = [Queue(f"mcimport.worker.{name}", auto_delete=True, expires=60)]  # Celery wants one
    set_limit(concurrency + 1)
    executor = PageExecutor(name, clients, stop, tell)
    _register(app, executor, log)
    app.steps["consumer"].add(_subscriptions(executor, log))
    # Without Celery's own handlers of signals: it would begin by cancelling its consumers. See `Subscriptions.stop`.
    # What its own command does beside them is this.
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
    signals.task_received.connect(_noted_term(executor), weak=False)
    worker.start()
    over.set()
    executor.close()
    return int(worker.exitcode or 0)


def _escaping(log: Log) -> Log:
    """Names and errors may be somebody else's who can write to the broker."""
    return lambda level, line: log(level, escape(line))


def _noted_term(executor: PageExecutor) -> Callable[..., None]:
    """Each order carries the term of the connection that it came over."""

    def note(request: Any, **_: Any) -> None:
        request.request_dict["term"] = executor.term_of_line

    return note


def _register(app: Celery, executor: PageExecutor, log: Log) -> None:
    replies = broker.connection(app)  # without heartbeats: nobody would send them between two replies

    def page(task: Any, text: str) -> None:
        message = _opened(replies, executor, task, text, log)
        if message is not None:
            reply = _executed(executor, message, task, lambda: _begin(replies, executor, message), log)
            if reply is not None:
                _send(replies, message, executor.sealed(message, reply))

    app.task(name=broker.TASK, bind=True, shared=False)(page)
    app.finalize()


def _opened(replies: Any, executor: PageExecutor, task: Any, text: str, log: Log) -> Message | None:
    """None: it is dropped, and its coordinator can know. Raises Reject for what is no message of this version."""
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
    """None: it is dropped."""
    if isinstance(message, PageMessage):
        if _is_redelivered(task):
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


def _begin(replies: Any, executor: PageExecutor, message: Message) -> None:
    _send(replies, message, executor.sealed(message, Begun(message.ref)))


def _is_redelivered(task: Any) -> bool:
    return bool((task.request.delivery_info or {}).get("redelivered"))


def _send(replies: Any, message: Message, reply: bytes) -> None:
    """`reply`: sealed. Raises Reject, as `_publish`."""
    _publish(replies, reply, routing_key=message.reply_to)


def _return(replies: Any, task: Any, text: str, why: dict[str, str]) -> None:
    """To the dead letters of whoever sent it, unopened, as the broker sends there what is rejected: with the reason."""
    _publish(
        replies,
        json.dumps([[text], {}, {}]),
        exchange=broker.DEAD,
        declare=[broker.DEAD],
        routing_key=task.request.delivery_info["routing_key"],
        headers={"task": broker.TASK, broker.UNOPENED: why},
    )


def _publish(replies: Any, body: bytes | str, **options: Any) -> None:
    """Raises Reject, to be delivered anew, where the broker does not take it."""
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
    """The first SIGTERM or Ctrl-C lets pages in hand end, the second does not; a handler leaves that to a thread."""

    def leave() -> None:
        log("info", f"stopping: pages under way have up to {duration(shutdown.LEAVE_WITHIN)} to finish")
        stop.request()
        deadline = time.monotonic() + shutdown.LEAVE_WITHIN
        while executor.is_busy and time.monotonic() < deadline and not stop.aborted.wait(LOOK_UP):
            pass
        stop.abort()
        executor.revoke()
        setattr(state, "should_stop", 0)  # noqa: B010 - Celery's loop looks at it, and ends with that code; its type says None
        if not over.wait(LAST_WORDS):
            sys.stderr.flush()
            os._exit(0)  # a thread hangs in its connection to the broker: what it has is given to another

    def ask(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=stop.abort if stop.requested.is_set() else leave, name="leaving", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


def _subscriptions(  # noqa: C901 - a class that Celery makes, with what it needs around it
    executor: PageExecutor, log: Log
) -> type[bootsteps.StartStopStep]:
    """A step of Celery's consumer: it begins with each connection to the broker, and ends with it."""

    class Subscriptions(bootsteps.StartStopStep):
        """Takes queues that have no worker, in an order of its own, then stands by for all others.

        The broker makes the first that comes a queue's active one, and does not balance.
        """

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            line = consumer.connection
            executor.connected(lambda: broker.hang_up(line), lambda: broker.received(line))
            shards = random.sample(range(broker.SHARDS), broker.SHARDS)
            self._taken, self._rest = (
                0,
                iter([(shard, True) for shard in shards] + [(shard, False) for shard in shards]),
            )
            self._channel = consumer.connection.channel()
            self._subscribed: set[int] = set()
            for queue in map(broker.orders_queue, shards):
                queue(self._channel).declare()
            self._timer = consumer.timer
            self._next(consumer)

        def stop(self, consumer: Any) -> None:
            """Whatever is under way will be delivered again, to this worker or another.

            Consumers are not cancelled: the next worker of a busy classic queue would wait for ever. They end with the
            connection.
            """
            self._rest = iter(())
            if consumer.task_consumer is not None:
                consumer.task_consumer.cancel = consumer.task_consumer.close = lambda: None
            executor.revoke()

        def _next(self, consumer: Any) -> None:
            """A queue that is not there any more, say, ends the connection: the next one makes them all anew."""
            try:
                self._subscribe(consumer)
            except broker.BROKEN as error:
                log("warning", f"cannot take pages from the broker ({type(error).__name__}): reconnecting")
                broker.hang_up(consumer.connection)

        def _subscribe(self, consumer: Any) -> None:
            for shard, is_first_round in self._rest:
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
                self._timer.call_after(pause, self._next, (consumer,))
                return
            if self._subscribed:
                log("info", f"takes pages from {self._taken} of {broker.SHARDS} queues, and stands by for the others")

    return Subscriptions


def _listen_to_libraries(stop: StopSignal, log: Log) -> None:
    """Their first line alone: what they log beside it are tracebacks. Nothing of what they lose while we leave."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not stop.requested.is_set():
                log("warning", record.getMessage().partition("\n")[0])

    signals.setup_logging.connect(lambda **_: None, weak=False)  # or Celery would set up its own
    for name in QUIET:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(Handler())
