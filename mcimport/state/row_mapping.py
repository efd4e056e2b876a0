"""Converts rows of the tables to the classes of `models.records`, and values back: times are text in the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from mcimport.models import Bounds
from mcimport.models.timestamps import epoch, iso
from mcimport.state.database import State

T = TypeVar("T")

_TIME_COLUMNS = frozenset(
    {
        "since",
        "until",
        "through",
        "sync_point",
        "first_sync_at",
        "new_since",
        "carried_since",
        "accepted_at",
        "unchecked_at",
        "listed_from",
        "archived_from",
        "reconciled_at",
        "spot_checked_at",
        "pushed_at",
        "started_at",
        "finished_at",
        "begun_at",
        "created_at",
        "updated_at",
    }
)


def bounds_text(bounds: Bounds) -> str:
    """Returns the learned bounds as the column `bounds` of a window has them: "", "since", "before", "since,before"."""
    names = (("since", bounds.since_includes), ("before", bounds.before_includes))
    return ",".join(name for name, learned in names if learned)


def read(kind: type[T], row: sqlite3.Row) -> T:
    """Returns the row as an instance of `kind`, a dataclass whose fields have the names of the columns."""
    names = [column.name for column in fields(kind)]  # type: ignore[arg-type] # every kind here is a dataclass; TypeVar cannot say so
    return kind(**{name: epoch(row[name]) if name in _TIME_COLUMNS else row[name] for name in names})


def read_all(state: State, kind: type[T], sql: str, parameters: Sequence[Any] = ()) -> list[T]:
    return [read(kind, row) for row in state.rows(sql, parameters)]


def read_first(state: State, kind: type[T], sql: str, parameters: Sequence[Any] = ()) -> T | None:
    return next(iter(read_all(state, kind, sql, parameters)), None)


def text(moment: int | None) -> str | None:
    """Returns a time in epoch seconds as the file has it: ISO 8601 in UTC."""
    return None if moment is None else iso(moment)


def now() -> str:
    return iso(int(time.time()))
