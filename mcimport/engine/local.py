"""The engine of one machine: a pool of threads in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from mcimport.config import Client
from mcimport.engine.interface import RunSpec
from mcimport.engine.page.context import make_context
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.page.process import process_page
from mcimport.engine.threads import run_windows
from mcimport.models import Outcome, Page, Window


class LocalEngine:
    """Processes pages in this process: see `Engine`. Each client has ten threads, started for the second page."""

    is_local = True

    def client_lock(self, _client: Client) -> AbstractContextManager[object]:
        """Returns a lock that locks nothing: clients of one account share its limits within this process."""
        return nullcontext()

    def run(
        self, spec: RunSpec, windows: Sequence[Window], pages: Mapping[int, Page], record: Callable[[Outcome], None]
    ) -> bool:
        services = spec.services
        converter = RunConverter(services.mailchimp, spec.fields, spec.rules, spec.event_budget, spec.warn)
        is_blind = spec.is_dry or spec.is_first
        context = replace(
            make_context(services, spec.list_key, converter, is_dry=spec.is_dry),
            rules=spec.rules,
            held=None if is_blind else HeldLookups(services.contacts, spec.imported_until, spec.look_ups),
            watched=spec.watched,
            never_sent=spec.never_sent,
            account_known_good=spec.account_known_good,
            sample_size=0 if spec.is_dry else spec.client.ometria.spot_check,
        )
        run_windows(
            lambda window, page: process_page(window, context, page),
            *(windows, record, services),
            workers=spec.client.mailchimp.connections,
            pages=pages,
        )
        return converter.is_silenced
