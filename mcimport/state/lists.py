"""Stores what is known of a list at one destination: sync point, first sync, mapping (see `destinations`)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mcimport.models import Outcome, Sweep
from mcimport.models.records import ListRow, Run
from mcimport.state.database import State
from mcimport.state.row_mapping import find_all, find_first, text

SWEEP_COLUMNS: dict[Sweep, str] = {"listed": "listed_from", "archived": "archived_from"}
MAX_PERMISSIONS = 100  # texts stored for one list; its owner writes a few


def all_lists(state: State) -> list[ListRow]:
    return find_all(state, ListRow, "TRUE ORDER BY client, list_key, id")


def of_client(state: State, client: str) -> list[ListRow]:
    return find_all(state, ListRow, "client = ? ORDER BY id", [client])


def synced(state: State) -> set[tuple[str, str]]:
    """Returns the clients and keys of the lists that have a sync point, at whichever destination."""
    return {(row[0], row[1]) for row in state.rows("SELECT client, list_key FROM lists WHERE sync_point IS NOT NULL")}


def by_id(state: State, list_id: int) -> ListRow:
    (row,) = find_all(state, ListRow, "id = ?", [list_id])
    return row


def find_by_id(state: State, list_id: int) -> ListRow | None:
    """Returns the row; None where the list was forgotten meanwhile."""
    return find_first(state, ListRow, "id = ?", [list_id])


def record_first_attempt(state: State, list_id: int, moment: int, new_since: int) -> None:
    """Records when a run began, as long as Ometria has accepted no contact of the list; later calls change nothing.

    `moment`: the earliest time at which it can have begun. The first one stays, for its run may have pushed contacts,
    and members who are archived later must not be missed. `new_since`: the latest such time. It moves with each
    attempt: members who opted in before the one that succeeds are not new.
    """
    state.write(
        "UPDATE lists SET first_sync_at = coalesce(first_sync_at, ?), new_since = ?"
        " WHERE id = ? AND accepted_at IS NULL",
        [text(moment), text(new_since), list_id],
    )


def clear_first_attempt(state: State, list_id: int) -> None:
    """Clears the first attempt, when all runs so far sent nothing: the next one checks again what Ometria holds."""
    columns = "first_sync_at = NULL, new_since = NULL, unchecked_at = NULL"
    state.write(f"UPDATE lists SET {columns} WHERE id = ? AND accepted_at IS NULL", [list_id])  # noqa: S608 - fixed text


def delete_unknown(state: State, list_id: int) -> None:
    """Deletes a list that Mailchimp never knew, with the runs that failed for it; one that was ever read stays."""
    with state.transaction():
        if state.value(
            "SELECT 1 FROM lists WHERE id = ? AND sync_point IS NULL AND accepted_at IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM runs WHERE list_id = lists.id AND until IS NOT NULL)"
            " AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE list_id = lists.id)",
            [list_id],
        ):
            state.write("DELETE FROM runs WHERE list_id = ?", [list_id])
            state.write("DELETE FROM lists WHERE id = ?", [list_id])


def record_accepted(state: State, run: Run) -> None:
    """Records, once and inside a transaction, that members who opt in from the start of this run on are new."""
    state.write(
        "UPDATE lists SET first_sync_at = coalesce(first_sync_at, ?1), new_since = coalesce(new_since, ?1),"
        " accepted_at = coalesce(new_since, ?1) WHERE id = ?2 AND accepted_at IS NULL",
        [text(run.started_at), run.list_id],
    )


def set_unchecked_at(state: State, list_id: int, moment: int | None) -> None:
    """Sets when members archived before the first sync were found unchecked; None: there are none left to check."""
    state.update("lists", list_id, unchecked_at=text(moment))


def set_has_sms(state: State, list_id: int) -> None:
    """Records that a member of the list, or a contact in Ometria, has an SMS status; it is never cleared."""
    state.write("UPDATE lists SET has_sms = 1 WHERE id = ? AND NOT has_sms", [list_id])


def advance_new_since(state: State, list_id: int, moment: int) -> None:
    """Moves `new_since` to `moment`, inside a transaction: members who opted in earlier are no longer new here."""
    state.write("UPDATE lists SET new_since = max(new_since, ?) WHERE id = ?", [text(moment), list_id])


def record_sweep(state: State, list_id: int, sweep: Sweep, *, is_empty: bool) -> None:
    """Records whether this sweep returned members, inside a transaction and before the sync point moves.

    One that did is read up to the sync point.
    """
    column = SWEEP_COLUMNS[sweep]
    value = f"coalesce({column}, sync_point)" if is_empty else "NULL"
    state.write(f"UPDATE lists SET {column} = {value} WHERE id = ?", [list_id])  # noqa: S608 - fixed names


def advance_sync_point(state: State, list_id: int, moment: int) -> None:
    """Moves the sync point to `moment`, never backwards, in the caller's transaction (ISO texts sort as times do)."""
    state.write(
        "UPDATE lists SET sync_point = max(coalesce(sync_point, ?1), ?1) WHERE id = ?2", [text(moment), list_id]
    )


def rewind(state: State, list_id: int, moment: int, began: int) -> None:
    """Moves the list's times back to `moment`, for a clock was ahead. `new_since` stays as it is.

    `began`: when its first run began, by this machine's clock. `first_sync_at` does not move to before that: members
    who were archived earlier are not imported, however much is read again.
    """
    state.write(
        "UPDATE lists SET sync_point = min(sync_point, ?2), first_sync_at = min(first_sync_at, ?3),"
        " carried_since = min(carried_since, ?2), listed_from = min(listed_from, ?2),"
        " archived_from = min(archived_from, ?2) WHERE id = ?1",
        [list_id, text(moment), text(max(moment, began))],
    )


def record_imported_since(state: State, run: Run) -> None:
    """Records from when on the list is imported, in a completed run's transaction, before the sync point moves."""
    start = text(run.since if run.since is not None or run.until is None else min(run.until, run.started_at))
    if run.kind == "full":
        state.update("lists", run.list_id, carried_since=None)
    elif run.kind == "incremental":
        state.write(
            "UPDATE lists SET carried_since = ? WHERE id = ? AND (sync_point IS NULL OR carried_since > ?)",
            [start, run.list_id, start],
        )


def record_seen(state: State, list_id: int, outcome: Outcome) -> None:
    """Records SMS statuses and marketing permissions that an outcome's members show, in its transaction."""
    if outcome.has_sms:
        set_has_sms(state, list_id)
    if outcome.permissions:
        row = by_id(state, list_id)
        known = permissions(row)
        if len(known) < MAX_PERMISSIONS and not known.issuperset(outcome.permissions):
            both = json.dumps(sorted(known.union(outcome.permissions))[:MAX_PERMISSIONS], ensure_ascii=False)
            state.update("lists", list_id, permissions=both)


def permissions(row: ListRow) -> frozenset[str]:
    """Returns the texts of the list's marketing permissions that were seen so far; empty where there are none."""
    return frozenset(json.loads(row.permissions) if row.permissions else ())


def record_comparison(state: State, list_id: int, moment: int, counts: Mapping[str, int]) -> None:
    state.update("lists", list_id, reconciled_at=text(moment), reconciled=json.dumps(counts))


def reconciled(row: ListRow) -> dict[str, int]:
    """Returns the counts of the last comparison; empty where there was none."""
    counts: dict[str, int] = json.loads(row.reconciled) if row.reconciled else {}
    return counts
