"""Which lists go to one Ometria account, as far as the settings and the state file know; whose listing a contact is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mcimport.config import Client
from mcimport.convert import own_part
from mcimport.errors import ConfigError
from mcimport.models import ContactRules, HeldContact
from mcimport.models.records import ListRow
from mcimport.state import State, lists
from mcimport.state.destinations import key_fingerprint
from mcimport.sync.reconcile.fingerprints import Fingerprinter

Listing = tuple[str, str, bytes]
"""List, id without it, version. An empty list: nobody's id of ours."""


@dataclass(frozen=True, slots=True)
class AccountList:
    """One list, in one of the account's collections.

    Attributes:
        client: whose keys may ask for its members; None where none of the settings has it any more.
        is_carried: a sync carries it, so whoever is subscribed on it is in Ometria, or soon will be.
        row: what is remembered of it; None before its first sync.
    """

    list_key: str
    collection: str
    client: Client | None
    is_carried: bool
    row: ListRow | None = None

    def rules(self, client: Client) -> ContactRules:
        rules = client.rules(self.list_key, None)
        if self.row is None:
            return rules
        return replace(rules, has_sms=bool(self.row.has_sms), permissions=lists.permissions(self.row))


def account_lists(state: State, own: Client, row: ListRow, clients: Sequence[Client]) -> list[AccountList]:
    """Of the account that `row`, a list of the client `own`, goes to. No request is made."""
    all_rows = lists.all_lists(state)
    sharing, keys = _sharing(state, own, row, clients, all_rows)
    ours = [one for one in all_rows if key_fingerprint(one.destination) in keys]
    ours.sort(key=lambda one: one.destination == row.destination)  # of several memories of a list this account's own
    rows = {_place(one.list_key, one.collection): one for one in ours}
    found = {
        _place(key, client.collection(key)): AccountList(key, client.collection(key), client, is_carried=True)
        for client in reversed(sharing.values())  # of two that have the same list, this one
        for key in (*client.lists, *([row.list_key] if client.name == own.name else []))
    }
    for place, one in rows.items():
        if place not in found:
            client = _owner(one, sharing)
            is_carried = client is not None and client.any_list
            found[place] = AccountList(one.list_key, one.collection, client, is_carried)
    return [replace(one, row=rows.get(place)) for place, one in found.items()]


def by_key(known: Iterable[AccountList], collection: str) -> dict[str, AccountList]:
    """Those of one collection, by their key in lower case."""
    return {one.list_key.lower(): one for one in known if one.collection == collection}


def listings_of(
    held: Iterable[HeldContact], known: Mapping[str, AccountList], fingerprinter: Fingerprinter
) -> list[Listing]:
    """Each contact with the list of `known` (see `by_key`) that its id belongs to."""
    return [(*_listed(one.id, known), fingerprinter.of_held(one)) for one in held]


def _listed(contact_id: object, known: Mapping[str, AccountList]) -> tuple[str, str]:
    front = contact_id.partition("-")[0] if isinstance(contact_id, str) else ""
    own = own_part(contact_id, front) if front in known else None
    return ("", "") if own is None else (front, own)


def _place(list_key: str, collection: str) -> tuple[str, str]:
    return list_key.lower(), collection


def _owner(row: ListRow, sharing: Mapping[str, Client]) -> Client | None:
    """The client that sent the list; if that has another name now, the one that has the list."""
    return sharing.get(row.client) or next((one for one in sharing.values() if row.list_key in one.lists), None)


# ---- who shares the account


def _sharing(
    state: State, own: Client, row: ListRow, clients: Sequence[Client], rows: Sequence[ListRow]
) -> tuple[dict[str, Client], set[str]]:
    """The clients of the account, by name, and what the state file knows its keys by.

    The key alone tells who shares an account, at whichever address each client asks it.
    """
    sharing = {own.name: own}
    marks = _marks(state, own) | {key_fingerprint(row.destination)}
    while near := [one for one in clients if one.name not in sharing and marks & _all_marks(state, one, rows)]:
        for one in near:
            sharing[one.name] = one
            marks |= _marks(state, one)
    return sharing, {mark for mark in marks if not mark.startswith(_NAMED)}


_NAMED = "account "


def _marks(state: State, client: Client) -> set[str]:
    """What tells that two clients share an account: the same key, or the same `account` in the settings."""
    marks = {_NAMED + client.ometria.account} if client.ometria.account else set()
    with suppress(ConfigError):  # raised again, for that client alone, when the key is needed
        marks.add(key_fingerprint(state.account_fingerprint(*client.ometria_access())))
    return marks


def _all_marks(state: State, client: Client, rows: Sequence[ListRow]) -> set[str]:
    """Where its key cannot be read now, also the accounts that its lists were sent to."""
    try:
        client.ometria_key()
    except ConfigError:
        return _marks(state, client) | {key_fingerprint(one.destination) for one in rows if one.client == client.name}
    return _marks(state, client)
