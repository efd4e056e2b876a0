"""What every engine is given: one run's windows and what they share; and what every engine offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mcimport.config import Client
from mcimport.engine.page.converter import EventBudget, LazyListFields
from mcimport.models import ContactRules, LookUps, Outcome, Page, UnsentSpan, Window
from mcimport.services.connections import ClientServices


@dataclass(frozen=True)
class RunSpec:
    """One run of one list.

    Attributes:
        services: this process's own.
        watched, never_sent: see `PageContext`.
        is_first: Ometria had accepted no contact of this list before, so it need not be asked what it holds.
        carried_until: who changed last in this second or before was carried by an earlier run; None: nobody was.
        look_ups: how many members may be looked up in Ometria.
        account_known_good: see `OmetriaClient.push`.
        state_id: what the state file calls itself where others hear it.
        warn: takes words for a person, for when the list is through.
        waits: takes them at once: why the run does not go on at present.
        lent: for the state file: from now on pages of the client may be in the hands of other processes.
        given_back: for the state file: no more.
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
    carried_until: int | None
    look_ups: LookUps
    account_known_good: bool
    is_dry: bool
    state_id: str
    warn: Callable[[str], None]
    waits: Callable[[str], None]
    lent: Callable[[], None]
    given_back: Callable[[], None]


class Engine(Protocol):
    """Where windows are worked off.

    Attributes:
        is_local: pages are read in this process, so that it is worth reading a list's fields ahead.
    """

    is_local: bool

    def client_lock(self, client: Client) -> AbstractContextManager[object]:
        """Held while anything is done for a client."""

    def run(
        self,
        spec: RunSpec,
        windows: Sequence[Window],
        pages: Mapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        """Works off all windows, and says whether subscription events were kept back; calls `record` in this thread.

        `pages`: first pages that are the whole of their window, by its number.

        Raises FatalError, ServiceDownError, InterruptedRunError or StateError; what was moved is recorded before.
        """
