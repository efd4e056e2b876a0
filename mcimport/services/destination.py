"""Where a client's list goes now, and what to say of one that was sent elsewhere before."""

from __future__ import annotations

from mcimport.config import Client
from mcimport.models.records import ListRow
from mcimport.state import State
from mcimport.state.destinations import Place, change_of


def place_of(state: State, client: Client, list_key: str) -> Place:
    """Raises ConfigError without a usable Ometria key."""
    return Place(client.name, list_key, client.collection(list_key), state.destination(*client.ometria_access()))


def moved(place: Place, former: ListRow) -> str:
    """What has changed since the list was sent to `former`."""
    change, synced = change_of(place, former), f"list {place.list_key} was last synced"
    if change == "collection":
        return f'{synced} to a different collection, "{former.collection}"'
    if change == "address":
        return f"{synced} to a different Ometria address"
    return f"{synced} with a different Ometria API key"


def ways_on(place: Place, former: ListRow) -> str:
    """The commands that say what the change means."""
    anew = f"`mcimport sync --full {place.list_key}` sends all members there"
    change = change_of(place, former)
    if change == "collection":
        mistake = f'By mistake? Set "{former.collection}" again.'
        return f"New collection? {anew}; the old one then gets no more opt-outs. {mistake}"
    what = "address" if change == "address" else "key"
    return f"New account? {anew}. Same account, new {what}? `mcimport keys accept {place.client}`."


def note(place: Place, former: ListRow) -> str:
    """Both in short, for a table."""
    change = change_of(place, former)
    if change == "collection":
        return f'its collection changed: set "{former.collection}" again, or `mcimport sync --full {place.list_key}`'
    what = "address" if change == "address" else "key"
    ways = f"`mcimport keys accept {place.client}`, or `mcimport sync --full {place.list_key}`"
    return f"its Ometria {what} changed: {ways}"
