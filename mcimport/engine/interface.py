"""What every engine is given, one run's windows and what they share; what it does; and when it gives the run up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from mcimport.config import Client
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.errors import ServiceDownError
from mcimport.models import ContactRules, LookUps, Outcome, Page, UnsentSpan, Window
from mcimport.services.connections import ClientServices

DEAD_IN_A_ROW = 10  # pages that fail, with nothing delivered in between, before a service is taken to be down


class RunSpec(Struct, frozen=True):
    """Describes one run of one list.

    Attributes:
        watched, never_sent: see `PageContext`.
        is_first: Ometria had accepted no contact of this list before, so it need not be asked what it holds.
        imported_until: see `HeldLookups`; None: an earlier run imported no member.
        account_known_good: see `BatchSender`.
        state_id: the name by which messages to workers tell this state file from others.
        warn: takes a text for a person, which is shown when the list ends.
        waits: takes a text that is shown at once: why the run cannot continue at present.
        accepted: takes how many contacts Ometria accepted, of pages that are not recorded yet.
        looks_up: takes how many more contacts are being looked up in Ometria, or, below 0, how many were.
        finishes: takes, once a stop was requested, how many pages may still end.
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
    accepted: Callable[[int], None]
    looks_up: Callable[[int], None]
    finishes: Callable[[int], None]
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
        self,
        spec: RunSpec,
        windows: Sequence[Window],
        pages: MutableMapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        """Processes all windows, and returns whether subscription events were kept back.

        Calls `record` in this thread, once for each page. `pages`: first pages of the sweeps, by the number of their
        first window; they are taken out when they are processed.

        Raises FatalError, ServiceDownError, InterruptedRunError or StateError; what was processed is recorded before.
        """


def stage(window: Window) -> int:
    """Returns a window's stage: those of a later one begin when all of the earlier are recorded.

    First the members on the list, then the archived, then members who are read one by one: whoever is in two of them is
    sent last as they were read last.
    """
    if window.member_id is not None:
        return 2
    return 0 if window.sweep == "listed" else 1


def longest_first(window: Window) -> tuple[int, int]:
    """Returns a key that sorts the longest windows of each stage first: no worker is left alone with one at the end."""
    return stage(window), -window.count


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
