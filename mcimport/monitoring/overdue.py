"""Which lists are overdue: for longer than their client allows, nothing has moved the sync point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mcimport.config import Client, Settings
from mcimport.errors import ConfigError
from mcimport.models.records import ListRow
from mcimport.services.destination import place_of
from mcimport.state import State, destinations, runs


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago a configured list was last brought up to date.

    Attributes:
        list_id: None for a list that was not sent to where it goes now.
        sync_point: of where it goes now; None: it was never synced to the end there. Seconds, UTC.
        since: its sync point, else from when on it might have had one: seconds, UTC.
        is_overdue: that is longer ago than it may be.
    """

    list_key: str
    list_id: int | None
    sync_point: int | None
    since: int
    is_overdue: bool


def ages(settings: Settings, state: State, client: Client, known: Sequence[ListRow], now: int) -> Iterator[Age]:
    """Of each list of a client, of whose lists `known` is remembered; of one that takes any list, of these."""
    for key in client.lists or sorted({row.list_key for row in known}):
        rows = [row for row in known if row.list_key == key]
        here = _here(state, client, key, rows)
        since = begun(state, here, now) if here else waiting_since(settings, state, rows, now)
        list_id, sync_point = (here.id, here.sync_point) if here else (None, None)
        yield Age(key, list_id, sync_point, since, now - since > client.overdue)


def begun(state: State, row: ListRow, now: int) -> int:
    """From when on the age of a remembered list counts: its sync point, else its first run."""
    return row.sync_point if row.sync_point is not None else runs.first_started_at(state, row.id) or now


def waiting_since(settings: Settings, state: State, remembered: Sequence[ListRow], now: int) -> int:
    """The same for a list that was not sent to where it goes now: `remembered` is what is known of it elsewhere.

    A sync refuses a list that has moved, hour by hour: somebody has to say what that means. One that was never run may
    have been configured since the settings were written, or the log began, whichever is later.
    """
    points = [row.sync_point for row in remembered if row.sync_point is not None]
    if points:
        return max(points)
    path = settings.config_path
    written = path.stat().st_mtime if path and path.exists() else 0
    return max(runs.first_started_at(state) or now, int(written))


def _here(state: State, client: Client, list_key: str, rows: Sequence[ListRow]) -> ListRow | None:
    """What is remembered of the list where it goes now; while its key cannot be read, what was synced last."""
    try:
        return destinations.current(state, place_of(state, client, list_key))
    except ConfigError:
        return max(rows, key=lambda row: row.sync_point or 0, default=None)
