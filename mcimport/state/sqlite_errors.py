"""Turns SQLite's errors into a StateError that says what is wrong with the file, and what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcimport.errors import StateError


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Raises StateError about the state file at `path` where SQLite raises an error inside."""
    try:
        yield
    except sqlite3.Error as error:
        name = error_name(error)
        for beginnings, said, hint in _MESSAGES:
            if name.startswith(beginnings):
                raise StateError(f"the state file {path} {said}", hint=hint) from None
        raise StateError(f"the state file {path} cannot be used ({name})") from None


_MESSAGES = (  # prefixes of SQLite's names of errors, the message, the hint
    (
        ("SQLITE_NOTADB",),
        "is not a state file of mcimport; it was left unchanged",
        "Choose another with --db or MCIMPORT_DB.",
    ),
    (("SQLITE_BUSY", "SQLITE_LOCKED"), "is locked by another program", "Close it there and try again."),
    (("SQLITE_FULL",), "is on a disk that is full; nothing was half-recorded", "Free some space and try again."),
    (("SQLITE_IOERR",), "cannot be read or written; nothing was half-recorded", "Is its disk full, or failing?"),
    (
        ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"),
        "cannot be written",
        "Check its owner, its permissions and its folder.",
    ),
    (("SQLITE_CORRUPT",), "is damaged", "Restore it from a backup, or move it away."),
)


def error_name(error: Exception) -> str:
    """Returns SQLite's name of an error (SQLITE_FULL); the class of one that has none."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__
