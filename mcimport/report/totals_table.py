"""The table of all lists at the end of a call, the worst first, and the line that adds them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from mcimport.models.results import ListResult
from mcimport.report.format import duration, pluralize
from mcimport.report.summary import totals, verdict
from mcimport.report.tables import print_table

_WORST_FIRST = (
    "failed",
    "stopped",
    "dead letters",
    "differ",
    "not started",
    "skipped",
    "completed",
    "sync point set",
    "nothing changed",
)
_UNEVENTFUL = {"not started", "skipped", "sync point set", "nothing changed"}
_MOST_ROWS = 20  # of more lists, the uneventful ones with the same verdict share a row


def totals_table(results: Sequence[ListResult], stream: TextIO) -> None:
    """Writes the table, and the line that adds it up."""
    pushed = "contacts converted" if any(result.dry_run for result in results) else "contacts pushed"
    print_table(stream, ("list", "", "members read", pushed, "dead letters", "took"), rows(results))
    stream.write(f"{total_line(results)}\n")


def rows(results: Sequence[ListResult]) -> list[tuple[str, ...]]:
    """Returns a row for each list, the worst first, then by contacts pushed; many uneventful lists share rows."""
    ordered = sorted(results, key=_rank)
    fold = len(ordered) > _MOST_ROWS
    alone = [_row(result) for result in ordered if not (fold and verdict(result) in _UNEVENTFUL)]
    folded = Counter(word for result in ordered if fold and (word := verdict(result)) in _UNEVENTFUL)
    return alone + [(pluralize(number, "list"), word, "", "", "", "") for word, number in folded.items()]


def total_line(results: Sequence[ListResult]) -> str:
    """Returns one line: how many lists ended in which way, and how many contacts were pushed in all."""
    ends = Counter(verdict(result) for result in results)
    words = ", ".join(f"{ends[word]:,} {word}" for word in _WORST_FIRST if ends[word])
    pushed = sum(totals(result).contacts_pushed for result in results)
    verb = "converted, none pushed" if any(result.dry_run for result in results) else "pushed"
    return f"{pluralize(len(results), 'list')}: {words}; {pluralize(pushed, 'contact')} {verb}"


def _rank(result: ListResult) -> tuple[int, int, str, str]:
    return _WORST_FIRST.index(verdict(result)), -totals(result).contacts_pushed, result.client, result.list_key


def _row(result: ListResult) -> tuple[str, ...]:
    sums = totals(result)
    return (
        f"{result.client} {result.list_key}",
        verdict(result),
        f"{sums.members_read:,}",
        f"{sums.contacts_pushed:,}",
        f"{result.dead_letters:,}",
        duration(result.seconds),
    )
