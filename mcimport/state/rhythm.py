"""The rhythm: how often all lists are synced, as far as `sync --every` says; and after how long a list is overdue."""

from __future__ import annotations

import time

from mcimport.state.database import State

HOURLY = 3_600  # seconds: what is assumed where another scheduler has the clock
MISSED = 3  # rounds without a sync, after which a list is overdue

_KEY = "sync_every"


def note(state: State, seconds: float) -> None:
    """Notes the seconds from round to round."""
    state.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", [_KEY, f"{round(seconds)} {int(time.time())}"])


def forget(state: State, *, is_over: bool = False) -> None:
    """Forgets it where the rounds are over, or have stayed away for two of their intervals, or a clock was set back.

    So a sync by hand beside the rounds changes nothing, and another scheduler has the clock after a while.
    """
    noted = _noted(state)
    if noted is not None and (is_over or not 0 <= int(time.time()) - noted[1] <= 2 * noted[0]):
        state.write("DELETE FROM meta WHERE key = ?", [_KEY])


def overdue_after(state: State, configured: int | None, *, is_first: bool = False) -> int:
    """Returns the seconds after its sync point at which a list is overdue: as configured, else three missed rounds.

    `is_first`: it was never synced. Then three hours at least, for its first sync may take so long, and nothing that
    Ometria holds is out of date.
    """
    if configured is not None:
        return configured
    noted = _noted(state)
    seconds = MISSED * (noted[0] if noted else HOURLY)
    return max(seconds, MISSED * HOURLY) if is_first else seconds


def _noted(state: State) -> tuple[int, int] | None:
    """Returns the seconds from round to round, and when they were noted."""
    found = state.value("SELECT value FROM meta WHERE key = ?", [_KEY])
    if found is None:
        return None
    seconds, noted_at = map(int, found.split())
    return seconds, noted_at
