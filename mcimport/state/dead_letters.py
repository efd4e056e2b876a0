"""Dead letters: what could not be read, and who could not be sent; opened, replayed, closed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice

from mcimport.models import CANNOT, NewDeadLetter, Outcome, Precision
from mcimport.models.records import DeadLetter, Run
from mcimport.state.database import State
from mcimport.state.row_mapping import read, text

REFUSED_AGAIN = 3_000  # seconds until a refused member is tried again; each time twice as long: an hourly sync fits in
MOST_DOUBLED = 7  # times; then once in four days and a half
MOST_REFUSED = 100  # members who were refused, in one sync
LOST = (
    "status = 'discarded' AND NOT EXISTS (SELECT 1 FROM runs AS later WHERE later.list_id = dead_letters.list_id"
    " AND later.kind = 'full' AND later.status = 'completed' AND later.id > dead_letters.run_id)"
)  # discarded, and not read again since by a full run that completed
MOST_TAKEN_ALONG = 10  # syncs in which a letter may fail again, though others got through, before a person must look

_TAKEN_OVER = ("since", "until", "reason", "attempts", "members", "precision", "list_members")


def find(state: State, letter_id: int) -> DeadLetter | None:
    row = state.row("SELECT * FROM dead_letters WHERE id = ?", [letter_id])
    return read(DeadLetter, row) if row else None


def everything(
    state: State, *, status: str | None = "open", clients: Sequence[str] = (), most: int = 1000
) -> list[DeadLetter]:
    """Letters of all lists and destinations, the oldest first; of all clients where none is named."""
    where = "(? IS NULL OR status = ?)"
    if clients:
        where += f" AND client IN ({', '.join('?' for _ in clients)})"
    rows = state.rows(
        f"SELECT * FROM dead_letters WHERE {where} ORDER BY id LIMIT ?",  # noqa: S608 - fixed text and marks
        [status, status, *clients, most],
    )
    return [read(DeadLetter, row) for row in rows]


def open_of(state: State, list_id: int) -> list[DeadLetter]:
    rows = state.rows("SELECT * FROM dead_letters WHERE list_id = ? AND status = 'open' ORDER BY id", [list_id])
    return [read(DeadLetter, row) for row in rows]


def count_open(state: State, list_id: int) -> int:
    return int(state.value("SELECT count(*) FROM dead_letters WHERE list_id = ? AND status = 'open'", [list_id]))


def due_for_retry(state: State, list_id: int) -> list[DeadLetter]:
    """Open letters that the next sync may mend by itself: spans that an outage left, and members who were refused.

    Of these the opt-outs first, each ever more seldom, for most refusals are of what the record holds; those whom a
    mistake of ours left every time, for an upgrade mends it.
    """
    spans = state.rows(
        "SELECT * FROM dead_letters WHERE list_id = ? AND status = 'open' AND kind = 'window' AND cause = 'transport'"
        " AND taken_along < ? ORDER BY id",
        [list_id, MOST_TAKEN_ALONG],
    )
    members = state.rows(
        "SELECT * FROM dead_letters WHERE list_id = ? AND status = 'open' AND kind = 'contact'"
        " AND (reason LIKE 'Ometria %' OR reason LIKE ?) ORDER BY is_no DESC, updated_at, id",
        [list_id, f"{CANNOT}%"],
    )
    due = (letter for row in members if _is_due(letter := read(DeadLetter, row)))
    return [*(read(DeadLetter, row) for row in spans), *islice(due, MOST_REFUSED)]


def _is_due(letter: DeadLetter) -> bool:
    wait = REFUSED_AGAIN * 2 ** min(letter.attempts - 1, MOST_DOUBLED)
    return letter.reason.startswith(CANNOT) or time.time() >= letter.updated_at + wait


def watched(state: State, list_id: int) -> frozenset[str]:
    """Members who have an open letter: whoever of them is delivered closes it."""
    rows = state.rows(
        "SELECT member_id FROM dead_letters WHERE list_id = ? AND status = 'open' AND member_id IS NOT NULL", [list_id]
    )
    return frozenset(row[0] for row in rows)


def written_by(state: State, run_id: int) -> list[DeadLetter]:
    """The letters that are open because of this run: new ones, and those that failed again in it."""
    rows = state.rows("SELECT * FROM dead_letters WHERE run_id = ? AND status = 'open' ORDER BY id", [run_id])
    return [read(DeadLetter, row) for row in rows]


def lost(state: State, list_id: int) -> list[DeadLetter]:
    """Letters of a list that were discarded, and that no full run has made good since."""
    rows = state.rows(f"SELECT * FROM dead_letters WHERE list_id = ? AND {LOST}", [list_id])  # noqa: S608 - fixed texts
    return [read(DeadLetter, row) for row in rows]


def discard(state: State, letter_ids: Sequence[int]) -> None:
    with state.transaction():
        for letter_id in letter_ids:
            _close(state, "discarded", "id = ?", [letter_id])


def close_gone(state: State, letter_ids: Sequence[int]) -> None:
    """Closes letters that name nobody whom their list carries."""
    with state.transaction():
        for letter_id in letter_ids:
            _close(state, "gone", "id = ?", [letter_id])


def take(state: State, run: Run, outcome: Outcome) -> None:
    """Inside the transaction that records an outcome: its new letters, and the old ones that it closes."""
    for new in outcome.letters:
        _take_new(state, run, outcome, new)
    for member_id in outcome.delivered:
        _close(state, "replayed", "list_id = ? AND member_id = ?", [run.list_id, member_id])
    if outcome.letter_id is not None and outcome.rest is None:
        _end_replay(state, run, outcome, outcome.letter_id)


def take_back(state: State, run: Run) -> None:
    """Inside a transaction: what this run wrote of its own windows is to be tried again instead."""
    state.write(
        "DELETE FROM dead_letters WHERE first_run_id = ? AND kind = 'window' AND status = 'open' AND replay_of IS NULL",
        [run.id],
    )


def close_covered(state: State, run: Run) -> None:
    """A full run that completed has read everything anew: spans that failed before it began say nothing any more.

    Those that failed in it stay, also when a replay has tried them since.
    """
    with state.transaction():
        _close(
            state,
            "replayed",
            "list_id = ? AND first_run_id < ? AND kind = 'window' AND until <= ?",
            [run.list_id, run.id, text(run.until)],
        )


def count_taken_along(state: State, run: Run) -> None:
    """Inside the transaction that ends a run: a letter that failed again though others got through has used a try."""
    if run.contacts_pushed:
        state.write(
            "UPDATE dead_letters SET taken_along = taken_along + 1 WHERE status = 'open' AND id IN"
            " (SELECT letter_id FROM windows WHERE run_id = ? AND status = 'dead')",
            [run.id],
        )


def _take_new(state: State, run: Run, outcome: Outcome, new: NewDeadLetter) -> None:
    replayed = outcome.letter_id
    if replayed is not None and (new.kind == "window") and (outcome.member_id or _same_span(state, replayed, new)):
        _fail_again(state, run, new, "id = ?", [replayed])
    elif new.kind == "contact" and _open_letter_of(state, run.list_id, new):
        where, parameters = _contact_key(run.list_id, new)
        _fail_again(state, run, new, where, parameters, moved=True)
    else:
        _insert(state, run, outcome, new)


def _same_span(state: State, letter_id: int, new: NewDeadLetter) -> bool:
    letter = find(state, letter_id)
    return letter is not None and (letter.since, letter.until) == (new.since, new.until)


def _contact_key(list_id: int, new: NewDeadLetter) -> tuple[str, list[object]]:
    """What makes two contact letters the same: the member; for one without any id, the second."""
    if new.member_id is not None:
        return "list_id = ? AND status = 'open' AND member_id = ?", [list_id, new.member_id]
    where = "list_id = ? AND status = 'open' AND kind = 'contact' AND member_id IS NULL AND until IS ?"
    return where, [list_id, text(new.until)]


def _open_letter_of(state: State, list_id: int, new: NewDeadLetter) -> bool:
    where, parameters = _contact_key(list_id, new)
    return bool(state.value(f"SELECT 1 FROM dead_letters WHERE {where}", parameters))  # noqa: S608 - fixed texts


def _fail_again(
    state: State, run: Run, new: NewDeadLetter, where: str, parameters: Sequence[object], *, moved: bool = False
) -> None:
    also = ", since = ?, until = ?, sweep = ?" if moved else ""
    values: list[object] = [text(new.since), text(new.until), new.sweep] if moved else []
    if new.members is not None:
        also += ", members = ?, precision = ?"
        values += [new.members, new.precision]
    state.write(
        f"UPDATE dead_letters SET attempts = attempts + 1, reason = ?, run_id = ?, updated_at = ?{also} WHERE {where}",  # noqa: S608 - fixed texts
        [new.reason, run.id, _now(), *values, *parameters],
    )


def _members(state: State, run: Run, outcome: Outcome, new: NewDeadLetter) -> tuple[int | None, Precision]:
    """How many a letter is about. Where nothing of it was seen: as many as its window held by the plan."""
    window = outcome.window
    is_whole_rest = window is not None and (new.since, new.until) == (window.start, window.until)
    if new.members is not None or window is None or window.letter_id is not None or not is_whole_rest:
        return new.members, new.precision
    left = state.value("SELECT count - members FROM windows WHERE run_id = ? AND number = ?", [run.id, window.number])
    return (left if left is not None and left > 0 else None), "about"


def _list_members(state: State, list_id: int) -> int | None:
    """How many members the list had when a full run last counted them."""
    members: int | None = state.value(
        "SELECT members_total FROM runs WHERE list_id = ? AND kind = 'full' AND until IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        [list_id],
    )
    return members or None


def _insert(state: State, run: Run, outcome: Outcome, new: NewDeadLetter) -> None:
    replay_of = outcome.letter_id
    replayed = find(state, replay_of) if replay_of is not None else None
    old = replayed if new.kind == "window" else None
    state.write(
        "INSERT INTO dead_letters (list_id, run_id, first_run_id, client, list_key, kind, cause, sweep, since, until,"
        " member_id, reason, attempts, created_at, updated_at, replay_of, is_no, members, precision, list_members)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run.list_id,
            run.id,
            replayed.first_run_id if replayed else run.id,
            run.client,
            run.list_key,
            new.kind,
            new.cause,
            new.sweep,
            text(new.since),
            text(new.until),
            new.member_id,
            new.reason,
            old.attempts + 1 if old else 1,
            text(old.created_at) if old else _now(),
            _now(),
            old.id if old else None,
            int(new.is_no),
            *_members(state, run, outcome, new),
            _list_members(state, run.list_id),
        ],
    )


def _end_replay(state: State, run: Run, outcome: Outcome, letter_id: int) -> None:
    """The letter's window is over: closed, unless the whole of it failed again (then `run_id` is this run's).

    Narrower spans that failed within it are letters of their own by now; the first of them takes over its id.
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
        state.write(
            "UPDATE dead_letters SET since = ?, until = ?, reason = ?, attempts = ?, members = ?, precision = ?,"
            " list_members = ?, run_id = ?, updated_at = ? WHERE id = ?",
            [*(narrower[name] for name in _TAKEN_OVER), run.id, _now(), letter_id],
        )
    elif letter.run_id != run.id:
        _close(state, "replayed", "id = ?", [letter_id])


def _close(state: State, status: str, where: str, parameters: Sequence[object]) -> None:
    state.write(
        f"UPDATE dead_letters SET status = ?, updated_at = ? WHERE status = 'open' AND {where}",  # noqa: S608 - fixed texts
        [status, _now(), *parameters],
    )


def _now() -> str:
    return str(text(int(time.time())))
