"""What every engine is given, one run's windows and what they share; what it does; and when it gives the run up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mcimport.config import Client
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.errors import ServiceDownError
from mcimport.models import ContactRules, LookUps, Outcome, Page, UnsentSpan, Window
from mcimport.services.connections import ClientServices

DEAD_IN_A_ROW = 10  # pages that fail, with nothing delivered in between, before a service is taken to be down


@dataclass(frozen=True)
class RunSpec:
    """Describes one run of one list.

    Attributes:
        watched, never_sent: see `PageContext`.
        is_first: Ometria had accepted no contact of this list before, so it need not be asked what it holds.
        imported_until: see `HeldLookups`; None: an earlier run imported no member.
        account_known_good: see `OmetriaClient.push`.
        state_id: the name by which messages to workers tell this state file from others.
        warn: takes a text for a person, which is shown when the list ends.
        waits: takes a text that is shown at once: why the run cannot continue at present.
        lent: records that from now on workers may have pages of the client.
        given_back: records that they have none any more.
    """

    client: Client
    list_key: str
    run_id: int
    services: ClientServices
    rules: ContactRules
    event_budget: EventBudget
    fields: LazyListFields
    watched: Mapping[str, int]
    never_sent: tuple[UnsentSpan, ...]
    is_first: bool
    imported_until: int | None
    look_ups: LookUps
    account_known_good: bool
    is_dry: bool
    state_id: str
    warn: Callable[[str], None]
    waits: Callable[[str], None]
    lent: Callable[[], None]
    given_back: Callable[[], None]


class Engine(Protocol):
    """Processes windows.

    Attributes:
        is_local: pages are processed in this process, so that it is worth reading a list's fields ahead.
    """

    is_local: bool

    def client_lock(self, client: Client) -> AbstractContextManager[object]:
        """Returns a lock that is held while anything is done for the client."""

    def run(
        self, spec: RunSpec, windows: Sequence[Window], pages: Mapping[int, Page], record: Callable[[Outcome], None]
    ) -> bool:
        """Processes all windows, and returns whether subscription events were kept back.

        Calls `record` in this thread, once for each page. `pages`: first pages that are the whole of their window, by
        its number.

        Raises FatalError, ServiceDownError, InterruptedRunError or StateError; what was processed is recorded before.
        """


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
