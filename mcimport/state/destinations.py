"""Which memory of a list is that of where it goes now: bound to a destination from the first accepted push on.

A destination is an Ometria account, known by its key and the address at which it is asked, and a collection there.
Until Ometria has accepted somebody, nothing stands there that a sync point could be wrong about: what was tried under a
wrong key is taken over by the right one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from mcimport.models.records import ListRow
from mcimport.state import lists
from mcimport.state.database import State
from mcimport.state.lists import SWEEP_COLUMNS
from mcimport.state.row_mapping import read, text

_IS_BOUND = "EXISTS (SELECT 1 FROM runs WHERE list_id = lists.id AND contacts_pushed > 0)"


class Destination(NamedTuple):
    """Where a list goes. `destination`: what `State.destination` makes of key and address."""

    client: str
    list_key: str
    collection: str
    account: str

    @property
    def accounts(self) -> tuple[str, str]:
        """The destination, and how a state file of an earlier version has it: by the key alone."""
        return self.account, key_fingerprint(self.account)


def key_fingerprint(destination: str) -> str:
    """What a destination knows the key by, whatever the address."""
    return destination.partition("@")[0]


def find(state: State, destination: Destination) -> ListRow | None:
    row = state.row(
        "SELECT * FROM lists WHERE client = ? AND list_key = ? AND collection = ? AND destination IN (?, ?)"
        " ORDER BY length(destination) DESC",
        [destination.client, destination.list_key, destination.collection, *destination.accounts],
    )
    return read(ListRow, row) if row else None


def current(state: State, destination: Destination) -> ListRow | None:
    """What is remembered of the list where it goes now: done there, or tried elsewhere without anybody accepted."""
    found = find(state, destination)
    if found is None and bound_elsewhere(state, destination) is None:
        return _latest_unbound(state, destination)
    return found


def bound_elsewhere(state: State, destination: Destination) -> ListRow | None:
    """Where Ometria has accepted contacts of this client's list last, if that is not `place`."""
    row = state.row(
        f"SELECT * FROM lists WHERE client = ? AND list_key = ? AND {_IS_BOUND}"  # noqa: S608 - fixed text
        " AND NOT (collection = ? AND destination IN (?, ?))"
        " ORDER BY (SELECT max(id) FROM runs WHERE list_id = lists.id) DESC LIMIT 1",
        [destination.client, destination.list_key, destination.collection, *destination.accounts],
    )
    return read(ListRow, row) if row else None


def what_changed(destination: Destination, former: ListRow) -> str:
    """What is different of a list that was sent to `former`: its collection, the address, or the key."""
    if former.destination in destination.accounts:
        return "collection"
    is_same_key = key_fingerprint(former.destination) == destination.accounts[1]
    return "address" if is_same_key else "key"


def get_or_create(state: State, destination: Destination) -> ListRow:
    """The memory of this place, made where there is none; what was tried elsewhere without success becomes it."""
    known = current(state, destination)
    with state.transaction():
        if known is None:
            state.write(
                "INSERT OR IGNORE INTO lists (client, list_key, collection, destination) VALUES (?, ?, ?, ?)",
                destination,
            )
        elif (known.collection, known.destination) != (destination.collection, destination.account):
            _move_to(state, known, destination)
    row = find(state, destination)
    assert row is not None  # noqa: S101 - written a moment ago under this client's lock
    return row


def _latest_unbound(state: State, destination: Destination) -> ListRow | None:
    """The latest place at which the list was tried, and Ometria accepted nobody."""
    row = state.row(
        f"SELECT * FROM lists WHERE client = ? AND list_key = ? AND NOT {_IS_BOUND}"  # noqa: S608 - fixed text
        " ORDER BY coalesce((SELECT max(id) FROM runs WHERE list_id = lists.id), 0) DESC LIMIT 1",
        [destination.client, destination.list_key],
    )
    return read(ListRow, row) if row else None


def _move_to(state: State, row: ListRow, destination: Destination) -> None:
    """Inside a transaction. What was found out about another account, or collection, is forgotten.

    When history began is, too, unless somebody set it: then whether the list had been synced to this one before is not
    known, and those who were archived before are still to be compared.
    """
    is_elsewhere = row.destination not in destination.accounts or row.collection != destination.collection
    if is_elsewhere and row.accepted_at is None:
        state.write(
            "UPDATE lists SET first_sync_at = NULL, new_since = NULL, unchecked_at = NULL WHERE id = ?", [row.id]
        )
    elif is_elsewhere:
        state.write("UPDATE lists SET unchecked_at = coalesce(unchecked_at, new_since) WHERE id = ?", [row.id])
    state.write(
        "UPDATE lists SET collection = ?, destination = ? WHERE id = ?",
        [destination.collection, destination.account, row.id],
    )


def of_renamed_client(state: State, destination: Destination) -> ListRow | None:
    """The same list, sent to the same collection of the same account by a client called otherwise; the newest."""
    row = state.row(
        "SELECT * FROM lists WHERE client != ? AND list_key = ? AND collection = ? AND destination IN (?, ?)"
        " ORDER BY sync_point IS NULL, sync_point DESC, id DESC LIMIT 1",
        [destination.client, destination.list_key, destination.collection, *destination.accounts],
    )
    return read(ListRow, row) if row else None


