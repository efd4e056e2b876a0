"""Stores dead letters: time ranges that could not be read, members that could not be sent; replayed and closed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from msgspec.structs import replace

from mcimport.models import CANNOT, NewDeadLetter, Outcome
from mcimport.models.records import DeadLetter, LettersOfRun, Run
from mcimport.state.database import State
from mcimport.state.row_mapping import columns_of, find_all, find_first, now, read, text

# Seconds until a refused member is retried, doubled each time; just under an hour, for an hourly sync.
REFUSED_RETRY_AFTER = 3_000
MAX_DOUBLINGS = 7  # after that, once in four and a half days
MAX_REFUSED_RETRIED = 100  # refused members that one sync retries
UNREAD_SINCE_DISCARDED = (
    "status = 'discarded' AND NOT EXISTS (SELECT 1 FROM runs AS later WHERE later.list_id = dead_letters.list_id"
    " AND later.kind = 'full' AND later.status = 'completed' AND later.id > dead_letters.run_id)"
)  # discarded, and not read again by a completed full run since
MAX_FAILED_RETRIES = 10  # syncs in which a dead letter may fail again while others succeed, until a person must look

_COPIED_COLUMNS = ("since", "until", "reason", "attempts", "members", "precision", "list_members")


def find(state: State, letter_id: int) -> DeadLetter | None:
    return find_first(state, DeadLetter, "id = ?", [letter_id])


def search(
    state: State, *, status: str | None = "open", clients: Sequence[str] = (), limit: int = 1000
) -> list[DeadLetter]:
    """Returns dead letters of all lists and destinations, the oldest first; of all clients where none is named."""
    where = "(? IS NULL OR status = ?)"
    if clients:
        where += f" AND client IN ({', '.join('?' for _ in clients)})"
    return find_all(state, DeadLetter, f"{where} ORDER BY id LIMIT ?", [status, status, *clients, limit])


def in_range(state: State, first: int, last: int, status: str | None = None) -> list[DeadLetter]:
    """Returns the dead letters with ids from `first` to `last`, both included; of any status, where none is named."""
    where = "id BETWEEN ? AND ? AND (? IS NULL OR status = ?) ORDER BY id"
    return find_all(state, DeadLetter, where, [first, last, status, status])


def open_for_list(state: State, list_id: int) -> list[DeadLetter]:
    return find_all(state, DeadLetter, "list_id = ? AND status = 'open' ORDER BY id", [list_id])


def count_open(state: State, list_id: int) -> int:
    return int(state.value("SELECT count(*) FROM dead_letters WHERE list_id = ? AND status = 'open'", [list_id]))


def due_for_retry(state: State, list_id: int) -> list[DeadLetter]:
    """Returns open dead letters that the next sync may fix by itself: spans of an outage, and refused members.

    Of refused members the opt-outs come first, and each is retried less and less often, for most refusals are about
    the record itself; members that a bug of mcimport left are retried every time, for an upgrade fixes it.
    """
    outage = (
        "list_id = ? AND status = 'open' AND kind = 'window' AND cause = 'transport' AND taken_along < ? ORDER BY id"
    )
    spans = find_all(state, DeadLetter, outage, [list_id, MAX_FAILED_RETRIES])
    members = state.rows(
        "SELECT * FROM dead_letters WHERE list_id = ? AND status = 'open' AND kind = 'contact'"
        " AND (reason LIKE 'Ometria %' OR reason LIKE ?) ORDER BY is_no DESC, updated_at, id",
        [list_id, f"{CANNOT}%"],
    )
    due = (letter for row in members if _is_due(letter := read(DeadLetter, row)))
    return [*spans, *islice(due, MAX_REFUSED_RETRIED)]


def _is_due(letter: DeadLetter) -> bool:
    wait = REFUSED_RETRY_AFTER * 2 ** min(letter.attempts - 1, MAX_DOUBLINGS)
    return letter.reason.startswith(CANNOT) or time.time() >= letter.updated_at + wait


def members_with_open(state: State, list_id: int) -> frozenset[str]:
    """Returns the ids of members with an open dead letter, which closes as soon as they are delivered."""
    return frozenset(letter.member_id for letter in open_for_list(state, list_id) if letter.member_id is not None)


def open_from_run(state: State, run_id: int) -> list[DeadLetter]:
    """Returns the dead letters that are open because of this run: new ones, and those that failed again in it."""
    return find_all(state, DeadLetter, "run_id = ? AND status = 'open' ORDER BY id", [run_id])


def written_by(state: State, run_id: int) -> list[LettersOfRun]:
    """Returns how many dead letters the run wrote, by what has become of them since; open ones come first."""
    found = state.rows(
        "SELECT status, count(*) AS number, max(updated_at) AS updated_at, replayed_in FROM dead_letters"
        " LEFT JOIN (SELECT letter_id, max(run_id) AS replayed_in FROM windows"
        " WHERE run_id > ? AND letter_id IS NOT NULL GROUP BY letter_id) ON letter_id = id AND status = 'replayed'"
        " WHERE first_run_id = ? GROUP BY status, replayed_in ORDER BY status != 'open', replayed_in IS NULL, status",
        [run_id, run_id],
    )
    return [read(LettersOfRun, row) for row in found]


def unread_since_discarded(state: State, list_id: int) -> list[DeadLetter]:
    """Returns the discarded dead letters of a list that no completed full run has read again since."""
    return find_all(state, DeadLetter, f"list_id = ? AND {UNREAD_SINCE_DISCARDED}", [list_id])


def close(state: State, status: Literal["discarded", "gone"], letter_ids: Sequence[int]) -> None:
    """Closes dead letters as discarded, or as gone: their members are not on the list any more."""
    with state.transaction():
        for letter_id in letter_ids:
            _close(state, status, "id = ?", [letter_id])


def record(state: State, run: Run, outcome: Outcome) -> None:
    """Records an outcome's new dead letters and closes those that it settles, in the outcome's transaction."""
    for new in outcome.letters:
        _record_new(state, run, outcome, new)
    for member_id in outcome.delivered:
        _close(state, "replayed", "list_id = ? AND member_id = ?", [run.list_id, member_id])
    if outcome.letter_id is not None and outcome.rest is None:
        _end_replay(state, run, outcome, outcome.letter_id)


def delete_windows_of(state: State, run: Run) -> None:
    """Deletes the dead letters that a run wrote for its own windows, inside a transaction; the windows are retried."""
    state.write(
        "DELETE FROM dead_letters WHERE first_run_id = ? AND kind = 'window' AND status = 'open' AND replay_of IS NULL",
        [run.id],
    )


def close_covered(state: State, run: Run) -> None:
    """Closes dead letters of spans that failed before a full run: it has read them again. In the run's transaction.

    Those that failed in the run stay open, even when a replay has tried them since.
    """
    where = "list_id = ? AND first_run_id < ? AND kind = 'window' AND until <= ?"
    _close(state, "replayed", where, [run.list_id, run.id, text(run.until)])


def count_failed_retries(state: State, run: Run) -> None:
    """Counts a retry of dead letters that failed again in a run that pushed contacts, in the run's transaction."""
    if run.contacts_pushed:
        state.write(
            "UPDATE dead_letters SET taken_along = taken_along + 1 WHERE status = 'open' AND id IN"
            " (SELECT letter_id FROM windows WHERE run_id = ? AND status = 'dead')",
            [run.id],
        )


