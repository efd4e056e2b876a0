"""One process at a time works on a client: a lock of the operating system's, which dies with its holder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from mcimport.errors import BusyError
from mcimport.state.locking import cannot_lock, lock_on

PATIENCE = 0.2  # seconds: somebody may only look whether it is free

_held: set[Path] = set()  # by this process


def held_by_this_process(db_path: Path, client: str) -> bool:
    """Whether it is this process that works on the client."""
    return _lock_path(db_path, client) in _held


@contextmanager
def lock_client(db_path: Path, client: str) -> Iterator[None]:
    """Holds the client's lock, a file beside the state file; raises BusyError, naming who holds it and since when.

    Raises StateError where it cannot be had at all: that is nobody's work, and passes with nobody's end.
    """
    path = _lock_path(db_path, client)
    lock = lock_on(path, PATIENCE)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BusyError(f"{client}: another mcimport is already running for this client{_holder(path)}") from None
    except OSError as error:
        raise cannot_lock(path, error) from None
    try:
        # Who holds the lock may be read by whoever finds it taken; the lock itself does not depend on the text.
        with contextlib.suppress(OSError):
            began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            path.write_text(f"process {os.getpid()}, since {began}\n", encoding="ascii")
        _held.add(path)
        yield
    finally:
        _held.discard(path)
        lock.release()


def lock_holder(db_path: Path, client: str) -> str | None:
    """None while nobody works on the client; else who does and since when, in brackets, or "" where that is not known.

    A look takes the lock for a moment; `lock_client` waits that long. Raises StateError where it cannot be taken.
    """
    path = _lock_path(db_path, client)
    if path in _held:
        return _holder(path)
    try:
        if not path.exists():
            return None
        with lock_on(path, 0):
            return None
    except Timeout:
        return _holder(path)
    except OSError as error:
        raise cannot_lock(path, error) from None


def _lock_path(db_path: Path, client: str) -> Path:
    file = db_path.resolve()  # one file is one lock, however it is called
    return file.with_name(f"{file.name}.{client}.lock")


def _holder(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({text})" if text else ""
