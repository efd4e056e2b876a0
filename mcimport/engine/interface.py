"""What every engine is given, one run's windows and what they share, and what every engine does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mcimport.config import Client
from mcimport.engine.page.list_fields import LazyListFields
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.models import ContactRules, LookUps, Outcome, Page, UnsentSpan, Window
from mcimport.services.connections import ClientServices


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
