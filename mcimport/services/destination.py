"""Where a client's list goes now, and what to say of one that was sent elsewhere before."""

from __future__ import annotations

from mcimport.config import Client
from mcimport.models.records import ListRow
from mcimport.state import State
from mcimport.state.destinations import Destination, what_changed


def place_of(state: State, client: Client, list_key: str) -> Destination:
    """Raises ConfigError without a usable Ometria key."""
    return Destination(
        client.name, list_key, client.collection(list_key), state.account_fingerprint(*client.ometria_access())
    )


def moved(place: Destination, former: ListRow) -> str:
    """What has changed since the list was sent to `former`."""
    change, sent = what_changed(place, former), f"list {place.list_key} was sent"
    if change == "collection":
        return f'the collection is not "{former.collection}", to which {sent}'
    if change == "address":
        return f"the address of Ometria is not the one to which {sent}"
    return f"the Ometria key is not the one that {sent} with"


def ways_on(place: Destination, former: ListRow) -> str:
    """The commands that say what the change means."""
    anew = f"`mcimport sync --full {place.list_key}` sends everybody there"
    if what_changed(place, former) == "collection":
        return f"{anew}, and nothing tells the former collection of an opt-out any more.  A slip: put the name back."
    return f"Another account: {anew}.  The same account: `mcimport keys accept {place.client}`."


def note(place: Destination, former: ListRow) -> str:
    """Both in short, for a table."""
    change = what_changed(place, former)
    if change == "collection":
        return f'its collection has changed: put "{former.collection}" back, or `mcimport sync --full {place.list_key}`'
    what = "address" if change == "address" else "key"
    ways = f"`mcimport keys accept {place.client}`, or `mcimport sync --full {place.list_key}`"
    return f"its Ometria {what} has changed: {ways}"
