"""Reads a few rows for a shell that completes a word: at once, and without a file being made or changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

MOST = 100  # rows; a longer choice helps nobody


def open_letters(path: Path) -> list[tuple[str, str]]:
    """Returns the ids of open dead letters, the oldest first, each with what it is. Raises sqlite3.Error."""
    sql = "SELECT id, client, list_key, kind, reason FROM dead_letters WHERE status = 'open' ORDER BY id LIMIT ?"
    found = _rows(path, sql)
    return [(str(number), f"{client} {key}, {kind}: {reason}") for number, client, key, kind, reason in found]


def latest_runs(path: Path) -> list[tuple[str, str]]:
    """Returns the ids of runs, the newest first, each with what it was. Raises sqlite3.Error."""
    sql = "SELECT id, client, list_key, kind, status, started_at FROM runs ORDER BY id DESC LIMIT ?"
    found = _rows(path, sql)
    return [
        (str(number), f"{client} {key}, {kind}, {status}, {began[:16].replace('T', ' ')} UTC")
        for number, client, key, kind, status, began in found
    ]


def recorded_lists(path: Path) -> Sequence[tuple[str, str]]:
    """Returns client and list of everything that was ever synced. Raises sqlite3.Error."""
    return _rows(path, "SELECT DISTINCT client, list_key FROM lists ORDER BY client, list_key LIMIT ?")


def _rows(path: Path, sql: str) -> Sequence[Any]:
    """Returns rows of a file that may be in use, or belong to another version."""
    # Where no process has it open the file is whole, and SQLite would make two others beside it in order to read it.
    mode = "mode=ro" if path.with_name(f"{path.name}-shm").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, timeout=0.1)) as connection:
        return connection.execute(sql, [MOST]).fetchall()
