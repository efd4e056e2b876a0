"""Which troubles somebody was told of, by list and kind: so that each is told once, and once when it is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mcimport.models.timestamps import epoch
from mcimport.state.database import State
from mcimport.state.row_mapping import text
from mcimport.state.run_warnings import without_numbers


@dataclass(frozen=True, slots=True)
class KnownTrouble:
    """One kind of trouble that lasts. `since`: when it began, seconds, UTC. `reasons`: those that were told of it."""

    since: int
    reasons: frozenset[str]

    def is_news(self, reasons: Iterable[str]) -> bool:
        """Whether one of the reasons was not told yet, whatever the numbers in it."""
        known = {without_numbers(reason) for reason in self.reasons}
        return any(without_numbers(reason) not in known for reason in reasons)


def known(state: State, client: str, list_key: str) -> dict[str, KnownTrouble]:
    """By kind, of one list."""
    rows = state.rows(
        "SELECT kind, since, reason FROM troubles WHERE client = ? AND list_key = ? ORDER BY since", [client, list_key]
    )
    found: dict[str, KnownTrouble] = {}
    for kind, since, reason in rows:
        known = found.get(kind, KnownTrouble(epoch(since) or 0, frozenset()))
        found[kind] = replace(known, reasons=known.reasons | {reason})
    return found


def lists_with(state: State, kind: str) -> dict[tuple[str, str], int]:
    """Client and list of each trouble of a kind that lasts, and when it began: seconds, UTC."""
    rows = state.rows("SELECT client, list_key, since FROM troubles WHERE kind = ?", [kind])
    return {(client, key): epoch(since) or 0 for client, key, since in rows}


def begin(state: State, client: str, list_key: str, kind: str, reasons: Iterable[str], moment: int) -> None:
    """It was told for these reasons; one that lasts already is told for these, too."""
    with state.transaction():
        for reason in reasons:
            state.write(
                "INSERT OR IGNORE INTO troubles VALUES (?, ?, ?, ?, ?)",
                [client, list_key, kind, reason, text(moment)],
            )


def end(state: State, client: str, list_key: str, kind: str) -> None:
    with state.transaction():
        state.write("DELETE FROM troubles WHERE client = ? AND list_key = ? AND kind = ?", [client, list_key, kind])
