"""Stops a command on SIGTERM or Ctrl-C: first after the pages in flight, then at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from mcimport.services.connections import ConnectionPool
from mcimport.services.http import shutdown
from mcimport.services.http.shutdown import StopSignal


@contextmanager
def handle_signals(stop: StopSignal, accounts: ConnectionPool) -> Iterator[list[int]]:
    """Requests a stop on the first SIGTERM or Ctrl-C, and aborts on the second; yields the signals that came, in order.

    A handler runs in the middle of whatever the main thread does, which may hold a lock. So it takes no lock itself,
    but starts a thread that does. Where no thread can be started, the process ends as if it was killed.
    """
    caught: list[int] = []
    is_over = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        react = stop.abort if caught else stop.request
        caught.append(number)
        try:
            threading.Thread(target=react, daemon=True).start()
        except RuntimeError:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def watch() -> None:
        """Gives pages in flight their time after a request to stop, then closes every connection that still waits."""
        stop.requested.wait()
        if not is_over.is_set() and not stop.aborted.wait(shutdown.LEAVE_WITHIN):
            stop.abort()
        if not is_over.is_set():
            accounts.abort()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    with suppress(RuntimeError):  # no thread can be started: pages in flight then take as long as they take
        threading.Thread(target=watch, name="leaving", daemon=True).start()
    try:
        yield caught
    finally:
        is_over.set()
        stop.requested.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_at_once(code: int) -> None:
    """Ends the process without waiting for threads that hang in a dead connection; all results are recorded."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
