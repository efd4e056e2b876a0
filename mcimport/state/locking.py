"""Locks of the operating system's on files; and why there can be none, which is not that somebody else has it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from mcimport.errors import StateError
from mcimport.errors.machine import check_files_left

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})
_ANOTHER = "Choose another state file with --db or MCIMPORT_DB"
_MEND = "or fix the permissions of its folder."


def lock_on(path: Path, patience: float) -> FileLock:
    """Waits so many seconds, then raises Timeout; OSError where there can be no lock.

    Where the file system has no locks, a file alone would have to do: it outlives a process that is killed.
    """
    return FileLock(path, timeout=patience, mode=0o600, thread_local=False, fallback_to_soft=False)


def cannot_lock(path: Path, error: OSError) -> StateError:
    """What is said of a lock that cannot be had. Raises MachineError where this process can open no more files."""
    check_files_left()
    if error.errno in _NO_LOCKS:
        said = f"the file system of {path.parent} does not support locks: {error.strerror}"
        return StateError(said, hint=f"{_ANOTHER}, on a local disk.")
    found = _regular_file(path)
    if found is None:
        return StateError(f"the lock file {path} cannot be created: {error.strerror}", hint=f"{_ANOTHER}, {_MEND}")
    if found.st_uid != os.geteuid():
        hint = f"Run `chown {_user(os.geteuid())} {path}` as root, and from then on run mcimport as one user only."
        return StateError(f"the lock file {path} belongs to another user, {_user(found.st_uid)}", hint=hint)
    hint = f"Run `chmod 600 {path}`." if isinstance(error, PermissionError) else f"{_ANOTHER}."
    return StateError(f"the lock file {path} cannot be opened: {error.strerror}", hint=hint)


def check_folder(folder: Path) -> None:
    """Raises StateError where no file can be made and locked in the folder, which is left as it is.

    Tried: rights on paper are not all that counts.
    """
    try:
        with tempfile.NamedTemporaryFile(prefix=".mcimport-", dir=folder) as file:
            _check_locks(Path(file.name))
    except OSError as error:
        raise StateError(f"no file can be created in {folder}: {error.strerror}", hint=f"{_ANOTHER}, {_MEND}") from None


def _check_locks(path: Path) -> None:
    try:
        with lock_on(path, 0):
            pass
    except OSError as error:
        raise cannot_lock(path, error) from None


def _regular_file(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        found = path.stat()
        return found if stat.S_ISREG(found.st_mode) else None
    return None


def _user(number: int) -> str:
    """A user's name where there is one."""
    import pwd  # noqa: PLC0415 - there is none on Windows

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
