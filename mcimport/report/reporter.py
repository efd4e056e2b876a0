"""The events of a call, as the runs report them; each reporter decides how they look."""

from __future__ import annotations

from mcimport.models import Outcome, RunKind
from mcimport.models.results import ListResult


class Reporter:
    """Receives the events of a call, from the threads of several clients at once; each event names its list.

    Ignores them all: for `mcimport.run`, and as a base for reporters that ignore some.
    """

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        """Reports that a run was recorded under its number."""

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:
        """Reports that a run was planned: about `total` members in so many windows; 0 and 0: nothing has changed."""

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        """Reports that a page was recorded."""

    def read_back(self, client: str, list_key: str, contacts: int, *, is_last: bool = False) -> None:
        """Reports that so many of the planned contacts were read back from Ometria; `is_last`: all of them were."""

    def waits(self, client: str, list_key: str, words: str) -> None:
        """Reports that a run has begun to wait, and why."""

    def ended(self, result: ListResult) -> None:
        """Reports that the work of this call on a list has ended, well or not."""
