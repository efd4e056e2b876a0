"""Removes old runs with their windows, and closed dead letters (README.md says which); or all about a client or list.

Kept, too: discarded dead letters that no full run has read again, of each list the latest run of each kind and the
latest that pushed contacts. Of routine runs that are kept as one a day, the windows are removed.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress

from mcimport.errors import StateError
from mcimport.models.timestamps import epoch
from mcimport.state import probes
from mcimport.state.database import State
from mcimport.state.dead_letters import UNREAD_SINCE_DISCARDED
from mcimport.state.row_mapping import text

PRUNE_INTERVAL = 86_400  # seconds
ROUTINE_KEPT = 7 * 86_400  # seconds for which each routine run is kept
MOST_KEPT = 2_100  # runs of a list, the latest, beyond which no routine run is kept: a week of five minutes has 2,016
LATEST_KEPT = 24  # runs of a list that are kept in any case: `status` shows them
RUNS_PER_TRANSACTION = 500  # so that other writers get their turn
MAX_RUNS = 20_000  # in one call: a first pruning of years continues in the next call
VACUUMED_PAGES = 2_000  # free pages returned in one call
MIN_FREE_PAGES = 2_000  # and a quarter of the file, before a file that can only be rewritten whole is rewritten

# ?1: the list; ?2: the first of its latest runs; ?3: a time.
_PRUNABLE = """
    SELECT id FROM runs AS old
    WHERE list_id = ?1 AND id < ?2
    AND (status IN ('completed', 'abandoned') OR (until IS NULL AND status != 'running'))
    AND id NOT IN (SELECT max(id) FROM runs WHERE list_id = ?1 GROUP BY kind)
    AND id IS NOT (SELECT max(id) FROM runs WHERE list_id = ?1 AND contacts_pushed > 0)
    AND id NOT IN (SELECT run_id FROM dead_letters WHERE list_id = ?1)
    AND id NOT IN (SELECT first_run_id FROM dead_letters WHERE list_id = ?1)
"""
_OLD = " AND coalesce(finished_at, started_at) < ?3"
_ROUTINE = """
    AND status = 'completed' AND kind = 'incremental' AND windows_dead = 0 AND contacts_rejected = 0
    AND finished_at < ?3
"""
_NOT_THE_LAST_OF_ITS_DAY = """
    AND substr(finished_at, 1, 10) = (SELECT substr(later.finished_at, 1, 10) FROM runs AS later
                                      WHERE later.list_id = ?1 AND later.id > old.id ORDER BY later.id LIMIT 1)
