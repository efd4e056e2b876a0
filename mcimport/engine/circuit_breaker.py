"""The outcomes of one run, as they come, whichever engine brings them; and in which order windows are begun."""

from __future__ import annotations

from collections.abc import Callable

from mcimport.errors import ServiceDownError
from mcimport.models import Outcome, Window

DEAD_IN_A_ROW = 10  # pages that fail, with nothing delivered in between, before a service is taken to be down


def longest_first(window: Window) -> tuple[bool, int]:
    """A key to sort by: lest one be what all others are waited for with, which holds a crowded second, say.

    The archived come after those on the list: for a member in both sweeps the later reading wins.
    """
    return window.sweep != "listed", -window.count


class CircuitBreaker:
    """Records outcomes, and notices when nothing gets through any more."""

    def __init__(self, record: Callable[[Outcome], None]) -> None:
        self._record = record
        self._dead = 0

    def record(self, outcome: Outcome) -> None:
        self._record(outcome)
        if outcome.pushed:
            self._dead = 0
        if not outcome.failed:
            return
        self._dead += 1
        if self._dead >= DEAD_IN_A_ROW:
            reason = next(letter.reason for letter in outcome.letters)
            raise ServiceDownError(
                f"{DEAD_IN_A_ROW} pages in a row failed; the last error: {reason}",
                hint="Nothing is lost: the next `mcimport sync` resumes where this one stopped.",
            )
