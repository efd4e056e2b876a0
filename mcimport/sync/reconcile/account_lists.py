"""The lists that go to one Ometria account, by the settings and the state file; and the list of a contact's id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from mcimport.config import Client
from mcimport.convert import own_part
from mcimport.errors import ConfigError
from mcimport.models import ContactRules, HeldContact
from mcimport.models.records import ListRow
from mcimport.state import State, lists
from mcimport.state.destinations import key_fingerprint
from mcimport.sync.reconcile.fingerprints import Fingerprinter

Listing = tuple[str, str, bytes]
"""List key, id without it, version. The list key is empty for an id that is of no list of ours."""


class AccountList(Struct, frozen=True):
    """Names one list in one of the account's collections.

    Attributes:
        client: its keys may ask for the list's members; None where no client in the settings has the list any more.
        is_carried: a sync imports it, so its subscribed members are in Ometria, or soon will be.
        row: what is remembered of it; None before its first sync.
    """

    list_key: str
    collection: str
    client: Client | None
    is_carried: bool
    row: ListRow | None = None

    def rules(self, client: Client) -> ContactRules:
        """Returns how members of the list become contacts of this client."""
        rules = client.rules(self.list_key, None)
        if self.row is None:
            return rules
        return replace(rules, has_sms=bool(self.row.has_sms), permissions=lists.permissions(self.row))


def account_lists(state: State, own: Client, row: ListRow, clients: Sequence[Client]) -> list[AccountList]:
    """Returns the lists of the account that `row`, a list of the client `own`, goes to. Makes no request."""
    all_rows = lists.all_lists(state)
    sharing, keys = _sharing(state, own, row, clients, all_rows)
    ours = [known for known in all_rows if key_fingerprint(known.destination) in keys]
    ours.sort(key=lambda known: known.destination == row.destination)  # of several rows of a list, this account's own
    rows = {_place(known.list_key, known.collection): known for known in ours}
    found = {
        _place(key, client.collection(key)): AccountList(key, client.collection(key), client, is_carried=True)
        for client in reversed(sharing.values())  # of two clients that have the same list, `own`
        for key in (*client.lists, *([row.list_key] if client.name == own.name else []))
    }
    for place, known in rows.items():
        if place not in found:
            client = _owner(known, sharing)
            is_carried = client is not None and client.any_list
            found[place] = AccountList(known.list_key, known.collection, client, is_carried)
    return [replace(listed, row=rows.get(place)) for place, listed in found.items()]


def by_key(known: Iterable[AccountList], collection: str) -> dict[str, AccountList]:
    """Returns the lists of one collection, by their keys in lower case."""
    return {listed.list_key.lower(): listed for listed in known if listed.collection == collection}


def listings_of(
    held: Iterable[HeldContact], known: Mapping[str, AccountList], fingerprinter: Fingerprinter
) -> list[Listing]:
    """Returns each contact with the list of `known` (see `by_key`) that its id belongs to."""
    return [(*_listed(contact.id, known), fingerprinter.of_held(contact)) for contact in held]


def _listed(contact_id: object, known: Mapping[str, AccountList]) -> tuple[str, str]:
    front = contact_id.partition("-")[0] if isinstance(contact_id, str) else ""
    member_id = own_part(contact_id, front) if front in known else None
    return ("", "") if member_id is None else (front, member_id)


def _place(list_key: str, collection: str) -> tuple[str, str]:
    return list_key.lower(), collection


def _owner(row: ListRow, sharing: Mapping[str, Client]) -> Client | None:
    """Returns the client that sent the list; where that has another name now, the one that has the list."""
    having = (client for client in sharing.values() if row.list_key in client.lists)
    return sharing.get(row.client) or next(having, None)


# ---- who shares the account


def _sharing(
    state: State, own: Client, row: ListRow, clients: Sequence[Client], rows: Sequence[ListRow]
) -> tuple[dict[str, Client], set[str]]:
    """Returns the clients of the account, by name, and the fingerprints of its keys in the state file.

    Clients share an account where their keys are the same, whatever address each of them has.
    """
    sharing = {own.name: own}
    marks = _marks(state, own) | {key_fingerprint(row.destination)}
    while near := [other for other in clients if other.name not in sharing and marks & _all_marks(state, other, rows)]:
        for client in near:
            sharing[client.name] = client
            marks |= _marks(state, client)
    return sharing, {mark for mark in marks if not mark.startswith(_NAMED)}


_NAMED = "account "


def _marks(state: State, client: Client) -> set[str]:
    """Returns what two clients of one account have in common: the key, or the `account` in the settings."""
    marks = {_NAMED + client.ometria.account} if client.ometria.account else set()
    with suppress(ConfigError):  # raised again, for that client alone, when the key is needed
        marks.add(key_fingerprint(state.account_fingerprint(*client.ometria_access())))
    return marks


def _all_marks(state: State, client: Client, rows: Sequence[ListRow]) -> set[str]:
    """Returns the same, with the accounts that its lists were sent to where the client's key cannot be read now."""
    try:
        client.ometria_key()
    except ConfigError:
        return _marks(state, client) | {key_fingerprint(row.destination) for row in rows if row.client == client.name}
    return _marks(state, client)
