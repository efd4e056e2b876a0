"""Converts rows of the tables to the classes of `models.records`, and values back: times are text in the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import fields

from mcimport.models.records import DeadLetter, ListRow, Run, SampledContact, WindowRow
from mcimport.models.timestamps import epoch, iso
from mcimport.state.database import State

T = TypeVar("T")

_TABLES: dict[type, str] = {
    ListRow: "lists",
    Run: "runs",
    WindowRow: "windows",
    DeadLetter: "dead_letters",
    SampledContact: "pushed_sample",
}
_TIME_COLUMNS = frozenset((
    "since", "until", "through", "sync_point", "first_sync_at", "new_since", "carried_since", "accepted_at",
    "unchecked_at", "listed_from", "archived_from", "reconciled_at", "spot_checked_at", "pushed_at", "started_at",
    "finished_at", "begun_at", "created_at", "updated_at",
))  # fmt: skip


def read(kind: type[T], row: sqlite3.Row) -> T:
    """Returns the row as an instance of `kind`, a dataclass whose fields have the names of the columns."""
    names = [column.name for column in fields(kind)]  # type: ignore[arg-type] # every kind here is a dataclass; TypeVar cannot say so
    return kind(**{name: epoch(row[name]) if name in _TIME_COLUMNS else row[name] for name in names})


def find_all(state: State, kind: type[T], where: str, parameters: Sequence[Any] = ()) -> list[T]:
    """Returns rows of the kind's table. `where`: SQL from the condition on."""
    query = f"SELECT * FROM {_TABLES[kind]} WHERE {where}"  # noqa: S608 - fixed text and marks
    return [read(kind, row) for row in state.rows(query, parameters)]


def find_first(state: State, kind: type[T], where: str, parameters: Sequence[Any] = ()) -> T | None:
    return next(iter(find_all(state, kind, f"{where} LIMIT 1", parameters)), None)


def columns_of(instance: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass as the columns with their names hold them."""
    values = {field.name: getattr(instance, field.name) for field in fields(instance)}
    return {name: text(value) if name in _TIME_COLUMNS else value for name, value in values.items()}


def text(moment: int | None) -> str | None:
    """Returns a time in epoch seconds as the file has it: ISO 8601 in UTC."""
    return None if moment is None else iso(moment)


def now() -> str:
    return iso(int(time.time()))
