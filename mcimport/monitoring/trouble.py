"""Finds trouble with a list, by kind: the webhook is notified of the beginning and the end of each kind by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mcimport.config import Client
from mcimport.errors import BusyError, InterruptedRunError
from mcimport.models.records import ListRow, Run
from mcimport.models.results import Comparison, ListResult
from mcimport.monitoring.overdue import ListAge
from mcimport.report.format import moment_utc, pluralize
from mcimport.report.reconcile_summary import verdict
from mcimport.report.spot_check import list_command, missing_text
from mcimport.report.summary import dead_letter_count
from mcimport.state import lists

# "reconcile_failed": a sync that goes well does not make up for a comparison that failed, nor the other way round.
Kind = Literal["failed", "reconcile_failed", "dead_letters", "differ", "spot_check", "overdue"]

_COUNTED = ("missing", "stale", "gone", "not_taken", "unclear", "unread")  # ways to differ, of which a count is kept


@dataclass(frozen=True, slots=True)
class Trouble:
    """Holds one kind of trouble with one list.

    Attributes:
        words: what is wrong, for people.
        reasons: a notification is sent when these change, apart from the numbers in them.
        next: what to do about it; may be empty.
        since: when it began, seconds, UTC; None: when it was seen.
    """

    kind: Kind
    words: str
    reasons: tuple[str, ...]
    next: str = ""
    since: int | None = None


def of_result(result: ListResult) -> list[Trouble]:
    """Returns the trouble with a list after a call.

    None when another mcimport was running for the client or the call was stopped: the next call resumes the work.
    """
    return [*_failure(result), *_letters(result), *_differences(result), *_spot_check(result)]


def of_last_comparison(row: ListRow) -> Trouble | None:
    """Returns the differences that the last comparison of a list left, from its counts alone; None without any."""
    counts = lists.reconciled(row)
    if not counts.get("left") or row.reconciled_at is None:
        return None
    kinds = tuple(name for name in _COUNTED if counts.get(name))
    found = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in kinds)
    words = f"both sides differed at the last comparison ({moment_utc(row.reconciled_at)}): {found}"
    return Trouble("differ", words, kinds, f"`mcimport reconcile {row.list_key}` compares them again.")


def failing_kind(run: Run) -> Kind:
    """Returns the kind of trouble that such a run begins when it fails, and ends when it completes."""
    return "reconcile_failed" if run.kind == "reconcile" else "failed"


def of_age(age: ListAge, client: Client, result: ListResult | None) -> Trouble | None:
    """Returns the trouble with an overdue list, else None. `result`: what this call did for it; None: nothing."""
    if not age.is_overdue:
        return None
    why = f": {result.error}" if result is not None and result.error is not None else ""
    return Trouble(
        "overdue",
        f"{_age_text(age)}{why}",
        ("overdue",),
        f"Does cron still run it? `mcimport status` shows more; `mcimport sync {age.list_key}` imports it now.",
        age.since + client.overdue,
    )


def _age_text(age: ListAge) -> str:
    """Says how old the sync point is. Pages may have been pushed since, because a run moves it at its end."""
    if age.sync_point is None:
        return "no sync of the list to its current Ometria account was ever completed"
    return f"the sync point has not moved since {moment_utc(age.sync_point)}"


def _failure(result: ListResult) -> Iterator[Trouble]:
    error = result.error
    if error is not None and not isinstance(error, BusyError | InterruptedRunError):
        kind = failing_kind(result.runs[-1]) if result.runs else "failed"
        hint = error.hint or "`mcimport status` and `mcimport check` show more."
        yield Trouble(kind, str(error), (str(error),), hint)


def _letters(result: ListResult) -> Iterator[Trouble]:
    if result.dead_letters:
        advice = "`mcimport dlq list` shows them, `mcimport dlq replay` tries again."
        yield Trouble("dead_letters", dead_letter_count(result), result.affected.reasons, advice)


def _differences(result: ListResult) -> Iterator[Trouble]:
    found = result.comparison
    if found is not None and found.left > 0:
        yield Trouble(
            "differ", _differences_text(found), tuple(_kinds_of_difference(found)), _next_step(result.list_key, found)
        )


def _spot_check(result: ListResult) -> Iterator[Trouble]:
    found = result.spot_check
    if found is not None and found.missing:
        words = missing_text(found, int(time.time()))
        yield Trouble(
            "spot_check", words, ("Ometria does not hold what it accepted",), f"{list_command(result.list_key)}."
        )


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


def _kinds_of_difference(found: Comparison) -> Iterator[str]:
    """Yields the ways in which both sides differ."""
    if not found.is_only_unread:
        yield from (name for name in ("missing", "stale", "gone", "not_taken") if getattr(found, name).count)
        if found.is_opting_in and found.said_no.count:
            yield "said_no"
    if found.unclear:
        yield "unclear"
    if found.unread:
        yield "unread"
