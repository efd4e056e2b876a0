"""Prepares this process for many threads, stops its work on SIGTERM or Ctrl-C, and ends it where threads hang."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from mcimport.cli.output_file import remove_unfinished
from mcimport.errors.machine import raise_file_limit
from mcimport.services.connections import ConnectionPool
from mcimport.services.http import shutdown
from mcimport.services.http.shutdown import StopSignal

_M_ARENA_MAX = -8  # glibc's malloc.h
# Objects made and not yet freed before the collector looks for cycles; a page is some 10,000, and has none.
GC_THRESHOLD = 5_000
# Seconds. At Python's own 0.005, each time a worker has only to send, it waits that long for one that converts.
SWITCH_INTERVAL = 0.001


def tune_process() -> None:
    """Tunes this process; to be called before its first thread starts."""
    raise_file_limit()
    _limit_arenas()
    _collect_garbage_rarely()
    sys.setswitchinterval(SWITCH_INTERVAL)


def _limit_arenas() -> None:
    """Limits glibc to two memory arenas; does nothing where the C library is another.

    By default each thread has an arena of its own, which never shrinks below what it held at most. Pages come and go in
    every thread, so ten workers would keep 15 MB that none of them uses. Two are enough for threads that run in turns.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@functools.cache
def _collect_garbage_rarely() -> None:
    """Exempts modules and settings from garbage collection, for they stay, and makes collections rarer.

    Only once in a process, because garbage that exists at that moment stays, too.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 5, 10)


@contextmanager
def handle_signals(
    stop: StopSignal, accounts: ConnectionPool, caught: list[int], *others: signal.Signals
) -> Iterator[None]:
    """Requests a stop on the first SIGTERM or Ctrl-C, and aborts on the second; adds them to `caught`, in order.

    `others`: signals that do the same, unless this process was started to ignore them, as by nohup.

    A handler runs in the middle of whatever the main thread does, which may hold a lock. So it takes no lock itself,
    but starts a thread that does. Where no thread can be started, the process ends as if it was killed.
    """
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

    numbers = [signal.SIGINT, signal.SIGTERM, *(one for one in others if signal.getsignal(one) != signal.SIG_IGN)]
    before = {number: signal.signal(number, handle) for number in numbers}
    with suppress(RuntimeError):  # no thread can be started: pages in flight then take as long as they take
        threading.Thread(target=watch, name="leaving", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()
        stop.requested.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_at_once(code: int) -> None:
    """Ends the process without waiting for threads that hang in a dead connection; all results are recorded."""
    with suppress(OSError):
        remove_unfinished()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
