"""Finds the row of a list at the destination to which it is sent now.

A destination is an Ometria account, known by its key and the API's address, and a collection there. A row is bound to
its destination as soon as Ometria has accepted a contact. Until then nothing in Ometria can contradict a sync point, so
the row of what was tried with a wrong key moves to the right one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from mcimport.models.records import ListRow
from mcimport.state import lists
from mcimport.state.database import State
from mcimport.state.lists import SWEEP_COLUMNS
from mcimport.state.row_mapping import find_all, find_first, text

_IS_BOUND = "EXISTS (SELECT 1 FROM runs WHERE list_id = lists.id AND contacts_pushed > 0)"
_IS_THERE = "list_key = ?2 AND collection = ?3 AND destination IN (?4, ?5)"  # see `Destination.parameters`
_LAST_RUN = "(SELECT max(id) FROM runs WHERE list_id = lists.id)"  # NULL, which is sorted as the lowest: no run


class Destination(NamedTuple):
    """Holds where a list is sent. `account`: what `State.account_fingerprint` makes of key and address."""

    client: str
    list_key: str
    collection: str
    account: str

    @property
    def accounts(self) -> tuple[str, str]:
        """The account, and how a state file of an earlier version has it: by the key alone."""
        return self.account, key_fingerprint(self.account)

    @property
    def parameters(self) -> tuple[str, ...]:
        return (*self[:3], *self.accounts)


def key_fingerprint(destination: str) -> str:
    return destination.partition("@")[0]


def is_same_key(account: str, other: str) -> bool:
    return key_fingerprint(account) == key_fingerprint(other)


def find(state: State, destination: Destination) -> ListRow | None:
    here = f"client = ?1 AND {_IS_THERE} ORDER BY length(destination) DESC"
    return find_first(state, ListRow, here, destination.parameters)


def current(state: State, destination: Destination) -> ListRow | None:
    """Returns the list's row here; or the latest of another destination, if none of them accepted a contact."""
    found = find(state, destination)
    if found is None and bound_elsewhere(state, destination) is None:
        return _latest_unbound(state, destination)
    return found


def bound_elsewhere(state: State, destination: Destination) -> ListRow | None:
    """Returns the row of the last other destination at which Ometria accepted contacts of this client's list."""
    others = f"client = ?1 AND list_key = ?2 AND {_IS_BOUND} AND NOT ({_IS_THERE}) ORDER BY {_LAST_RUN} DESC"
    return find_first(state, ListRow, others, destination.parameters)


def what_changed(destination: Destination, former: ListRow) -> str:
    """Returns in what `former` differs from the destination: "collection", "address" or "key"."""
    if former.destination in destination.accounts:
        return "collection"
    return "address" if is_same_key(former.destination, destination.account) else "key"


def get_or_create(state: State, destination: Destination) -> ListRow:
    """Returns the list's row here. Creates it, or moves an unbound row of another destination here, if needed."""
    known = current(state, destination)
    with state.transaction():
        if known is None:
            insert = "INSERT OR IGNORE INTO lists (client, list_key, collection, destination) VALUES (?, ?, ?, ?)"
            state.write(insert, destination)
        elif (known.collection, known.destination) != (destination.collection, destination.account):
            _move_to(state, known, destination)
    row = find(state, destination)
    assert row is not None  # noqa: S101 - written a moment ago under this client's lock
    return row


def _latest_unbound(state: State, destination: Destination) -> ListRow | None:
    """Returns the row of the last destination that was tried, and at which Ometria accepted no contact."""
    tried = f"client = ? AND list_key = ? AND NOT {_IS_BOUND} ORDER BY {_LAST_RUN} DESC"
    return find_first(state, ListRow, tried, [destination.client, destination.list_key])


def _move_to(state: State, row: ListRow, destination: Destination) -> None:
    """Moves a row to the destination, inside a transaction, and clears what was found out about another one.

    It clears the first sync as well, unless Ometria is known to have contacts of the list (`keys accept`): then it is
    unknown whether the list was synced here before, and members archived before are still to be compared.
    """
    is_elsewhere = row.destination not in destination.accounts or row.collection != destination.collection
    if is_elsewhere and row.accepted_at is None:
        state.update("lists", row.id, first_sync_at=None, new_since=None, unchecked_at=None)
    elif is_elsewhere:
        state.write("UPDATE lists SET unchecked_at = coalesce(unchecked_at, new_since) WHERE id = ?", [row.id])
    state.update("lists", row.id, collection=destination.collection, destination=destination.account)


