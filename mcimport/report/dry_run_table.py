"""The table at the end of a dry run: for each list, what the contacts lack, and how many members cannot be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from mcimport.models.results import ListResult
from mcimport.report.format import pluralize
from mcimport.report.permissions import permissions_text
from mcimport.report.summary import Totals, title, totals
from mcimport.report.tables import print_table

HEADS = (
    *("list", "opted in", "opted out", "unspecified", "subscription events"),
    *("no country", "no phone", "no name", "no address", "cannot be sent"),
)


def dry_run_table(results: Sequence[ListResult], stream: TextIO) -> None:
    """Writes the table, a line for each reason why members cannot be sent, and one for each list's permissions.

    Writes nothing where no member was read.
    """
    with_members = [result for result in results if totals(result).members_read]
    if not with_members:
        return
    print_table(stream, HEADS, [_table_row(result, totals(result)) for result in with_members])
    for result in with_members:
        stream.writelines(_reason(result, reason, members) for reason, members in result.unsendable.items())
        if result.permissions:
            stream.write(f"{title(result)}: {permissions_text(result.permissions)}\n")


def _reason(result: ListResult, reason: str, members: int) -> str:
    return f"{title(result)}: {pluralize(members, 'member')} cannot be sent: {reason}\n"


def _table_row(result: ListResult, sums: Totals) -> tuple[str, ...]:
    neither = max(0, sums.contacts_pushed - sums.opt_ins - sums.opt_outs)
    lacking = (result.lacking.get(name, 0) for name in ("country", "phone", "name"))
    consent = (sums.opt_ins, sums.opt_outs, neither, sums.subscription_events)
    numbers = (*consent, *lacking, sums.members_skipped, sums.contacts_rejected)
    return (title(result), *(f"{number:,}" for number in numbers))
