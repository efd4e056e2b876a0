"""The columns of a table, how they give way on a narrow screen, and the colour of what is in them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

_RED, _YELLOW, _GREEN = "red", "yellow", "green"
_STATUS = {
    **dict.fromkeys(("failed", "dead", "dead letters", "open"), _RED),
    **dict.fromkeys(("interrupted", "differ", "pending", "skipped"), _YELLOW),
    **dict.fromkeys(("completed", "done", "nothing changed", "sync point set"), _GREEN),
}
_COUNTS = {
    **dict.fromkeys(("dead letters", "rejected", "incomplete", "cannot be sent"), _RED),
    "retries": _YELLOW,
}
_NOTHING = ("", "-", "0")


class Columns(Struct, frozen=True):
    """Names the columns of a table.

    Attributes:
        heads: from left to right.
        below: heads of texts that are below their row on a screen, over its whole width; a line break ends a sentence.
        dropped: heads that a narrow screen leaves out, the least important first.
        wrapped: the head of the one column that may wrap between words; only in a table without texts below.
    """

    heads: tuple[str, ...]
    below: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    wrapped: str = ""

    def drop_order(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Returns the places of the columns that may be left out; those that are empty or 0 in all rows come first."""
        places = [self.heads.index(head) for head in self.dropped]
        return sorted(places, key=lambda place: any(row[place] not in _NOTHING for row in rows))


def colour(head: str, text: str) -> str:
    """Returns the colour of what is under a head: of what failed, was retried or is overdue, or went well; or none."""
    if head == "status":
        return _STATUS.get(re.split("[,:]", text)[0], "")
    if head == "tries":
        return "" if text == "1" else _YELLOW
    if head == "error":
        return _RED
    if head == "warning" or text == "OVERDUE":
        return _YELLOW
    return _COUNTS.get(head, "") if text not in _NOTHING else ""