def rename_client(state: State, list_id: int, client: str) -> None:
    """What is remembered of this list goes on under the new name of its client: runs, dead letters, troubles."""
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
    """What a renewed key or a changed address concerns: of each list and collection the latest at another destination.

    Those at which Ometria accepted somebody before those at which it was only tried.
    """
    here = Destination(client, "", "", account).accounts
    rows = state.rows(
        f"SELECT * FROM lists WHERE client = ? AND destination NOT IN (?, ?) ORDER BY {_IS_BOUND} DESC,"  # noqa: S608 - fixed text
        " coalesce((SELECT max(id) FROM runs WHERE list_id = lists.id), 0) DESC",
        [client, *here],
    )
    latest = {(row["list_key"], row["collection"]): read(ListRow, row) for row in reversed(rows)}
    return list(latest.values())


def is_bound(state: State, row: ListRow) -> bool:
    """Whether Ometria has accepted a contact of the list there."""
    return bool(state.value(f"SELECT {_IS_BOUND} FROM lists WHERE id = ?", [row.id]))  # noqa: S608 - fixed text


def accept_key(state: State, client: str, account: str) -> int:
    """The client's Ometria key was renewed, the account is the same: what is remembered goes on under the new key.

    Returns how many lists that concerns: those of `to_accept`. What was done under the new key meanwhile is joined to
    it, with the earlier of the two sync points and first syncs: going back only repeats.
    """
    with state.transaction():
        moving = at_other_accounts(state, client, account)
        for old in moving:
            known = find(state, Destination(client, old.list_key, old.collection, account))
            if known is not None:
                _merge(state, old, known)
            _rewind(state, old)
            state.write("UPDATE lists SET destination = ? WHERE id = ?", [account, old.id])
    return len(moving)


def _rewind(state: State, row: ListRow) -> None:
    """Inside a transaction: to the earliest sync point of all accounts that the list was sent to.

    Which of them it is whose key was renewed, nobody can tell: their contacts have the same ids. Going back repeats.
    """
    points = [
        found["sync_point"]
        for found in state.rows(
            f"SELECT sync_point FROM lists WHERE client = ? AND list_key = ? AND collection = ? AND {_IS_BOUND}",  # noqa: S608 - fixed text
            [row.client, row.list_key, row.collection],
        )
    ]
    earliest = None if None in points else min(points, default=None)
    if row.sync_point is not None and len(points) > 1 and (earliest or "") < str(text(row.sync_point)):
        state.write(
            "UPDATE lists SET sync_point = ?, listed_from = NULL, archived_from = NULL WHERE id = ?",
            [earliest, row.id],
        )
        state.write("UPDATE runs SET until = NULL WHERE list_id = ? AND status IN ('failed', 'interrupted')", [row.id])


def _merge(state: State, old: ListRow, other: ListRow) -> None:
    """Inside a transaction: everything of `known` becomes `old`'s; of two open letters of a member, the newer stays."""
    for column in ("first_sync_at", "accepted_at", "unchecked_at"):
        began = _earliest(column, (old, other))
        state.write(f"UPDATE lists SET {column} = ? WHERE id = ?", [text(began), old.id])  # noqa: S608 - fixed names
    accepted = [one for one in (old, other) if one.accepted_at is not None]
    state.write(
        "UPDATE lists SET new_since = ? WHERE id = ?",
        [text(_earliest("new_since", accepted or (old, other))), old.id],
    )
    texts = lists.permissions(old) | lists.permissions(other)
    state.write(
        "UPDATE lists SET has_sms = ?, permissions = ? WHERE id = ?",
        [max(old.has_sms, other.has_sms), json.dumps(sorted(texts), ensure_ascii=False) if texts else None, old.id],
    )
    for sweep, column in SWEEP_COLUMNS.items():
        shown = [moment for one in (old, other) if (moment := one.shown_until(sweep)) is not None]
        state.write(f"UPDATE lists SET {column} = ? WHERE id = ?", [text(min(shown, default=None)), old.id])  # noqa: S608 - fixed names
    if old.sync_point is not None and other.sync_point is not None:
        state.write(
            "UPDATE lists SET sync_point = ? WHERE id = ?", [text(min(old.sync_point, other.sync_point)), old.id]
        )
    if other.sync_point is not None and other.carried_since is None:
        state.write("UPDATE lists SET carried_since = NULL WHERE id = ?", [old.id])
    state.write("UPDATE runs SET list_id = ? WHERE list_id = ?", [old.id, other.id])
    state.write("UPDATE OR REPLACE dead_letters SET list_id = ? WHERE list_id = ?", [old.id, other.id])
    state.write("DELETE FROM pushed_sample WHERE list_id = ?", [other.id])
    state.write("DELETE FROM lists WHERE id = ?", [other.id])


def _earliest(column: str, rows: Sequence[ListRow]) -> int | None:
    moments = (getattr(one, column) for one in rows)
    return min((moment for moment in moments if moment is not None), default=None)
