"""What is remembered of a list at one destination: its sync point, its first sync, its mapping (see `destinations`)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mcimport.models import Outcome, Sweep
from mcimport.models.records import ListRow, Run
from mcimport.state.database import State
from mcimport.state.row_mapping import read, text

SWEEP_COLUMNS: dict[Sweep, str] = {"listed": "listed_from", "archived": "archived_from"}
MAX_PERMISSIONS = 100  # texts remembered of one list; an owner words a few


def all_lists(state: State) -> list[ListRow]:
    return [read(ListRow, row) for row in state.rows("SELECT * FROM lists ORDER BY client, list_key, id")]


def of_client(state: State, client: str) -> list[ListRow]:
    return [read(ListRow, row) for row in state.rows("SELECT * FROM lists WHERE client = ? ORDER BY id", [client])]


def by_id(state: State, list_id: int) -> ListRow:
    (row,) = state.rows("SELECT * FROM lists WHERE id = ?", [list_id])
    return read(ListRow, row)


def record_first_attempt(state: State, list_id: int, moment: int, new_since: int) -> None:
    """A run begins before Ometria has accepted anybody; nothing is changed any more once it has.

    `moment`: the earliest that this can be. The first one stays, for its run may have pushed somebody, and whoever is
    archived later must not be missed. `new_since`: the latest. It moves with each try: who opted in before the one that
    works is history.
    """
    with state.transaction():
        state.write(
            "UPDATE lists SET first_sync_at = coalesce(first_sync_at, ?), new_since = ?"
            " WHERE id = ? AND accepted_at IS NULL",
            [text(moment), text(new_since), list_id],
        )


def clear_first_attempt(state: State, list_id: int) -> None:
    """The only runs so far surely sent nothing: the next one finds Ometria as they did, and looks again."""
    with state.transaction():
        state.write(
            "UPDATE lists SET first_sync_at = NULL, new_since = NULL, unchecked_at = NULL"
            " WHERE id = ? AND accepted_at IS NULL",
            [list_id],
        )


def delete_unknown(state: State, list_id: int) -> None:
    """A list that Mailchimp never knew, with the runs that found that out; one that was ever read stays."""
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
    """Inside a transaction: whoever opts in from the beginning of this run on is new; said once."""
    began = text(run.started_at)
    state.write(
        "UPDATE lists SET first_sync_at = coalesce(first_sync_at, ?), new_since = coalesce(new_since, ?),"
        " accepted_at = coalesce(new_since, ?) WHERE id = ? AND accepted_at IS NULL",
        [began, began, began, run.list_id],
    )


def set_unchecked_at(state: State, list_id: int, moment: int | None) -> None:
    """Whether those who were archived before the first sync are still to be compared; None: they are not."""
    with state.transaction():
        state.write("UPDATE lists SET unchecked_at = ? WHERE id = ?", [text(moment), list_id])


def set_has_sms(state: State, list_id: int) -> None:
    """Remembers that somebody on the list, or in Ometria, has an SMS status; never taken back."""
    with state.transaction():
        state.write("UPDATE lists SET has_sms = 1 WHERE id = ?", [list_id])


def advance_new_since(state: State, list_id: int, moment: int) -> None:
    """Inside a transaction: who opted in before `moment` is not new to this destination any more."""
    state.write("UPDATE lists SET new_since = ? WHERE id = ? AND new_since < ?", [text(moment), list_id, text(moment)])


def record_empty_sweep(state: State, list_id: int, sweep: Sweep) -> None:
    """Inside a transaction, before the sync point moves: this sweep's answer showed nobody after the last moment."""
    column = SWEEP_COLUMNS[sweep]
    state.write(
        f"UPDATE lists SET {column} = coalesce({column}, sync_point) WHERE id = ?",  # noqa: S608 - fixed names
        [list_id],
    )


def record_nonempty_sweep(state: State, list_id: int, sweep: Sweep) -> None:
    """Inside a transaction: this sweep's answer showed somebody, so it is read up to the sync point."""
    state.write(f"UPDATE lists SET {SWEEP_COLUMNS[sweep]} = NULL WHERE id = ?", [list_id])  # noqa: S608 - fixed names


def advance_sync_point(state: State, list_id: int, moment: int) -> None:
    """Inside a transaction: moves the sync point to `moment`, never backwards. (ISO texts in UTC sort as times do.)"""
    state.write(
        "UPDATE lists SET sync_point = ? WHERE id = ? AND (sync_point IS NULL OR sync_point < ?)",
        [text(moment), list_id, text(moment)],
    )


def rewind(state: State, list_id: int, moment: int, began: int) -> None:
    """What is remembered of a list goes back to `moment`: a clock was ahead. Who is new stays as it was.

    `began`: when its first run began, by this machine's clock. Its history does not begin earlier than that: those who
    were archived before are not brought in, however much is read again.
    """
    with state.transaction():
        for column in ("sync_point", "first_sync_at", "carried_since", "listed_from", "archived_from"):
            back = text(max(moment, began) if column == "first_sync_at" else moment)
            state.write(
                f"UPDATE lists SET {column} = ? WHERE id = ? AND {column} > ?",  # noqa: S608 - fixed names
                [back, list_id, back],
            )


def record_imported_since(state: State, run: Run) -> None:
    """Inside the transaction that completes a run, before the sync point moves: from when on this list is carried."""
    start = text(run.since if run.since is not None or run.until is None else min(run.until, run.started_at))
    if run.kind == "full":
        state.write("UPDATE lists SET carried_since = NULL WHERE id = ?", [run.list_id])
    elif run.kind == "incremental":
        state.write(
            "UPDATE lists SET carried_since = ? WHERE id = ? AND (sync_point IS NULL OR carried_since > ?)",
            [start, run.list_id, start],
        )


def record_seen(state: State, list_id: int, outcome: Outcome) -> None:
    """Inside the transaction that records an outcome: what its members show that holds for the list from now on."""
    if outcome.has_sms:
        state.write("UPDATE lists SET has_sms = 1 WHERE id = ? AND NOT has_sms", [list_id])
    if outcome.permissions:
        row = by_id(state, list_id)
        known = permissions(row)
        if len(known) < MAX_PERMISSIONS and not known.issuperset(outcome.permissions):
            both = json.dumps(sorted(known.union(outcome.permissions))[:MAX_PERMISSIONS], ensure_ascii=False)
            state.write("UPDATE lists SET permissions = ? WHERE id = ?", [both, list_id])


def permissions(row: ListRow) -> frozenset[str]:
    """The texts of the list's marketing permissions, as far as they were seen; empty where there are none."""
    return frozenset(json.loads(row.permissions) if row.permissions else ())


def record_comparison(state: State, list_id: int, moment: int, counts: Mapping[str, int]) -> None:
    """Both sides were compared. `left`: how many differ still, of all kinds together."""
    with state.transaction():
        state.write(
            "UPDATE lists SET reconciled_at = ?, reconciled = ? WHERE id = ?",
            [text(moment), json.dumps(counts), list_id],
        )


def reconciled(row: ListRow) -> dict[str, int]:
    """What the last comparison counted; empty where there was none."""
    counts: dict[str, int] = json.loads(row.reconciled) if row.reconciled else {}
    return counts
