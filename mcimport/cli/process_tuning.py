"""Tunes glibc's memory, the garbage collector and thread switching for a process in which many threads work."""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from contextlib import suppress

from mcimport.errors.machine import raise_file_limit

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
