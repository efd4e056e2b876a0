"""Converts rows of the tables to the classes of `models.records`, and values back: times are text in the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from msgspec import Struct

from mcimport.models.records import DeadLetter, ListRow, Run, SampledContact, WindowRow
from mcimport.models.timestamps import epoch, iso
from mcimport.state.database import State

T = TypeVar("T", bound=Struct)

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
    """Returns the row as an instance of `kind`, whose fields have the names of the columns."""
    return _read_ordered(kind, [row[name] for name in kind.__struct_fields__])


def find_all(state: State, kind: type[T], where: str, parameters: Sequence[Any] = ()) -> list[T]:
    """Returns rows of the kind's table. `where`: SQL from the condition on."""
    return [_read_ordered(kind, row) for row in state.rows(f"{_select(kind)} WHERE {where}", parameters)]


def find_first(state: State, kind: type[T], where: str, parameters: Sequence[Any] = ()) -> T | None:
    return next(iter(find_all(state, kind, f"{where} LIMIT 1", parameters)), None)


@cache
def _select(kind: type[Struct]) -> str:
    columns = ", ".join(f'"{name}"' for name in kind.__struct_fields__)
    return f"SELECT {columns} FROM {_TABLES[kind]}"  # noqa: S608 - names


@cache
def _time_places(kind: type[Struct]) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(kind.__struct_fields__) if name in _TIME_COLUMNS)


def _read_ordered(kind: type[T], values: Iterable[Any]) -> T:
    """Returns an instance of `kind` from the values of its fields, in their order: to look each up takes ten times."""
    found = list(values)
    for place in _time_places(kind):
        found[place] = epoch(found[place])
    return kind(**dict(zip(kind.__struct_fields__, found, strict=True)))


def columns_of(instance: Struct) -> dict[str, Any]:
    """Returns the fields of one of these as the columns with their names hold them."""
    values = {name: getattr(instance, name) for name in instance.__struct_fields__}
    return {name: text(value) if name in _TIME_COLUMNS else value for name, value in values.items()}


def text(moment: int | None) -> str | None:
    """Returns a time in epoch seconds as the file has it: ISO 8601 in UTC."""
    return None if moment is None else iso(moment)


def now() -> str:
    return iso(int(time.time()))
