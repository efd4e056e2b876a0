"""The engine of one machine: a pool of threads in this very process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from mcimport.config import Client
from mcimport.engine.interface import RunSpec
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.threads import run_windows
from mcimport.models import Outcome, Page, Window


class LocalEngine:
    """See `Engine`. Ten workers a client, started when there is a second page."""

    is_local = True

    def client_lock(self, _client: Client) -> AbstractContextManager[object]:
        """Clients need not wait for each other: what accounts share, they share in this process."""
        return nullcontext()

    def run(
        self,
        spec: RunSpec,
        windows: Sequence[Window],
        pages: Mapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        services = spec.services
        converter = RunConverter(services.mailchimp, spec.fields, spec.rules, spec.event_budget, spec.warn)
        is_blind = spec.is_dry or spec.is_first
        context = PageContext(
            list_key=spec.list_key,
            mailchimp=services.mailchimp,
            ometria=None if spec.is_dry else services.ometria,
            convert=converter,
            fetch_missing_tags=converter.fetch_missing_tags,
            rules=spec.rules,
            held=None if is_blind else HeldLookups(services.contacts, spec.carried_until, spec.look_ups),
            watched=spec.watched,
            never_sent=spec.never_sent,
            account_known_good=spec.account_known_good,
            sample_size=0 if spec.is_dry else spec.client.ometria.spot_check,
            meter=services.meter,
            trace=services.trace,
        )
        run_windows(
            context,
            windows,
            record,
            stop=services.stop,
            workers=spec.client.mailchimp.connections,
            pages=pages,
            give_up=services.abort,
        )
        return converter.is_silenced
