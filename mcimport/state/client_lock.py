"""Lets one process at a time work on a client, by a lock of the operating system, which ends with its process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from mcimport.errors import BusyError
from mcimport.state.locking import file_lock, hold_lock, lock_error

LOCK_TIMEOUT = 0.2  # seconds: `lock_holder` takes the lock for a moment, too

_held: set[Path] = set()  # by this process


def held_by_this_process(db_path: Path, client: str) -> bool:
    """Returns whether this process holds the lock of the client."""
    return _lock_path(db_path, client) in _held


@contextmanager
def lock_client(db_path: Path, client: str) -> Iterator[None]:
    """Holds the client's lock, a file beside the state file.

    Raises BusyError, which names the process that holds it and since when; StateError where there can be no lock at
    all, which does not pass when another process ends.
    """
    path = _lock_path(db_path, client)

    def busy() -> BusyError:
        return BusyError(f"{client}: another mcimport is already running for this client{_holder_text(path)}")

    with hold_lock(path, LOCK_TIMEOUT, busy):
        # Another process that finds the lock taken reads this text; the lock itself does not depend on it.
        with suppress(OSError):
            began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            path.write_text(f"process {os.getpid()}, since {began}\n", encoding="ascii")
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)


def lock_holder(db_path: Path, client: str) -> str | None:
    """Returns the process that works on the client and since when, in brackets; None while there is none.

    "" where a process holds the lock and its text cannot be read. Looking takes the lock for a moment; `lock_client`
    waits that long. Raises StateError where there can be no lock.
    """
    path = _lock_path(db_path, client)
    if path in _held:
        return _holder_text(path)
    try:
        if not path.exists():
            return None
        with file_lock(path, 0):
            return None
    except Timeout:
        return _holder_text(path)
    except OSError as error:
        raise lock_error(path, error) from None


def _lock_path(db_path: Path, client: str) -> Path:
    file = db_path.resolve()  # one state file has one lock, whatever path leads to it
    return file.with_name(f"{file.name}.{client}.lock")


def _holder_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({text})" if text else ""
