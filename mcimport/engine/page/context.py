"""What all windows of one run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from mcimport.engine.page.held import HeldLookups
from mcimport.models import ContactRules, Conversion, Member, UnsentSpan
from mcimport.services.http.request_log import RequestLog
from mcimport.services.http.usage import UsageMeter
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.ometria.client import OmetriaClient


@dataclass(frozen=True)
class PageContext:
    """Safe to use from many threads.

    Attributes:
        ometria: None in a dry run: everything happens but the push.
        convert: takes a member, and from when on an opt-in of theirs is new (None: as in the whole run). Reads the
            list's fields when it is first called, so it may raise what Mailchimp raises.
        fetch_missing_tags: takes the members whose tags must be asked for out of a page, and gives them back, complete,
            when what it yields is called.
        rules: how members become contacts; None: nothing is sent of whoever cannot be sent whole.
        held: None in a dry run, and in a list's first run: Ometria is not asked what it holds.
        watched: ids of members (without the list) who have an open dead letter, and from when on their opt-in is new.
        never_sent: spans of open dead letters: who opted in there was announced by nobody.
        account_known_good: see `OmetriaClient.push`.
        sample_size: how many of those who are pushed are named in each outcome, for a spot check.
        meter: what the client's requests cost.
        trace: where they belong.
    """

    list_key: str
    mailchimp: MailchimpClient
    ometria: OmetriaClient | None
    convert: Callable[[Member, int | None], Conversion]
    fetch_missing_tags: Callable[[list[Member]], AbstractContextManager[Callable[[], list[Member]]]]
    rules: ContactRules | None = None
    held: HeldLookups | None = None
    watched: Mapping[str, int] = field(default_factory=dict)
    never_sent: tuple[UnsentSpan, ...] = ()
    account_known_good: bool = False
    sample_size: int = 0
    meter: UsageMeter = field(default_factory=UsageMeter)
    trace: RequestLog = field(default_factory=lambda: RequestLog(""))