def of_renamed_client(state: State, destination: Destination) -> ListRow | None:
    """Returns the newest row of the same list and destination under another client's name."""
    others = f"client != ?1 AND {_IS_THERE} ORDER BY sync_point IS NULL, sync_point DESC, id DESC"
    return find_first(state, ListRow, others, destination.parameters)


def rename_client(state: State, list_id: int, client: str) -> None:
    """Renames the client of a list, and of its runs, dead letters and troubles."""
    with state.transaction():
        state.write(
            "UPDATE OR IGNORE troubles SET client = ?"
            " WHERE (client, list_key) = (SELECT client, list_key FROM lists WHERE id = ?)",
            [client, list_id],
        )
        state.write("UPDATE lists SET client = ? WHERE id = ?", [client, list_id])
        state.write("UPDATE runs SET client = ? WHERE list_id = ?", [client, list_id])
        state.write("UPDATE dead_letters SET client = ? WHERE list_id = ?", [client, list_id])


def at_other_accounts(state: State, client: str, account: str) -> list[ListRow]:
    """Returns the rows that a renewed key or a changed address concerns: the latest of each list and collection.

    Rows at which Ometria accepted a contact are preferred to those at which it was only tried.
    """
    others = f"client = ? AND destination NOT IN (?, ?) ORDER BY {_IS_BOUND} DESC, {_LAST_RUN} DESC"
    rows = find_all(state, ListRow, others, [client, account, key_fingerprint(account)])
    return list({(row.list_key, row.collection): row for row in reversed(rows)}.values())


def accept_key(state: State, client: str, account: str) -> int:
    """Moves the client's lists to a renewed key, or a changed address, of the same account; returns how many.

    What was done under the new key in the meantime is merged into them, with the earlier of the two sync points and
    first syncs: going back only repeats work.
    """
    with state.transaction():
        moving = at_other_accounts(state, client, account)
        for old in moving:
            known = find(state, Destination(client, old.list_key, old.collection, account))
            if known is not None:
                _merge(state, old, known)
            _rewind(state, old)
            state.update("lists", old.id, destination=account)
    return len(moving)


def _rewind(state: State, row: ListRow) -> None:
    """Moves the sync point back to the earliest of all accounts that the list was sent to, inside a transaction.

    Whose key was renewed cannot be told, for contacts have the same ids in all of them. Going back only repeats work.
    """
    all_accounts = f"client = ? AND list_key = ? AND collection = ? AND {_IS_BOUND}"
    bound = find_all(state, ListRow, all_accounts, [row.client, row.list_key, row.collection])
    earliest = min((found.sync_point or 0 for found in bound), default=0) or None
    if row.sync_point is not None and len(bound) > 1 and (earliest or 0) < row.sync_point:
        state.update("lists", row.id, sync_point=text(earliest), listed_from=None, archived_from=None)
        state.write("UPDATE runs SET until = NULL WHERE list_id = ? AND status IN ('failed', 'interrupted')", [row.id])


def _merge(state: State, old: ListRow, other: ListRow) -> None:
    """Merges `other` into `old`, inside a transaction; of two open dead letters of a member, the newer one stays."""
    both = (old, other)
    accepted = [row for row in both if row.accepted_at is not None]
    texts = lists.permissions(old) | lists.permissions(other)
    merged: dict[str, object] = {
        "first_sync_at": _earliest(row.first_sync_at for row in both),
        "accepted_at": _earliest(row.accepted_at for row in both),
        "unchecked_at": _earliest(row.unchecked_at for row in both),
        "new_since": _earliest(row.new_since for row in accepted or both),
        "has_sms": max(old.has_sms, other.has_sms),
        "permissions": json.dumps(sorted(texts), ensure_ascii=False) if texts else None,
    }
    for sweep, column in SWEEP_COLUMNS.items():
        merged[column] = _earliest(row.shown_until(sweep) for row in both)
    if old.sync_point is not None and other.sync_point is not None:
        merged["sync_point"] = text(min(old.sync_point, other.sync_point))
    if other.sync_point is not None and other.carried_since is None:
        merged["carried_since"] = None
    state.update("lists", old.id, **merged)
    state.write("UPDATE runs SET list_id = ? WHERE list_id = ?", [old.id, other.id])
    state.write("UPDATE OR REPLACE dead_letters SET list_id = ? WHERE list_id = ?", [old.id, other.id])
    state.write("DELETE FROM pushed_sample WHERE list_id = ?", [other.id])
    state.write("DELETE FROM lists WHERE id = ?", [other.id])


def _earliest(moments: Iterable[int | None]) -> str | None:
    return text(min((moment for moment in moments if moment is not None), default=None))
