"""The decode slot: one page at a time is decoded and converted in the whole process, for each takes some megabytes.

The function that processes a page holds the slot until the page is converted. Whatever waits in the meantime (for an
answer, a permit, another try, another thread, a lock) gives it back for as long as it waits, so that a page never waits
for a service with the slot in hand. It costs no time: one thread at a time computes anyway. What is left to do with a
converted page (its answers, a few members) does not stand in line behind other pages: its records would fill memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class _FairLock:
    """A lock that threads get in the order in which they asked: with Python's own, one may wait for seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_held = False

    def acquire(self) -> None:
        with self._lock:
            if not self._is_held:
                self._is_held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()  # released by whoever hands the lock over
        except BaseException:  # Ctrl-C
            self._leave(turn)
            raise

    def release(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False

    def _leave(self, turn: threading.Lock) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.release()  # it was handed over meanwhile


_slot = _FairLock()


class _Thread(threading.local):
    is_holder = False
    is_next = False  # it takes the slot after the next wait


_thread = _Thread()


@contextmanager
def held(*, after_wait: bool = False) -> Iterator[None]:
    """Holds the slot, and waits for it before. In a thread that holds it already, this changes nothing.

    `after_wait`: only from the end of the first wait on, as for a page that has to be requested first.
    """
    if _thread.is_holder:
        yield
        return
    if after_wait:
        _thread.is_next = True
    else:
        _acquire()
    try:
        yield
    finally:
        _thread.is_next = False
        _release()


@contextmanager
def released() -> Iterator[None]:
    """Gives the slot back while the block waits, and takes it again afterwards; in a thread without it, does nothing.

    Locks that the block takes are taken after the slot was given back and left before it is taken again: so no thread
    waits for the slot with a lock that its holder wants.
    """
    if not (_thread.is_holder or _thread.is_next):
        yield
        return
    _thread.is_next = False
    _release()
    try:
        yield
    finally:
        _acquire()


def give_back() -> None:
    """Gives the slot back for good, because the page is converted; in a thread without it, does nothing."""
    _thread.is_next = False
    _release()


def _acquire() -> None:
    _slot.acquire()
    _thread.is_holder = True


def _release() -> None:
    if _thread.is_holder:  # not after Ctrl-C in the middle of `released`
        _thread.is_holder = False
        _slot.release()
