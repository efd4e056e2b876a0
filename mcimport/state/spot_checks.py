"""Keeps a sample of the contacts that Ometria accepted last, and what the spot checks of it found."""

from __future__ import annotations

import time

from mcimport.models import Sample
from mcimport.models.records import ListRow, Run, SampledContact, SpotCheck
from mcimport.models.timestamps import epoch
from mcimport.state.database import State
from mcimport.state.row_mapping import find_all, text

INTERVAL = 86_400 - 600  # seconds: a daily job does not start at exactly the same second


def is_due(last: int | None, now: int) -> bool:
    """Returns whether a spot check is due. `last`: when one was tried; a future time is of a clock that was ahead."""
    return last is None or not 0 <= now - last < INTERVAL


def sample(state: State, list_id: int) -> list[SampledContact]:
    """Returns some of the contacts that were pushed since the last spot check; those of the last run first."""
    return find_all(state, SampledContact, "list_id = ? ORDER BY run_id DESC, rank", [list_id])


def record_pushed(state: State, run: Run, pushed: Sample, size: int) -> None:
    """Adds the run's contacts to the sample and keeps `size` of all, within the transaction that records an outcome.

    A sample that is due and only has to settle in Ometria stays as it is: otherwise it would never be checked where
    runs follow each other quickly.
    """
    now = int(time.time())
    if not pushed or not size or _is_sample_due(state, run, now):
        return
    for rank, member_id in pushed:
        state.write(
            "INSERT OR REPLACE INTO pushed_sample (list_id, member_id, run_id, rank, pushed_at) VALUES (?, ?, ?, ?, ?)",
            [run.list_id, member_id, run.id, rank, text(now)],
        )
    state.write(
        "DELETE FROM pushed_sample WHERE list_id = ?1 AND member_id NOT IN (SELECT member_id FROM pushed_sample"
        " WHERE list_id = ?1 ORDER BY run_id DESC, rank LIMIT ?2)",
        [run.list_id, size],
    )


def record_check(state: State, row: ListRow, run_id: int, found: SpotCheck) -> None:
    """Records the result in the run, and in the list where contacts are missing; deletes the sample.

    A check that finds all of its contacts leaves the list's result as it is: it checked other contacts.
    """
    with state.transaction():
        state.update("runs", run_id, spot_check=found.text)
        state.update("lists", row.id, spot_checked_at=text(found.at))
        if found.missing:
            state.update("lists", row.id, spot_check=found.text)
        state.write("DELETE FROM pushed_sample WHERE list_id = ?", [row.id])


def unresolved(row: ListRow) -> SpotCheck | None:
    """Returns the last spot check with missing contacts, if the list was not reconciled since."""
    found = SpotCheck.read(row.spot_check)
    if found is None or not found.missing or (row.reconciled_at is not None and row.reconciled_at >= found.at):
        return None
    return found


def _is_sample_due(state: State, run: Run, now: int) -> bool:
    """Returns whether there is a sample of other runs, and its check is due."""
    row = state.row(
        "SELECT spot_checked_at FROM lists WHERE id = ? AND EXISTS (SELECT 1 FROM pushed_sample"
        " WHERE list_id = lists.id AND run_id != ? AND pushed_at <= ?)",
        [run.list_id, run.id, text(now)],
    )
    return row is not None and is_due(epoch(row["spot_checked_at"]), now)
