"""When a run gives up: too many pages in a row fail; and in which order its windows are begun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mcimport.errors import ServiceDownError
from mcimport.models import Outcome, Window

DEAD_IN_A_ROW = 10  # pages that fail, with nothing delivered in between, before a service is taken to be down


def longest_first(window: Window) -> tuple[bool, int]:
    """Returns a key that sorts the longest windows first, so that no worker is left alone with one at the end.

    Windows of the archived come after those of the list: for a member in both sweeps the later read wins.
    """
    return window.sweep != "listed", -window.count


@dataclass(eq=False)
class CircuitBreaker:
    """Records the outcomes of one run, and ends it when nothing gets through any more; belongs to one thread."""

    _record: Callable[[Outcome], None]
    _dead: int = 0

    def record(self, outcome: Outcome) -> None:
        """Records an outcome. Raises ServiceDownError when ten pages failed with no contact pushed in between."""
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
