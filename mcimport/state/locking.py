"""Lets one process at a time work on a client, by locks of the operating system; says why a file cannot be locked."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mcimport.errors import BusyError, McimportError, StateError
from mcimport.errors.machine import check_files_left
from mcimport.errors.ownership import USE, chown_command, explain, user_id, user_name

_LOCKS_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})
_ANOTHER = "Name another state file with --db or MCIMPORT_DB"
_MEND = "or fix the permissions of its folder."
LOCK_TIMEOUT = 0.2  # seconds: `lock_holder` takes the lock for a moment, too

_held: dict[Path, frozenset[str]] = {}  # by this process, with the keys of the lists that each is held for


def held_for_other_lists(db_path: Path, client: str, list_key: str) -> bool:
    """Returns whether this process holds the lock of the client, and not for this list."""
    list_keys = _held.get(_lock_path(db_path, client))
    return list_keys is not None and list_key not in list_keys


@contextmanager
def lock_client(db_path: Path, client: str, list_keys: Iterable[str] = ()) -> Iterator[None]:
    """Holds the client's lock, a file beside the state file. `list_keys`: of the lists that it is held for.

    Raises BusyError, which names the process that holds it and since when; StateError where there can be no lock at
    all, which does not pass when another process ends.
    """
    path = _lock_path(db_path, client)

    def busy() -> BusyError:
        return BusyError(f"{client}: another mcimport is already running for this client{_holder_text(path)}")

    with hold_lock(path, LOCK_TIMEOUT, busy, db_path):
        # Another process that finds the lock taken reads this text; the lock itself does not depend on it.
        with suppress(OSError):
            began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            path.write_text(f"process {os.getpid()}, since {began}\n", encoding="ascii")
        _held[path] = frozenset(list_keys)
        try:
            yield
        finally:
            _held.pop(path, None)


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
        raise lock_error(path, error, db_path) from None


def file_lock(path: Path, timeout: float) -> FileLock:
    """Returns the lock on a file. Its `acquire` raises Timeout after `timeout` seconds, OSError where it cannot lock.

    Without the soft fallback of filelock, where the file's existence alone is the lock: it outlives a killed process.
    """
    return FileLock(path, timeout=timeout, mode=0o600, thread_local=False, fallback_to_soft=False)


@contextmanager
def hold_lock(path: Path, timeout: float, taken: Callable[[], McimportError], db_path: Path) -> Iterator[None]:
    """Holds the lock on a file beside the state file, in a folder that is created if needed.

    Raises what `taken` returns after `timeout` seconds, and as `lock_error` where there can be no lock at all.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = file_lock(path, timeout).acquire()
    except Timeout:
        raise taken() from None
    except OSError as error:
        raise lock_error(path, error, db_path) from None
    with held:
        yield


def lock_error(path: Path, error: OSError, db_path: Path | None = None) -> StateError:
    """Returns why the file cannot be locked. Raises MachineError where this process can open no more files.

    `db_path`: the state file that the lock is for; the hint then covers all files beside it.
    """
    check_files_left()
    if error.errno in _LOCKS_UNSUPPORTED:
        said = f"the file system of {path.parent} does not support locks: {error.strerror}"
        return StateError(said, hint=f"{_ANOTHER}, on a local disk.")
    found = _regular_file(path)
    denied = explain(error, path, USE)
    if found is None:
        hint = denied.fix or f"{_ANOTHER}, {_MEND}"
        return StateError(f"the lock file {path} cannot be created: {denied.reason}", hint=hint)
    if found.st_uid != user_id():
        every = pattern_of(db_path) if db_path else shlex.quote(str(path))
        hint = f"Run {chown_command(every)} as root, and from then on run mcimport as one user only."
        return StateError(f"the lock file {path} belongs to another user, {user_name(found.st_uid)}", hint=hint)
    return StateError(f"the lock file {path} cannot be opened: {denied.reason}", hint=denied.fix or f"{_ANOTHER}.")


def pattern_of(db_path: Path) -> str:
    """Returns the shell's pattern for the state file and all that is made beside it."""
    return f"{shlex.quote(str(db_path.resolve()))}*"


def check_folder(folder: Path) -> None:
    """Raises StateError where no file can be created and locked in the folder, which is left as it is.

    It creates and locks one, for permissions alone do not tell.
    """
    try:
        with tempfile.NamedTemporaryFile(prefix=".mcimport-", dir=folder) as file:
            _check_locks(Path(file.name))
    except OSError as error:
        denied = explain(error, folder / "new", USE)
        hint = denied.fix or f"{_ANOTHER}, {_MEND}"
        raise StateError(f"no file can be created in {folder}: {denied.reason}", hint=hint) from None


def _lock_path(db_path: Path, client: str) -> Path:
    file = db_path.resolve()  # one state file has one lock, whatever path leads to it
    return file.with_name(f"{file.name}.{client}.lock")


def _holder_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({text})" if text else ""


def _check_locks(path: Path) -> None:
    try:
        with file_lock(path, 0):
            pass
    except OSError as error:
        raise lock_error(path, error) from None


def _regular_file(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        found = path.stat()
        return found if stat.S_ISREG(found.st_mode) else None
    return None
