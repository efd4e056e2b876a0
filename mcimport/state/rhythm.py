"""The rhythm: how often all lists are synced, as far as `sync --every` says; and after how long a list is overdue."""

from __future__ import annotations

from mcimport.state.database import State

HOURLY = 3_600  # seconds: what is assumed where another scheduler has the clock
MISSED = 3  # rounds without a sync, after which a list is overdue

_KEY = "sync_every"


def note(state: State, seconds: float | None) -> None:
    """Notes the seconds from round to round; None: another scheduler has the clock now."""
    if seconds is not None:
        state.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", [_KEY, str(round(seconds))])
    elif _noted(state) is not None:
        state.write("DELETE FROM meta WHERE key = ?", [_KEY])


def overdue_after(state: State, configured: int | None) -> int:
    """Returns the seconds after its sync point at which a list is overdue: as configured, else three missed rounds."""
    return MISSED * (_noted(state) or HOURLY) if configured is None else configured


def _noted(state: State) -> int | None:
    found = state.value("SELECT value FROM meta WHERE key = ?", [_KEY])
    return None if found is None else int(found)
