"""Stores the windows of runs: planned with their run, recorded page by page."""

from __future__ import annotations

from collections.abc import Iterable

from mcimport.models import Bounds, Outcome, Window
from mcimport.models.records import WindowRow
from mcimport.state.database import State
from mcimport.state.row_mapping import columns_of, find_all, now, text


def of_run(state: State, run_id: int) -> list[WindowRow]:
    return find_all(state, WindowRow, "run_id = ? ORDER BY number", [run_id])


def pending(state: State, run_id: int) -> list[Window]:
    return [row.window() for row in of_run(state, run_id) if row.status == "pending"]


def count_done(rows: Iterable[WindowRow]) -> int:
    return sum(row.status == "done" for row in rows)


def insert(state: State, run_id: int, window: Window) -> None:
    columns = columns_of(window) | {"bounds": _bounds_text(window.bounds)}
    del columns["suspect_count"]  # a run that is resumed looks for it again
    state.insert("windows", run_id=run_id, only_member=columns.pop("member_id"), **columns)


def advance(state: State, run_id: int, window: Window, outcome: Outcome) -> None:
    """Records a page in its window. A window is dead when any span of it is, whatever else of it was delivered."""
    rest = outcome.rest
    error = next((letter.reason for letter in outcome.letters if letter.kind == "window"), None)
    known = rest or window
    state.write(
        "UPDATE windows SET through = ?, page = ?, bounds = ?, attempts = attempts + 1, members = members + ?,"
        " pushed = pushed + ?, error = coalesce(?, error), begun_at = coalesce(begun_at, ?), seconds = seconds + ?,"
        " retries = retries + ?, waited_mailchimp = waited_mailchimp + ?, waited_ometria = waited_ometria + ?,"
        " waited_limiter = waited_limiter + ?, converting = converting + ?, finished_at = ?,"
        " status = CASE WHEN ? THEN status WHEN coalesce(?, error) IS NULL THEN 'done' ELSE 'dead' END"
        " WHERE run_id = ? AND number = ?",
        [
            text(rest.through if rest else window.until),
            known.page,
            _bounds_text(known.bounds),
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
            None if rest else now(),
            rest is not None,
            error,
            run_id,
            window.number,
        ],
    )


def bounds_seen(state: State, run_id: int) -> Bounds:
    """Returns what the pages of a run have shown of the API's bounds."""
    seen = {
        name
        for (texts,) in state.rows("SELECT DISTINCT bounds FROM windows WHERE run_id = ?", [run_id])
        for name in texts.split(",")
    }
    return Bounds("since" in seen, "before" in seen)


def _bounds_text(bounds: Bounds) -> str:
    """Returns the learned bounds as the column `bounds` of a window has them: "", "since", "before", "since,before"."""
    names = (("since", bounds.since_includes), ("before", bounds.before_includes))
    return ",".join(name for name, learned in names if learned)