def _record_new(state: State, run: Run, outcome: Outcome, new: NewDeadLetter) -> None:
    replayed = find(state, outcome.letter_id) if outcome.letter_id is not None else None
    if new.kind == "contact":
        failed = _open_for_contact(state, run.list_id, new)
    elif replayed and (outcome.member_id or (replayed.since, replayed.until) == (new.since, new.until)):
        failed = [replayed.id]
    else:
        failed = []
    for letter_id in failed:
        _fail_again(state, run, letter_id, new)
    if not failed:
        _insert(state, run, outcome, new, replayed)


def _open_for_contact(state: State, list_id: int, new: NewDeadLetter) -> list[int]:
    """Returns the same contact's open dead letters: by the member's id, or the second of `last_changed` without one."""
    where, value = "member_id = ?", new.member_id
    if new.member_id is None:
        where, value = "kind = 'contact' AND member_id IS NULL AND until IS ?", text(new.until)
    query = f"SELECT id FROM dead_letters WHERE list_id = ? AND status = 'open' AND {where}"  # noqa: S608 - fixed texts
    return [row["id"] for row in state.rows(query, [list_id, value])]


def _fail_again(state: State, run: Run, letter_id: int, new: NewDeadLetter) -> None:
    changes: dict[str, object] = {"reason": new.reason, "run_id": run.id, "updated_at": now()}
    if new.kind == "contact":
        changes |= {"since": text(new.since), "until": text(new.until), "sweep": new.sweep}
    if new.members is not None:
        changes |= {"members": new.members, "precision": new.precision}
    state.update("dead_letters", letter_id, **changes)
    state.add("dead_letters", letter_id, attempts=1)


