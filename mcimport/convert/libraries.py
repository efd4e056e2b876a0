"""The libraries of a conversion, each loaded when a member first needs it: most hours bring none who does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import TypeVar

from mcimport.errors import McimportError
from mcimport.errors.machine import as_ours

T = TypeVar("T")

_lock = Lock()


def loaded_once(load: Callable[[], T]) -> Callable[[], T]:
    """Returns what calls `load` once a process, in one thread at a time, and returns the result.

    It is to load a library whole, for a package may be upgraded while a run goes on. What failed raises MachineError
    and is not tried again: a library that was loaded in part may wait forever for a lock of its own.
    """

    @cache
    def result() -> T | McimportError:
        try:
            return load()
        except Exception as error:  # noqa: BLE001 - whatever a library raises, it cannot be used
            return as_ours(error)

    def library() -> T:
        with _lock:
            found = result()
        if isinstance(found, McimportError):
            raise copy.copy(found)  # the same one would keep what many threads held in its traceback
        return found

    return library
