"""SIGTERM and Ctrl-C while a command works."""

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
    """The first SIGTERM or Ctrl-C asks to leave, the second leaves now; yields the first that came.

    A handler runs in the middle of whatever the main thread does, perhaps with a lock in its hand: so it takes none
    itself, but leaves the work to a thread. Where this machine gives none, the process ends as if it was killed.
    """
    caught: list[int] = []
    is_over = threading.Event()

    def ask(number: int, _: FrameType | None) -> None:
        leave = stop.abort if caught else stop.request
        caught.append(number)
        try:
            threading.Thread(target=leave, daemon=True).start()
        except RuntimeError:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def watch() -> None:
        """Pages in flight have their time; then whatever hangs or waits is woken, wherever it is."""
        stop.requested.wait()
        if not is_over.is_set() and not stop.aborted.wait(shutdown.LEAVE_WITHIN):
            stop.abort()
        if not is_over.is_set():
            accounts.abort()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    with suppress(RuntimeError):  # no thread is to be had: whoever is asked to leave takes as long as it takes
        threading.Thread(target=watch, name="leaving", daemon=True).start()
    try:
        yield caught
    finally:
        is_over.set()
        stop.requested.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_at_once(code: int) -> None:
    """Everything is on record; threads that hang in a dead connection must not keep the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
