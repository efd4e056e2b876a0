"""Names SQLite's errors in words: what is wrong with the state file, and what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcimport.errors import StateError


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """SQLite's errors, for a person."""
    try:
        yield
    except sqlite3.Error as error:
        raise _named(path, error) from None


_WORDS = (  # how SQLite's name of an error begins, what is said of the file, and what to do
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


def _named(path: Path, error: sqlite3.Error) -> StateError:
    name = getattr(error, "sqlite_errorname", "")
    for beginnings, said, hint in _WORDS:
        if name.startswith(beginnings):
            return StateError(f"the state file {path} {said}", hint=hint)
    return StateError(f"the state file {path} cannot be used ({name or type(error).__name__})")