"""
_NOTE_LATEST = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)"


def prune(state: State, keep: int, now: int | None = None) -> bool:
    """Removes, once a day, what is older than `keep` seconds. Returns False while more is left for the next call."""
    now = int(time.time()) if now is None else now
    last = epoch(state.value("SELECT value FROM meta WHERE key = 'pruned_at'"))
    if last is not None and 0 <= now - last < PRUNE_INTERVAL:
        return True
    room, done = MAX_RUNS, int(state.value("SELECT value FROM meta WHERE key = 'pruned_list'") or 0)
    for (list_id,) in state.rows("SELECT id FROM lists WHERE id > ? ORDER BY id", [done]):
        room -= _prune_list(state, list_id, now - keep, now - ROUTINE_KEPT, room)
        if room <= 0:
            break
        done = list_id
    if room > 0:
        done = 0
        _note(state, "pruned_at", text(now))
    _note(state, "pruned_list", done)  # where the next call goes on: what this one has looked at is not looked at again
    vacuum(state)
    return room > 0


def whole_since(state: State, keep: int) -> int | None:
    """Returns from when on the log surely holds every run (seconds, UTC); None where none was ever removed."""
    last, thinned = (
        epoch(state.value("SELECT value FROM meta WHERE key = ?", [key])) for key in ("pruned_at", "thinned_before")
    )
    return None if last is None else max(last - min(keep, ROUTINE_KEPT), thinned or 0)


def vacuum(state: State) -> None:
    """Returns free space to the file system, a little at a time; rewrites a file of an early version once.

    Never waits for another process: the next call does the same.
    """
    free = int(state.value("PRAGMA freelist_count"))
    if not free:
        return
    with suppress(StateError, sqlite3.Error), state.without_busy_timeout():
        if int(state.value("PRAGMA auto_vacuum")):
            state.incremental_vacuum(VACUUMED_PAGES)
        elif free > max(MIN_FREE_PAGES, int(state.value("PRAGMA page_count")) // 4):
            state.rows("PRAGMA auto_vacuum = INCREMENTAL")
            state.rows("VACUUM")


def forget(state: State, client: str, list_key: str | None = None, *, keeps_troubles: bool = False) -> dict[str, int]:
    """Removes everything about a client, or about one of its lists, and overwrites the place where it was stored.

    `keeps_troubles`: what a webhook was told stays, so that the next call tells it that this is over.

    It does so in one transaction. Returns how many lists, runs and dead letters that were, by the names of their
    tables; a list counts once for each destination that it was sent to. Where only a list is removed, it stays recorded
    that workers may have pages of the client, for these may be of another list.
    """
    whose, values = (
        ("client = ?", [client]) if list_key is None else ("client = ? AND list_key = ?", [client, list_key])
    )
    state.rows("PRAGMA secure_delete = ON")
    with state.transaction():
        counts = {
            table: int(state.value(f"SELECT count(*) FROM {table} WHERE {whose}", values))  # noqa: S608 - names from below
            for table in ("lists", "runs", "dead_letters")
        }
        state.write(f"DELETE FROM pushed_sample WHERE list_id IN (SELECT id FROM lists WHERE {whose})", values)  # noqa: S608 - fixed texts
        state.write(f"DELETE FROM windows WHERE run_id IN (SELECT id FROM runs WHERE {whose})", values)  # noqa: S608 - as above
        for table in ("dead_letters", "runs", "lists", *(() if keeps_troubles else ("troubles",))):
            state.write(f"DELETE FROM {table} WHERE {whose}", values)  # noqa: S608 - names from the line above
        probes.forget(state, client, list_key)
        if list_key is None:
            state.write("DELETE FROM elsewhere WHERE client = ?", [client])
    vacuum(state)
    return counts


def _prune_list(state: State, list_id: int, cutoff: int, routine_cutoff: int, limit: int) -> int:
    """Returns how many runs were deleted, `limit` at most."""
    closed = f"list_id = ? AND status != 'open' AND updated_at < ? AND NOT ({UNREAD_SINCE_DISCARDED})"
    state.write(f"DELETE FROM dead_letters WHERE {closed}", [list_id, text(cutoff)])  # noqa: S608 - fixed texts
    latest = _nth_latest(state, list_id, LATEST_KEPT)
    if latest is None:
        return 0
    too_many = _nth_latest(state, list_id, MOST_KEPT)
    if too_many is not None and too_many[1] > routine_cutoff:
        routine_cutoff = too_many[1]
        state.write(_NOTE_LATEST, ["thinned_before", text(routine_cutoff)])
    floor = min(latest[0], _first_younger(state, list_id, max(cutoff, routine_cutoff)))
    gone = _delete_runs(state, _PRUNABLE + _OLD, [list_id, floor, text(cutoff)], limit)
    thinned = _PRUNABLE + _ROUTINE + _NOT_THE_LAST_OF_ITS_DAY
    gone += _delete_runs(state, thinned, [list_id, floor, text(routine_cutoff)], limit - gone)
    # of routine runs that stay, one a day
    windows = f"DELETE FROM windows WHERE run_id IN ({_PRUNABLE + _ROUTINE})"  # noqa: S608 - fixed text
    state.write(windows, [list_id, floor, text(routine_cutoff)])
    return gone


def _nth_latest(state: State, list_id: int, number: int) -> tuple[int, int] | None:
    """Returns the id of a list's run and when it began, counted from the latest, which is 1; None: there are fewer."""
    query = "SELECT id, started_at FROM runs WHERE list_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    row = state.row(query, [list_id, number - 1])
    return None if row is None else (int(row["id"]), epoch(row["started_at"]) or 0)


def _first_younger(state: State, list_id: int, moment: int) -> int:
    """Returns an id below which are all runs of the list that ended before the moment: the others need no look."""
    ended = "SELECT max(id) FROM runs WHERE list_id = ? AND coalesce(finished_at, started_at) < ?"
    return int(state.value(ended, [list_id, text(moment)]) or 0) + 1


def _note(state: State, key: str, value: object) -> None:
    state.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", [key, value])


def _delete_runs(state: State, query: str, parameters: list[object], limit: int) -> int:
    gone = 0
    while gone < limit:
        ids = [row[0] for row in state.rows(f"{query} ORDER BY id LIMIT {RUNS_PER_TRANSACTION}", parameters)]
        if not ids:
            break
        marks = ", ".join("?" * len(ids))
        with state.transaction():
            state.write(f"DELETE FROM windows WHERE run_id IN ({marks})", ids)  # noqa: S608 - marks alone
            state.write(f"DELETE FROM runs WHERE id IN ({marks})", ids)  # noqa: S608 - as above
        gone += len(ids)
    return gone
