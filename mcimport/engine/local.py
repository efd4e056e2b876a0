"""The engine of one machine: a pool of threads in this very process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from mcimport.config import Client
from mcimport.engine.interface import Errand
from mcimport.engine.page.context import Job
from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.engine.threads import drive
from mcimport.models import Outcome, Page, Window


class LocalEngine:
    """See `Engine`. Ten workers a client, started when there is a second page."""

    reads_here = True

    def turn(self, _client: Client) -> AbstractContextManager[object]:
        """Clients need not wait for each other: what accounts share, they share in this process."""
        return nullcontext()

    def drive(
        self,
        errand: Errand,
        windows: Sequence[Window],
        pages: Mapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        services = errand.services
        converter = RunConverter(services.mailchimp, errand.fields, errand.rules, errand.welcome, errand.warn)
        is_blind = errand.is_dry or errand.is_first
        job = Job(
            list_key=errand.list_key,
            mailchimp=services.mailchimp,
            ometria=None if errand.is_dry else services.ometria,
            convert=converter,
            aside=converter.aside,
            rules=errand.rules,
            held=None if is_blind else HeldLookups(services.contacts, errand.carried_until, errand.look_ups),
            watched=errand.watched,
            never_sent=errand.never_sent,
            sample_size=0 if errand.is_dry else errand.client.ometria.spot_check,
            meter=services.meter,
            trace=services.trace,
        )
        drive(
            job,
            windows,
            record,
            stop=services.stop,
            workers=errand.client.mailchimp.connections,
            pages=pages,
            give_up=services.give_up,
        )
        return converter.is_silenced
