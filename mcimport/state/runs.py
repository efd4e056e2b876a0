"""Stores runs: begun, planned, recorded page by page, and finished."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from mcimport.models import SWEEPS, Outcome, RunKind, RunStatus, Sweep, Usage, Window
from mcimport.models.records import ListRow, Origin, Run
from mcimport.models.timestamps import epoch
from mcimport.state import dead_letters, lists, run_windows, spot_checks
from mcimport.state.database import State
from mcimport.state.row_mapping import find_all, find_first, now, read, text

NO_USAGE = Usage()


def begin(state: State, row: ListRow, kind: RunKind, since: int | None, *, moves_sync_point: bool) -> int:
    """Inserts a new run, without windows yet; returns its id."""
    return state.write(
        "INSERT INTO runs (list_id, client, list_key, kind, since, status, started_at, moves_sync_point)"
        " VALUES (?, ?, ?, ?, ?, 'running', ?, ?)",
        [row.id, row.client, row.list_key, kind, text(since), now(), moves_sync_point],
    )


def plan(
    state: State,
    run_id: int,
    until: int | None,
    total: int,
    windows: Sequence[Window],
    *,
    instead_of: Run | None = None,
    mapping: str | None = None,
) -> None:
    """Writes all windows of a run in one transaction: from here on it can be resumed.

    `instead_of`: an unfinished run whose spans this one reads as well; it is abandoned in the same transaction.
    `mapping`: a digest of the mapping that all members get from this run on; None: that of earlier runs still holds.
    """
    with state.transaction():
        if instead_of is not None:
            state.update("runs", instead_of.id, status="abandoned")
        state.update("runs", run_id, until=text(until), members_total=total, windows_total=len(windows))
        if mapping is not None:
            state.update("lists", get(state, run_id).list_id, mapping=mapping)
        for window in windows:
            run_windows.insert(state, run_id, window)


def record(
    state: State,
    run_id: int,
    outcome: Outcome,
    usage: Usage = NO_USAGE,
    *,
    keeps_letters: bool = True,
    sample_size: int = 0,
) -> None:
    """Records one page in one transaction: the progress of its window, counts and dead letters.

    `usage`: requests and seconds of the run since the last call.
    `keeps_letters`: False where the dead letters only say why a window is dead.
    `sample_size`: how many of the pushed contacts are kept for a spot check.
    """
    with state.transaction():
        if outcome.window is not None:
            run_windows.advance(state, run_id, outcome.window, outcome)
        if outcome.rest is None:
            dead = state.value("SELECT count(*) FROM windows WHERE run_id = ? AND status = 'dead'", [run_id])
            state.update("runs", run_id, windows_dead=dead)
        state.add(
            "runs",
            run_id,
            **asdict(usage),
            members_read=outcome.members,
            members_skipped=outcome.skipped,
            contacts_pushed=outcome.pushed,
            contacts_rejected=outcome.rejected,
            opt_ins=outcome.optins,
            opt_outs=outcome.optouts,
            subscription_events=outcome.events,
        )
        done = get(state, run_id)
        if keeps_letters:
            dead_letters.record(state, done, outcome)
        lists.record_seen(state, done.list_id, outcome)
        spot_checks.record_pushed(state, done, outcome.sample, sample_size)
        if outcome.pushed:
            lists.record_accepted(state, done)


def finish(
    state: State,
    run_id: int,
    status: RunStatus,
    error: str | None = None,
    *,
    usage: Usage = NO_USAGE,
    is_silenced: bool = False,
    is_accepted: bool = False,
) -> Run:
    """Finishes a run; a completed one moves the sync point, if it may.

    The sync point does not move beyond the start of the run by this machine's clock: the `Date` of the service may be
    ahead of the clock that dates changes, and the earlier of two clocks only costs reading some members twice.

    `usage`: as in `record`.
    `is_silenced`: subscription events were kept back; neither the next run's overlap nor its dead letters cause them.
    `is_accepted`: members who opt in from its start on are new, though it pushed no contact.
    """
    with state.transaction():
        state.add("runs", run_id, **asdict(usage))
        state.update("runs", run_id, status=status, finished_at=now(), error=error)
        done = get(state, run_id)
        if status == "completed":
            dead_letters.count_failed_retries(state, done)
            lists.record_imported_since(state, done)
        # Where there was no member that Ometria could have accepted, all who join later are new.
        had_none = status == "completed" and done.moves_sync_point and not dead_letters.count_open(state, done.list_id)
        if is_accepted or had_none:
            lists.record_accepted(state, done)
        if is_silenced and done.until is not None:
            lists.advance_new_since(state, done.list_id, done.until + 1)
        if status == "completed" and done.moves_sync_point and done.until is not None:
            for sweep in SWEEPS:
                lists.record_sweep(state, done.list_id, sweep, is_empty=_is_empty(state, done, sweep))
            lists.advance_sync_point(state, done.list_id, min(done.until, done.started_at))
        if status == "completed" and done.kind == "full":
            dead_letters.close_covered(state, done)
    return done


def _is_empty(state: State, done: Run, sweep: Sweep) -> bool:
    """Returns whether the sweep returned no members; False for a run that skipped all members on purpose."""
    if done.kind == "incremental" and done.since is None:
        return False
    query = "SELECT 1 FROM windows WHERE run_id = ? AND sweep = ? AND letter_id IS NULL LIMIT 1"
    return state.row(query, [done.id, sweep]) is None


def abandon(state: State, run_id: int) -> None:
    """Makes a run that cannot be trusted one that is not resumed."""
    state.update("runs", run_id, until=None)


def made_no_progress(state: State, run: Run) -> bool:
    """Returns whether all windows failed as a whole, and Ometria neither accepted nor refused a contact.

    A span that was narrowed shows that the services answered: it fails because of a member in it.
    """
    if run.contacts_pushed or run.contacts_rejected or not run.windows_dead:
        return False
    row = state.row(
        "SELECT count(*) AS own, total(status = 'dead' AND EXISTS"
        " (SELECT 1 FROM dead_letters AS letter WHERE letter.run_id = windows.run_id AND letter.sweep = windows.sweep"
        " AND letter.until = windows.until AND letter.since IS windows.since)) AS failed"
        " FROM windows WHERE run_id = ? AND letter_id IS NULL",
        [run.id],
    )
    return row is not None and 0 < row["own"] == row["failed"]


def reset_windows(state: State, run: Run) -> str:
    """Makes the run's windows pending again and deletes their dead letters; returns why they failed."""
    with state.transaction():
        reason = str(state.value("SELECT error FROM windows WHERE run_id = ? AND error IS NOT NULL", [run.id]))
        dead_letters.delete_windows_of(state, run)
        state.write(
            "UPDATE windows SET status = 'pending', through = NULL, error = NULL, finished_at = NULL"
            " WHERE run_id = ? AND letter_id IS NULL",
            [run.id],
        )
        state.update("runs", run.id, windows_dead=0)
    return reason


