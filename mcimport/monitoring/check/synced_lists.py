"""What the state file remembers of each list that a client has."""

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
Memory = Literal["synced", "nothing", "unknown"]


def remembered(db_path: Path | None, clients: Sequence[Client]) -> list[Mapping[str, Memory | ConfigError]]:
    """For each client what is known of its lists; of one that takes any list, those that it ever synced.

    `db_path`: None where the state file cannot be read.
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
    """For each client until when workers over a broker may have pages of it (seconds, UTC); None: they have none."""
    if db_path is not None and db_path.exists():
        with suppress(StateError), open_state(db_path, create=False) as state:
            return [elsewhere.until(state, client.name) for client in clients]
    return [None] * len(clients)


def unchecked(db_path: Path | None, clients: Sequence[Client]) -> list[frozenset[str]]:
    """For each client its lists of which those who were archived before are still to be compared."""
    if db_path is not None and db_path.exists():
        with suppress(StateError), open_state(db_path, create=False) as state:
            left = [(row.client, row.list_key) for row in lists.all_lists(state) if row.unchecked_at is not None]
            return [frozenset(key for name, key in left if name == client.name) for client in clients]
    return [frozenset()] * len(clients)


def _of(client: Client, state: State) -> Mapping[str, Memory | ConfigError]:
    """A ConfigError is what a sync of the list would refuse it with."""
    try:
        client.ometria_key()
    except ConfigError:
        return dict.fromkeys(client.lists, "unknown")
    keys = client.lists or [row.list_key for row in lists.all_lists(state) if row.client == client.name]
    return {key: _memory(state, place_of(state, client, key)) for key in keys}


def _memory(state: State, facts: Destination) -> Memory | ConfigError:
    known, former = destinations.current(state, facts), destinations.bound_elsewhere(state, facts)
    if known is None and former is not None:
        return ConfigError(moved(facts, former), hint=ways_on(facts, former))
    known = known or destinations.of_renamed_client(state, facts)
    return "nothing" if known is None or known.sync_point is None else "synced"
