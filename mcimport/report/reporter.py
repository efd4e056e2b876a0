"""The events of a call, as the runs report them; each reporter decides how they look."""

from __future__ import annotations

from typing import Protocol

from mcimport.models import Outcome, RunKind
from mcimport.models.records import ListResult


class Reporter(Protocol):
    """Is called from the threads of several clients at once; each call names its list."""

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        """A run was recorded under its number."""

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:
        """A run was planned: about `total` members in so many windows; 0 and 0: nothing has changed."""

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        """A page was recorded."""

    def waits(self, client: str, list_key: str, words: str) -> None:
        """A run has begun to wait, and why."""

    def ended(self, result: ListResult) -> None:
        """The work of this call on a list has ended, well or not."""


class NullReporter:
    """Ignores all events: for `mcimport.run`, and as a base for reporters that ignore some."""

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        pass

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:
        pass

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        pass

    def waits(self, client: str, list_key: str, words: str) -> None:
        pass

    def ended(self, result: ListResult) -> None:
        pass
