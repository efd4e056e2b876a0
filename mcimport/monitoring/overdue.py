"""Finds overdue lists: those whose sync point is older than their client allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from mcimport.config import Client, Settings
from mcimport.errors import ConfigError
from mcimport.models.records import ListRow
from mcimport.services.destination import place_of
from mcimport.state import State, destinations, lists, rhythm, runs


class ListAge(Struct, frozen=True):
    """Holds how long ago a configured list was last updated.

    Attributes:
        list_id: None for a list that was never sent to its present destination.
        sync_point: at its present destination, seconds, UTC; None: no sync was ever completed there.
        since: the sync point, else the time from which the list might have had one; seconds, UTC.
        overdue_at: from when on it is overdue; seconds, UTC.
    """

    list_key: str
    list_id: int | None
    sync_point: int | None
    since: int
    overdue_at: int
    is_overdue: bool


def list_ages(settings: Settings, state: State, client: Client, now: int) -> Iterator[ListAge]:
    """Yields the age of each list of a client; where it takes any list, of those that it ever synced."""
    client_rows = lists.of_client(state, client.name)
    for key in client.lists or sorted({row.list_key for row in client_rows}):
        rows = [row for row in client_rows if row.list_key == key]
        current = _current_row(state, client, key, rows)
        since = age_began(state, current, now) if current else waiting_since(settings, state, rows, now)
        list_id, sync_point = (current.id, current.sync_point) if current else (None, None)
        allowed = rhythm.overdue_after(state, client.overdue, is_first=is_first(rows))
        yield ListAge(key, list_id, sync_point, since, since + allowed, now - since > allowed)


def is_first(remembered: Iterable[ListRow]) -> bool:
    """Says whether a list was never synced, at whichever destination. `remembered`: its rows for all of them."""
    return all(row.sync_point is None for row in remembered)


def age_began(state: State, row: ListRow, now: int) -> int:
    """Returns the time from which the age of a list counts, in seconds, UTC: its sync point, else its first run."""
    return row.sync_point if row.sync_point is not None else runs.first_started_at(state, row.id) or now


def waiting_since(settings: Settings, state: State, remembered: Sequence[ListRow], now: int) -> int:
    """Returns the same for a list that was never sent to its present destination. `remembered`: its rows for others.

    A sync refuses a list whose destination has changed, every hour, until the user says what that means; so its earlier
    sync point counts. A list that never ran may have been configured when the settings were last written, or before the
    first run of any list, whichever is later.
    """
    points = [row.sync_point for row in remembered if row.sync_point is not None]
    if points:
        return max(points)
    path = settings.config_path
    written = path.stat().st_mtime if path and path.exists() else 0
    return max(runs.first_started_at(state) or now, int(written))


def _current_row(state: State, client: Client, list_key: str, rows: Sequence[ListRow]) -> ListRow | None:
    """Returns the list's row for its present destination; while its key cannot be read, the row synced last."""
    try:
        return destinations.current(state, place_of(state, client, list_key))
    except ConfigError:
        return max(rows, key=lambda row: row.sync_point or 0, default=None)
