"""Finds trouble with a list, by kind: the webhook is notified of the beginning and the end of each kind by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from mcimport.errors import BusyError, InterruptedRunError
from mcimport.models.records import ListRow, Run
from mcimport.models.results import Comparison, ListResult
from mcimport.monitoring.overdue import ListAge
from mcimport.report.format import moment_utc, pluralize
from mcimport.report.reconcile_summary import list_command, missing_text, numbers, verdict
from mcimport.report.summary import dead_letter_count, unnamed
from mcimport.state import lists

# "reconcile_failed": a sync that goes well does not make up for a comparison that failed, nor the other way round.
Kind = Literal["failed", "reconcile_failed", "dead_letters", "differ", "spot_check", "overdue"]

_COUNTED = ("missing", "stale", "gone", "not_taken", "unclear", "unread")  # ways to differ, of which a count is kept


class Trouble(Struct, frozen=True):
    """Holds one kind of trouble with one list.

    Attributes:
        words: what is wrong, for people, to whom the client is named beside it.
        reasons: a notification is sent when these change, apart from the numbers in them.
        next: what to do about it; may be empty.
        since: when it began, seconds, UTC; None: when it was seen.
    """

    kind: Kind
    words: str
    reasons: tuple[str, ...]
    next: str = ""
    since: int | None = None


def of_result(result: ListResult) -> Iterator[Trouble]:
    """Yields the trouble with a list after a call.

    None when another mcimport was running for the client or the call was stopped: the next call resumes the work.
    """
    error, compared, checked = result.error, result.comparison, result.spot_check
    if error is not None and not isinstance(error, BusyError | InterruptedRunError):
        kind = failing_kind(result.runs[-1]) if result.runs else "failed"
        hint = error.hint or "`mcimport status` and `mcimport check` show more."
        yield Trouble(kind, unnamed(result), (str(error),), hint)
    if result.dead_letters:
        hint = "`mcimport dlq list` shows them, `mcimport dlq replay` tries again."
        yield Trouble("dead_letters", dead_letter_count(result), result.affected.reasons, hint)
    if compared is not None and compared.left > 0:
        hint = _next_step(result.list_key, compared)
        yield Trouble("differ", _differences_text(compared), _kinds_of_difference(compared), hint)
    if checked is not None and checked.missing:
        words, reasons = missing_text(checked, int(time.time())), ("Ometria does not hold what it accepted",)
        yield Trouble("spot_check", words, reasons, f"{list_command(result.list_key)}.")


def of_last_comparison(row: ListRow) -> Iterator[Trouble]:
    """Yields the differences that the last comparison of a list left, from its counts alone."""
    counts = lists.reconciled(row)
    if counts.get("left") and row.reconciled_at is not None:
        kinds = tuple(name for name in _COUNTED if counts.get(name))
        found = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in kinds)
        words = f"both sides differed at the last comparison ({moment_utc(row.reconciled_at)}): {found}"
        yield Trouble("differ", words, kinds, f"`mcimport reconcile {row.list_key}` compares them again.")


def failing_kind(run: Run) -> Kind:
    """Returns the kind of trouble that such a run begins when it fails, and ends when it completes."""
    return "reconcile_failed" if run.kind == "reconcile" else "failed"


def of_age(age: ListAge, result: ListResult) -> Trouble:
    """Returns the trouble with an overdue list."""
    # Pages may have been pushed since, because a run moves the sync point at its end.
    words = f"the sync point has not moved since {moment_utc(age.since)}"
    if age.sync_point is None:
        words = "no sync of the list to its current Ometria account was ever completed"
    why = f": {unnamed(result)}" if result.error is not None else ""
    hint = f"Does cron still run it? `mcimport status` shows more; `mcimport sync {age.list_key}` imports it now."
    return Trouble("overdue", f"{words}{why}", ("overdue",), hint, age.overdue_at)


def _differences_text(found: Comparison) -> str:
    kinds = f"{found.missing.count:,} missing, {found.stale.count:,} stale, {found.gone.count:,} gone"
    unread = f"; {pluralize(len(found.unread), 'time range')} could not be read" if found.unread else ""
    refused = f", {found.not_taken.count:,} pushed without effect" if found.not_taken.count else ""
    return f"{verdict(found)}: {kinds}; {found.mended:,} fixed{refused}{unread}"


def _next_step(list_key: str, found: Comparison) -> str:
    command = f"mcimport reconcile {list_key}"
    if found.not_taken.count:
        return f"`{command} --mend` tries again, and shows Ometria's latest errors."
    return f"`{command}` reads them again." if found.is_only_unread else f"`{command} --mend` fixes them."


def _kinds_of_difference(found: Comparison) -> tuple[str, ...]:
    """Returns the ways in which both sides differ."""
    said_no = ["said_no"] if found.is_opting_in else []
    differing = [] if found.is_only_unread else ["missing", "stale", "gone", "not_taken", *said_no]
    counts = numbers(found)
    return tuple(kind for kind in (*differing, "unclear", "unread") if counts[kind])
