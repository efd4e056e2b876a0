"""Stores the windows of runs: planned with their run, recorded page by page."""

from __future__ import annotations

from collections.abc import Iterable

from mcimport.models import Outcome, Window
from mcimport.models.records import WindowRow
from mcimport.state.database import State
from mcimport.state.row_mapping import bounds_text, now, read_all, text


def of_run(state: State, run_id: int) -> list[WindowRow]:
    return read_all(state, WindowRow, "SELECT * FROM windows WHERE run_id = ? ORDER BY number", [run_id])


def pending(state: State, run_id: int) -> list[Window]:
    return [row.window() for row in of_run(state, run_id) if row.status == "pending"]


def count_done(rows: Iterable[WindowRow]) -> int:
    return sum(row.status == "done" for row in rows)


def insert(state: State, run_id: int, window: Window) -> None:
    state.write(
        'INSERT INTO windows (run_id, number, sweep, "offset", count, since, until, through, page, bounds, letter_id,'
        " only_member, new_since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run_id,
            window.number,
            window.sweep,
            window.offset,
            window.count,
            text(window.since),
            text(window.until),
            text(window.through),
            window.page,
            bounds_text(window.bounds),
            window.letter_id,
            window.member_id,
            text(window.new_since),
        ],
    )


def advance(state: State, run_id: int, window: Window, outcome: Outcome) -> None:
    """Records a page in its window. A window is dead when any span of it is, whatever else of it was delivered."""
    rest = outcome.rest
    error = next((letter.reason for letter in outcome.letters if letter.kind == "window"), None)
    known = rest or window
    state.write(
        "UPDATE windows SET through = ?, page = ?, bounds = ?, attempts = attempts + 1, members = members + ?,"
        " pushed = pushed + ?, error = coalesce(?, error), begun_at = coalesce(begun_at, ?), seconds = seconds + ?,"
        " retries = retries + ?, waited_mailchimp = waited_mailchimp + ?, waited_ometria = waited_ometria + ?,"
        " waited_limiter = waited_limiter + ?, converting = converting + ? WHERE run_id = ? AND number = ?",
        [
            text(rest.through if rest else window.until),
            known.page,
            bounds_text(known.bounds),
            outcome.members,
            outcome.pushed,
            error,
            text(outcome.began),
            outcome.seconds,
            outcome.costs.mailchimp_retries + outcome.costs.ometria_retries,
            outcome.costs.waited_mailchimp,
            outcome.costs.waited_ometria,
            outcome.costs.waited_limiter,
            outcome.costs.converting,
            run_id,
            window.number,
        ],
    )
    if rest is None:
        state.write(
            "UPDATE windows SET status = CASE WHEN error IS NULL THEN 'done' ELSE 'dead' END, finished_at = ?"
            " WHERE run_id = ? AND number = ?",
            [now(), run_id, window.number],
        )