def _counted(state: State, run: Run, outcome: Outcome, new: NewDeadLetter) -> NewDeadLetter:
    """Returns it with the number of its members; if none of them was seen, with what the plan says of its window."""
    window = outcome.window
    is_whole_rest = window is not None and (new.since, new.until) == (window.start, window.until)
    if new.members is not None or window is None or window.letter_id is not None or not is_whole_rest:
        return new
    left = state.value("SELECT count - members FROM windows WHERE run_id = ? AND number = ?", [run.id, window.number])
    return replace(new, members=left if left is not None and left > 0 else None, precision="about")


def _list_member_count(state: State, list_id: int) -> int | None:
    """Returns how many members the list had when a full run last counted them."""
    members: int | None = state.value(
        "SELECT members_total FROM runs WHERE list_id = ? AND kind = 'full' AND until IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        [list_id],
    )
    return members or None


def _insert(state: State, run: Run, outcome: Outcome, new: NewDeadLetter, replayed: DeadLetter | None) -> None:
    old = replayed if new.kind == "window" else None
    state.insert(
        "dead_letters",
        **columns_of(_counted(state, run, outcome, new)),
        list_id=run.list_id,
        run_id=run.id,
        first_run_id=replayed.first_run_id if replayed else run.id,
        client=run.client,
        list_key=run.list_key,
        attempts=old.attempts + 1 if old else 1,
        created_at=text(old.created_at) if old else now(),
        updated_at=now(),
        replay_of=old.id if old else None,
        list_members=_list_member_count(state, run.list_id),
    )


def _end_replay(state: State, run: Run, outcome: Outcome, letter_id: int) -> None:
    """Closes a replayed dead letter, unless all of its window failed again (then its `run_id` is this run's).

    Narrower spans that failed within it have dead letters of their own; the first of them takes over its id.
    """
    letter = find(state, letter_id)
    if letter is None or letter.status != "open":
        return
    if outcome.gone or (outcome.member_id is not None and letter.run_id != run.id):
        _close(state, "gone", "id = ?", [letter_id])
        return
    narrower = state.row(
        "SELECT * FROM dead_letters WHERE replay_of = ? AND run_id = ? AND status = 'open' ORDER BY id LIMIT 1",
        [letter_id, run.id],
    )
    if narrower is not None:
        state.write("DELETE FROM dead_letters WHERE id = ?", [narrower["id"]])
        copied = {name: narrower[name] for name in _COPIED_COLUMNS}
        state.update("dead_letters", letter_id, **copied, run_id=run.id, updated_at=now())
    elif letter.run_id != run.id:
        _close(state, "replayed", "id = ?", [letter_id])


def _close(state: State, status: str, where: str, parameters: Sequence[object]) -> None:
    state.write(
        f"UPDATE dead_letters SET status = ?, updated_at = ? WHERE status = 'open' AND {where}",  # noqa: S608 - fixed texts
        [status, now(), *parameters],
    )
