"""What reaches into Celery, Kombu and amqp beyond what they document, in one place.

Tried with Celery 5.7.0, Kombu 5.7.0 and amqp 5.4.2: with other versions, run `make test-engine`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import signals
from celery.worker import state
from kombu import Connection


def hang_up(connection: Connection) -> None:
    """Breaks a connection, from any thread: the thread that waits for the broker there finds it broken.

    Nothing is written to it: it belongs to that other thread.
    """
    amqp = getattr(connection, "_connection", None)  # the public attributes would connect anew
    sock = getattr(getattr(amqp, "_transport", None), "sock", None)
    if sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own shutdown would break the reader's state


def frames_received(connection: Connection | None) -> int:
    """Returns a count of what came over a connection, heartbeats too, from any thread; -1 where there is none."""
    return int(getattr(getattr(connection, "_connection", None), "bytes_recv", -1))


def keep_consumers(consumer: Any) -> None:
    """Makes a consumer of Celery's end without cancelling its queues' consumers: they end with the connection.

    Where one is cancelled, RabbitMQ gives a busy classic queue to no other worker, which would wait for ever.
    """
    if consumer.task_consumer is not None:
        consumer.task_consumer.cancel = consumer.task_consumer.close = lambda: None


def end_worker(exit_code: int) -> None:
    """Ends Celery's loop, which looks at this variable, as its own handlers of signals do."""
    setattr(state, "should_stop", exit_code)  # noqa: B010 - its type says None


def tag_tasks(key: str, value: Callable[[], int]) -> None:
    """Stores in each task, as it comes in, what `value` returns at that moment: `task.request` has it as `key`."""

    def tag(request: Any, **_: Any) -> None:
        request.request_dict[key] = value()

    signals.task_received.connect(tag, weak=False)
