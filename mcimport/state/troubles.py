"""Remembers which troubles were notified, by list and kind: each is notified once, and once when it is over."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from mcimport.models.timestamps import epoch
from mcimport.state.database import State
from mcimport.state.row_mapping import text
from mcimport.state.run_warnings import new


class OpenTrouble(Struct, frozen=True):
    """Holds one kind of trouble that lasts: since when, in epoch seconds, and the reasons that were notified."""

    since: int
    reasons: frozenset[str]

    def has_new_reason(self, reasons: Iterable[str]) -> bool:
        """Returns whether one of the reasons was not notified yet; numbers in them make no difference."""
        return bool(new(reasons, self.reasons))


def open_troubles(state: State, client: str, list_key: str) -> dict[str, OpenTrouble]:
    """Returns the troubles of one list, by kind."""
    rows = state.rows(
        "SELECT kind, min(since), json_group_array(reason) FROM troubles WHERE client = ? AND list_key = ?"
        " GROUP BY kind ORDER BY min(since)",
        [client, list_key],
    )
    return {kind: OpenTrouble(epoch(since) or 0, frozenset(json.loads(reasons))) for kind, since, reasons in rows}


def by_list(state: State) -> dict[tuple[str, str], dict[str, int]]:
    """Returns when each open trouble began, in epoch seconds, by client and list, and by kind."""
    found: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for client, key, kind, since in state.rows(
        "SELECT client, list_key, kind, min(since) FROM troubles GROUP BY 1, 2, 3"
    ):
        found[client, key][kind] = epoch(since) or 0
    return found


def begin(state: State, client: str, list_key: str, kind: str, reasons: Iterable[str], moment: int) -> None:
    """Records that a trouble was notified for these reasons; they are added to those of one that lasts already."""
    with state.transaction():
        for reason in reasons:
            state.write(
                "INSERT OR IGNORE INTO troubles VALUES (?, ?, ?, ?, ?)",
                [client, list_key, kind, reason, text(moment)],
            )


def end(state: State, client: str, list_key: str, kind: str) -> None:
    state.write("DELETE FROM troubles WHERE client = ? AND list_key = ? AND kind = ?", [client, list_key, kind])
