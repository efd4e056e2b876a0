"""What the state file holds of each list that a client has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from mcimport.config import Client
from mcimport.errors import ConfigError, StateError
from mcimport.services.destination import moved, place_of, ways_on
from mcimport.state import State, destinations, elsewhere, lists, open_state
from mcimport.state.destinations import Destination

# "unknown": no key, or no state file that can be read.
SyncState = Literal["synced", "nothing", "unknown"]


def sync_states(db_path: Path | None, clients: Sequence[Client]) -> list[Mapping[str, SyncState | ConfigError]]:
    """Returns, for each client, the state of its lists; for a client that takes any list, of those it ever synced.

    `db_path`: None where the state file cannot be read. A ConfigError is what a sync would refuse the list with.
    """
    if db_path is not None and not db_path.exists():
        return [dict.fromkeys(client.lists, "nothing") for client in clients]
    try:
        if db_path is not None:
            with open_state(db_path, create=False) as state:
                return [_of(client, state) for client in clients]
    except StateError:
        pass
    return [dict.fromkeys(client.lists, "unknown") for client in clients]


def elsewhere_until(db_path: Path | None, clients: Sequence[Client]) -> list[int | None]:
    """Returns, for each client, until when Celery workers may have pages of it (seconds, UTC); None: they have none."""
    if db_path is not None and db_path.exists():
        with suppress(StateError), open_state(db_path, create=False) as state:
            return [elsewhere.until(state, client.name) for client in clients]
    return [None] * len(clients)


def unchecked_lists(db_path: Path | None, clients: Sequence[Client]) -> list[frozenset[str]]:
    """Returns, for each client, its lists whose members archived before the first sync were not compared yet."""
    if db_path is not None and db_path.exists():
        with suppress(StateError), open_state(db_path, create=False) as state:
            left = [(row.client, row.list_key) for row in lists.all_lists(state) if row.unchecked_at is not None]
            return [frozenset(key for name, key in left if name == client.name) for client in clients]
    return [frozenset()] * len(clients)


def _of(client: Client, state: State) -> Mapping[str, SyncState | ConfigError]:
    try:
        client.ometria_key()
    except ConfigError:
        return dict.fromkeys(client.lists, "unknown")
    keys = client.lists or [row.list_key for row in lists.all_lists(state) if row.client == client.name]
    return {key: _sync_state(state, place_of(state, client, key)) for key in keys}


def _sync_state(state: State, destination: Destination) -> SyncState | ConfigError:
    row, former = destinations.current(state, destination), destinations.bound_elsewhere(state, destination)
    if row is None and former is not None:
        return ConfigError(moved(destination, former), hint=ways_on(destination, former))
    row = row or destinations.of_renamed_client(state, destination)
    return "nothing" if row is None or row.sync_point is None else "synced"