def reopen(state: State, run_id: int) -> None:
    state.update("runs", run_id, status="running", finished_at=None, error=None)


def unfinished(state: State, list_id: int) -> Run | None:
    """Returns the run of this list that was planned and neither completed nor abandoned; there is one at most."""
    open_ones = "status IN ('running', 'interrupted', 'failed') AND until IS NOT NULL"  # as the index `runs_unfinished`
    where = f"list_id = ? AND kind IN ('full', 'incremental') AND {open_ones} ORDER BY id DESC"
    return find_first(state, Run, where, [list_id])


def mark_interrupted(state: State, list_id: int) -> None:
    """Marks runs that a killed process left as running. The caller holds the client's lock."""
    running = "list_id = ? AND status = 'running'"
    state.write(f"UPDATE runs SET status = 'interrupted', finished_at = ? WHERE {running}", [now(), list_id])  # noqa: S608 - fixed text


def get(state: State, run_id: int) -> Run:
    (run,) = find_all(state, Run, "id = ?", [run_id])
    return run


def find(state: State, run_id: int) -> Run | None:
    return find_first(state, Run, "id = ?", [run_id])


def has_pushed(state: State, list_id: int, *, except_run: int = 0) -> bool:
    """Returns whether a run of the list, other than `except_run`, pushed contacts to its destination."""
    query = "SELECT 1 FROM runs WHERE list_id = ? AND contacts_pushed > 0 AND id != ? LIMIT 1"
    return bool(state.value(query, [list_id, except_run]))


def has_pushed_to_account(state: State, row: ListRow) -> bool:
    """Returns whether a run of any list pushed contacts to the Ometria account that this list goes to."""
    query = "SELECT 1 FROM runs JOIN lists ON lists.id = list_id WHERE destination = ? AND contacts_pushed > 0 LIMIT 1"
    return bool(state.value(query, [row.destination]))


def origin(state: State, run_id: int) -> Origin | None:
    """Returns what a dead letter's first run was about; None where it is not in the log any more."""
    row = state.row(
        "SELECT kind, since, until,"
        " (SELECT max(new_since) FROM windows WHERE run_id = runs.id AND letter_id IS NULL) AS new_since,"
        " (SELECT max(until) FROM runs AS earlier WHERE earlier.list_id = runs.list_id AND earlier.id < runs.id"
        " AND earlier.status = 'completed' AND earlier.moves_sync_point) AS sync_point"
        " FROM runs WHERE id = ?",
        [run_id],
    )
    return read(Origin, row) if row else None


def latest(state: State, *, list_id: int | None = None, clients: Sequence[str] = (), limit: int = 20) -> list[Run]:
    """Returns runs, the newest first; of all lists and clients where none is named."""
    where, parameters = ("list_id = ?", [list_id]) if list_id is not None else ("TRUE", [])
    if clients:
        where += f" AND client IN ({', '.join('?' for _ in clients)})"
    return find_all(state, Run, f"{where} ORDER BY id DESC LIMIT ?", [*parameters, *clients, limit])


def latest_sync_point(state: State, list_id: int, until: int) -> int | None:
    """Returns the last sync point up to `until` that was not ahead of this machine's clock either."""
    moment = state.value(
        "SELECT min(until, started_at) AS moment FROM runs WHERE list_id = ? AND status = 'completed'"
        " AND moves_sync_point AND moment <= ? ORDER BY id DESC LIMIT 1",
        [list_id, text(until)],
    )
    return epoch(moment)


def set_since(state: State, run_id: int, since: int) -> None:
    """Changes where a run that is not planned yet starts to read."""
    state.update("runs", run_id, since=text(since))


def first_started_at(state: State, list_id: int | None = None) -> int | None:
    """Returns when the oldest run of the list, or of all lists, that is still in the log began."""
    where, parameters = ("", []) if list_id is None else ("WHERE list_id = ?", [list_id])
    return epoch(state.value(f"SELECT started_at FROM runs {where} ORDER BY id LIMIT 1", parameters))  # noqa: S608 - fixed text


def last_success_at(state: State, list_id: int) -> int | None:
    """Returns when a run that moves the sync point last completed."""
    finished = "SELECT finished_at FROM runs WHERE list_id = ? AND status = 'completed' AND moves_sync_point"
    return epoch(state.value(f"{finished} ORDER BY id DESC LIMIT 1", [list_id]))
