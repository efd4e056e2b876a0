"""The destination of a client's list, and the messages about a list that was synced to another one before."""

from __future__ import annotations

from mcimport.config import Client
from mcimport.models.records import ListRow
from mcimport.state import State
from mcimport.state.destinations import Destination, what_changed


def place_of(state: State, client: Client, list_key: str) -> Destination:
    """Returns where a list goes by the present configuration. Raises ConfigError without a usable Ometria key."""
    return Destination(
        client.name, list_key, client.collection(list_key), state.account_fingerprint(*client.ometria_access())
    )


def moved(place: Destination, former: ListRow) -> str:
    """Says what changed since the list was synced to `former`."""
    change, synced = what_changed(place, former), f"list {place.list_key} was last synced"
    if change == "collection":
        return f'{synced} to a different collection, "{former.collection}"'
    if change == "address":
        return f"{synced} to a different Ometria address"
    return f"{synced} with a different Ometria API key"


def ways_on(client: Client, place: Destination, former: ListRow) -> str:
    """Names the setting to put back, and the commands by which an operator says what the change means."""
    anew = f"`mcimport sync --full {place.list_key}` sends all members there"
    change = what_changed(place, former)
    if change == "collection":
        mistake = f'By mistake? Set collection = "{former.collection}" again.'
        return f"New collection? {anew}; the old one then gets no more opt-outs. {mistake}"
    mistake = f"By mistake? Put {_setting(client, change)} back as it was."
    return f"New account? {anew}. Same account, new {change}? `mcimport keys accept {place.client}`. {mistake}"


def note(client: Client, place: Destination, former: ListRow) -> str:
    """Says in short, for a table, what changed, which setting to put back, and which commands there are."""
    change = what_changed(place, former)
    if change == "collection":
        return f'its collection changed: set "{former.collection}" again, or `mcimport sync --full {place.list_key}`'
    ways = f"`mcimport keys accept {place.client}`, or `mcimport sync --full {place.list_key}`"
    return f"its Ometria {change} changed: put {_setting(client, change)} back, {ways}"


def earlier(place: Destination, former: ListRow) -> str:
    """Says in a few words, for a table, at which other destination `former` is."""
    change = what_changed(place, former)
    return "earlier collection" if change == "collection" else f"earlier Ometria {change}"


def _setting(client: Client, change: str) -> str:
    """Returns where the key or the address is set; of an address that is the default, where it may have been."""
    return client.set_at["ometria_key"] if change == "key" else client.set_at.get("ometria_url", "`url` in [ometria]")
