"""What all pages of one run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from threading import Lock

from msgspec import Struct, field

from mcimport.engine.page.converter import RunConverter
from mcimport.engine.page.held import HeldLookups
from mcimport.models import ContactRules, Conversion, Member, UnsentSpan
from mcimport.services.connections import ClientServices
from mcimport.services.http.request_log import RequestLog
from mcimport.services.http.usage import UsageMeter
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.ometria.sender import BatchSender

Convert = Callable[[Member, int | None], Conversion]
"""Converts a member; the second: an opt-in is new from this second on, None: as in the whole run.

Reads the list's fields when it is first called, so it may raise what Mailchimp raises.
"""


class PageContext(Struct, frozen=True):
    """Holds what all pages of one run share; safe to use from many threads.

    Attributes:
        sender: None in a dry run: everything is done but the push.
        fetch_missing_tags: takes the members whose tags must be asked for out of a page; what it yields returns them,
            complete.
        rules: how members become contacts; None: no consent is sent of a member who cannot be sent whole.
        held: None in a dry run, and in a list's first run: Ometria is not asked what it holds.
        watched: ids of members (without the list) who have an open dead letter, and from when on their opt-in is new.
        never_sent: spans of open dead letters: no run has announced the opt-ins in them.
        sample_size: how many of the members who are pushed each outcome names, for a spot check.
        trace: tells the log which window the client's requests belong to.
        ahead: is held by the one page of which the rest is read already although it is not converted yet: where the
            conversion waits for something, no more pages are decoded than are read at a time, and one.
        ahead_of_second: the same, for the one page that reads an oversized second.
    """

    list_key: str
    mailchimp: MailchimpClient
    sender: BatchSender | None
    convert: Convert
    fetch_missing_tags: Callable[[list[Member]], AbstractContextManager[Callable[[], list[Member]]]]
    rules: ContactRules | None = None
    held: HeldLookups | None = None
    watched: Mapping[str, int] = field(default_factory=dict)
    never_sent: tuple[UnsentSpan, ...] = ()
    sample_size: int = 0
    meter: UsageMeter = field(default_factory=UsageMeter)
    trace: RequestLog = field(default_factory=lambda: RequestLog(""))
    ahead: Lock = field(default_factory=Lock)
    ahead_of_second: Lock = field(default_factory=Lock)


def make_context(
    services: ClientServices, list_key: str, converter: RunConverter, sender: BatchSender | None
) -> PageContext:
    """Returns a context with what every run needs; `replace` adds what else one needs."""
    return PageContext(
        list_key=list_key,
        mailchimp=services.mailchimp,
        sender=sender,
        convert=converter,
        fetch_missing_tags=converter.fetch_missing_tags,
        meter=services.meter,
        trace=services.trace,
    )
