"""Which lists are in trouble that somebody was told of: so that they are told once, and once when it is over."""

from __future__ import annotations

from mcimport.state.file import State
from mcimport.state.rows import text
from mcimport.times import epoch


def since(state: State, client: str, list_key: str) -> int | None:
    """When the trouble began; None for a list of which no trouble was told."""
    return epoch(state.value("SELECT since FROM troubles WHERE client = ? AND list_key = ?", [client, list_key]))


def begin(state: State, client: str, list_key: str, moment: int) -> None:
    with state.transaction():
        state.write("INSERT OR IGNORE INTO troubles VALUES (?, ?, ?)", [client, list_key, text(moment)])


def end(state: State, client: str, list_key: str) -> None:
    with state.transaction():
        state.write("DELETE FROM troubles WHERE client = ? AND list_key = ?", [client, list_key])
