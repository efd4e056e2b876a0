"""What the state file holds of each list that a client has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from mcimport.config import Client
from mcimport.errors import ConfigError, StateError
from mcimport.services.destination import moved, place_of, ways_on
from mcimport.state import State, destinations, elsewhere, lists, open_state, probes
from mcimport.state.probes import ProbeAnswers

# "unknown": no key, or no state file that can be read.
SyncState = Literal["synced", "nothing", "unknown"]


class Recorded(Struct, frozen=True):
    """Holds what the state file records of one client.

    Attributes:
        lists: by list, whether it was synced, or what a sync would refuse it with; of a client that takes any list, the
            lists that it ever synced.
        elsewhere: until when Celery workers may have pages of the client (seconds, UTC); None: they have none.
        unchecked: the lists whose members archived before the first sync were not compared yet.
        probes: by list, what the last `mcimport probe` found.
    """

    lists: Mapping[str, SyncState | ConfigError]
    elsewhere: int | None = None
    unchecked: frozenset[str] = frozenset()
    probes: Mapping[str, ProbeAnswers] = field(default_factory=dict)

    @property
    def never_synced(self) -> list[str]:
        return [key for key, sync_state in self.lists.items() if sync_state == "nothing"]

    @property
    def is_new(self) -> bool:
        return bool(self.never_synced) or not self.lists


def read_recorded(db_path: Path | None, clients: Sequence[Client]) -> list[Recorded]:
    """Returns what is recorded of each client. `db_path`: None where the state file cannot be read."""
    default: SyncState = "unknown"
    if db_path is not None and not db_path.exists():
        default = "nothing"
    elif db_path is not None:
        with suppress(StateError), open_state(db_path, create=False) as state:
            return [_recorded(state, client) for client in clients]
    return [Recorded(dict.fromkeys(client.lists, default)) for client in clients]


def _recorded(state: State, client: Client) -> Recorded:
    rows = lists.of_client(state, client.name)
    keys = client.lists or sorted({row.list_key for row in rows})
    found: dict[str, SyncState | ConfigError]
    try:
        client.ometria_key()
    except ConfigError:
        found = dict.fromkeys(client.lists, "unknown")
    else:
        found = {key: _sync_state(state, client, key) for key in keys}
    unchecked = frozenset(row.list_key for row in rows if row.unchecked_at is not None)
    probed = {key: answers for key in keys if (answers := probes.latest(state, client.name, key)) is not None}
    return Recorded(found, elsewhere.until(state, client.name), unchecked, probed)


def _sync_state(state: State, client: Client, list_key: str) -> SyncState | ConfigError:
    try:
        destination = place_of(state, client, list_key)
    except ConfigError as error:  # a collection that key or name completes to one that is refused
        return error
    row, former = destinations.current(state, destination), destinations.bound_elsewhere(state, destination)
    if row is None and former is not None:
        return ConfigError(moved(destination, former), hint=ways_on(client, destination, former))
    row = row or destinations.of_renamed_client(state, destination)
    return "nothing" if row is None or row.sync_point is None else "synced"
