"""The end of a dry run: what the contacts would be like, and who could not be sent, a row a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from mcimport.models.results import ListResult
from mcimport.report.format import pluralize
from mcimport.report.permissions import permissions_text
from mcimport.report.summary import Totals, title, totals
from mcimport.report.tables import show

HEADS = (
    *("list", "opted in", "opted out", "unspecified", "subscription events"),
    *("no country", "no phone", "no name", "no address", "cannot be sent"),
)


def dry_run_table(results: Sequence[ListResult], stream: TextIO) -> None:
    """Writes the table, a line for each reason why members could not be sent, and one of each list's permissions.

    Nothing where nobody was read.
    """
    counted_ones = [result for result in results if totals(result).read]
    if not counted_ones:
        return
    show(stream, HEADS, [_row(result, totals(result)) for result in counted_ones])
    for result in counted_ones:
        stream.writelines(_reason(result, reason, members) for reason, members in result.unsendable.items())
        if result.permissions:
            stream.write(f"{title(result)}: {permissions_text(result.permissions)}\n")


def _reason(result: ListResult, reason: str, members: int) -> str:
    return f"{title(result)}: {pluralize(members, 'member')} cannot be sent: {reason}\n"


def _row(result: ListResult, sums: Totals) -> tuple[str, ...]:
    neither = max(0, sums.pushed - sums.opt_ins - sums.opt_outs)
    lacking = (result.lacking.get(name, 0) for name in ("country", "phone", "name"))
    numbers = (sums.opt_ins, sums.opt_outs, neither, sums.events, *lacking, sums.skipped, sums.rejected)
    return (title(result), *(f"{number:,}" for number in numbers))
