"""The tables at the end of a call: all lists, the worst first; after a dry run, what the contacts of each list lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from mcimport.models.results import ListResult
from mcimport.report.columns import Columns
from mcimport.report.format import duration, permissions_text, pluralize
from mcimport.report.summary import title, totals, verdict
from mcimport.report.tables import print_lines, print_table

_WORST_FIRST = (
    "failed",
    "interrupted",
    "dead letters",
    "differ",
    "not started",
    "skipped",
    "completed",
    "sync point set",
    "nothing changed",
)
_COUNTED = {  # what follows a number of lists, where the verdict of one list would be no English
    "dead letters": "with dead letters",
    "differ": "with differences",
    "sync point set": "with the sync point set",
    "nothing changed": "unchanged",
}
_UNEVENTFUL = {"not started", "skipped", "sync point set", "nothing changed"}
_DRY_RUN_COLUMNS = Columns(
    heads=(
        *("list", "opted in", "opted out", "unspecified", "subscription events"),
        *("no country", "no phone", "no name", "no address", "cannot be sent"),
    ),
    dropped=("no name", "no country", "no phone", "subscription events", "no address", "unspecified"),
)
_MOST_ROWS = 20  # of more lists, the uneventful ones with the same verdict share a row


def totals_table(results: Sequence[ListResult], stream: TextIO) -> None:
    """Writes the table, and the line that adds it up."""
    pushed = "contacts converted" if any(result.dry_run for result in results) else "contacts pushed"
    columns = Columns(
        heads=("list", "status", "members read", pushed, "dead letters", "took"),
        dropped=("took", "members read", pushed),
    )
    print_table(stream, columns, rows(results))
    print_lines(stream, [total_line(results)])


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
    lists = pluralize(len(results), "list")
    if set(ends) == {"nothing changed"}:
        return f"{lists}: nothing changed"
    found = [(ends[word], _COUNTED.get(word, word)) for word in _WORST_FIRST if ends[word]]
    words = ", ".join(f"{'all' if len(found) == 1 else f'{number:,}'} {word}" for number, word in found)
    pushed = sum(totals(result).contacts_pushed for result in results)
    verb = "converted, none pushed" if any(result.dry_run for result in results) else "pushed"
    return f"{lists}: {words}; {pluralize(pushed, 'contact')} {verb}"


def _rank(result: ListResult) -> tuple[int, str, str]:
    return _WORST_FIRST.index(verdict(result)), result.client, result.list_key


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


def dry_run_table(results: Sequence[ListResult], stream: TextIO) -> None:
    """Writes the table, a line for each reason why members cannot be sent, and one for each list's permissions.

    Writes nothing where no member was read.
    """
    with_members = [result for result in results if totals(result).members_read]
    if not with_members:
        return
    print_table(stream, _DRY_RUN_COLUMNS, [_dry_run_row(result) for result in with_members])
    for result in with_members:
        unsendable = [
            f"{pluralize(members, 'member')} cannot be sent: {reason}" for reason, members in result.unsendable.items()
        ]
        permissions = [permissions_text(result.permissions)] if result.permissions else []
        print_lines(stream, [f"{title(result)}: {words}" for words in (*unsendable, *permissions)])


def _dry_run_row(result: ListResult) -> tuple[str, ...]:
    sums = totals(result)
    neither = max(0, sums.contacts_pushed - sums.opt_ins - sums.opt_outs)
    lacking = (result.lacking.get(name, 0) for name in ("country", "phone", "name"))
    consent = (sums.opt_ins, sums.opt_outs, neither, sums.subscription_events)
    numbers = (*consent, *lacking, sums.members_skipped, sums.contacts_rejected)
    return (title(result), *(f"{number:,}" for number in numbers))
