"""Copies of the state file: in memory, for a dry run, and in another file, as a backup."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from mcimport.errors import ConfigError, StateError
from mcimport.state.database import State, applied_migrations, connect, migrate, named_errors, state_exists


def copy_in_memory(path: Path) -> State:
    """Copies the state file into memory: a dry run reads the copy, writes to it, and drops it."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        if state_exists(path):
            with named_errors(path), closing(connect(path)) as file:
                applied_migrations(file, path)
                file.backup(memory)
        migrate(memory, path, is_shared=False)
        return State(memory, path)
    except BaseException:
        memory.close()
        raise


def back_up(path: Path, target: Path) -> int:
    """Copies the state file to a new file of mode 0600, checks the copy, and returns its size in bytes.

    Other processes may write meanwhile: SQLite copies one moment of the file, in one transaction of the copy. Raises
    ConfigError where `target` exists or cannot be created, and StateError where there is no state file, or where the
    copy cannot be written whole; then it is removed.
    """
    if not state_exists(path):
        raise StateError(f"there is no state file at {path} yet", hint="`mcimport sync` creates it.")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        said = f"{target} already exists and was not changed"
        raise ConfigError(said, hint="Name another file, or move this one away.") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be created: {error.strerror}", hint="Name another file.") from None
    try:
        _copy(path, target)
        return target.stat().st_size
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _copy(path: Path, target: Path) -> None:
    with named_errors(path), closing(connect(path)) as source:
        if not applied_migrations(source, path):
            raise StateError(f"the state file {path} is being created just now", hint="Try again in a minute.")
        with named_errors(target), closing(connect(target)) as copy:
            source.backup(copy)
            if copy.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise StateError(f"the copy of {path} is damaged, and so perhaps is the file", hint="Check its disk.")
    with target.open("rb") as written:
        os.fsync(written.fileno())
