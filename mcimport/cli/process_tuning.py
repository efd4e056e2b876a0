"""Settings of a process in which many threads work: glibc's memory, the garbage collector, the switching of threads."""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from contextlib import suppress

from mcimport.errors.machine import raise_file_limit

_M_ARENA_MAX = -8  # glibc's malloc.h
GARBAGE = 5_000  # objects made and not yet dropped before cycles are sought; a page is some 10,000, and has none
SWITCH = 0.001  # seconds; at Python's own 0.005 a worker that only sends waits so long for one that converts, each time


def tune_process() -> None:
    """What suits a process in which many threads work; before the first of them."""
    raise_file_limit()
    _share_memory()
    _tidy_rarely()
    sys.setswitchinterval(SWITCH)


def _share_memory() -> None:
    """Before the first thread: glibc gives each an arena of its own, which keeps what it was filled with at most.

    Pages come and go in every thread, so that ten workers keep 15 MB that nobody uses. Two arenas are enough for
    threads of which one runs at a time. Where the C library is another, there is nothing to tell it.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@functools.cache
def _tidy_rarely() -> None:
    """Modules and settings stay: the collector need not look through them again and again while pages come and go.

    Once a process, for what is garbage at that moment stays, too.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE, 5, 10)
