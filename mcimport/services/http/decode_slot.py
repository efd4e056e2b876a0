"""The decode slot: one page at a time is decoded and converted in the whole process, for each takes some megabytes.

The function that processes a page holds the slot from its beginning to its end. Whatever waits in the meantime (for an
answer, a permit, another try, another thread, a lock) gives it back for as long as it waits, so that a page never waits
for a service with the slot in hand. It costs no time: one thread at a time computes anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_slot = threading.Lock()


class _Thread(threading.local):
    is_holder = False


_thread = _Thread()


@contextmanager
def held() -> Iterator[None]:
    """Holds the slot, and waits for it before. In a thread that holds it already, this changes nothing."""
    if _thread.is_holder:
        yield
        return
    _acquire()
    try:
        yield
    finally:
        _release()


@contextmanager
def released() -> Iterator[None]:
    """Gives the slot back while the block waits, and takes it again afterwards; in a thread without it, does nothing.

    Locks that the block takes are taken after the slot was given back and left before it is taken again: so no thread
    waits for the slot with a lock that its holder wants.
    """
    if not _thread.is_holder:
        yield
        return
    _release()
    try:
        yield
    finally:
        _acquire()


def _acquire() -> None:
    _slot.acquire()
    _thread.is_holder = True


def _release() -> None:
    if _thread.is_holder:  # not after Ctrl-C in the middle of `released`
        _thread.is_holder = False
        _slot.release()
