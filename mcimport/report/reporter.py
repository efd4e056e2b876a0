"""What the story of a run tells while it goes on; how it looks is the business of whoever listens."""

from __future__ import annotations

from typing import Protocol

from mcimport.models import Outcome, RunKind
from mcimport.models.results import ListResult


class Reporter(Protocol):
    """Called from the threads of several clients at once; each call names the list it speaks of."""

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        """A run has its number."""

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:
        """A run knows what it has to do: about so many members, in so many windows (0 and 0: nothing changed)."""

    def moved(self, client: str, list_key: str, outcome: Outcome) -> None:
        """A page was recorded."""

    def read_back(self, client: str, list_key: str, contacts: int, *, is_last: bool = False) -> None:
        """So many contacts, of those that were planned, were read back from Ometria; `is_last`: all were."""

    def waits(self, client: str, list_key: str, words: str) -> None:
        """A run does not go on at present, and why; said once each time that this begins."""

    def ended(self, result: ListResult) -> None:
        """A list is through with this call, one way or another."""


class NullReporter:
    """Listens to nothing: for `mcimport.run` and for `--quiet`."""

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        pass

    def planned(self, client: str, list_key: str, kind: RunKind, total: int, windows: int) -> None:
        pass

    def moved(self, client: str, list_key: str, outcome: Outcome) -> None:
        pass

    def read_back(self, client: str, list_key: str, contacts: int, *, is_last: bool = False) -> None:
        pass

    def waits(self, client: str, list_key: str, words: str) -> None:
        pass

    def ended(self, result: ListResult) -> None:
        pass
