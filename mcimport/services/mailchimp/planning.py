"""How a list is cut before it is read: a sweep's first page, and the windows that what is left falls into."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from mcimport.config import Client
from mcimport.errors import IgnoredParameterError, RetriableError, ServiceError, UnreachableError
from mcimport.models import Page, Sweep, Window
from mcimport.services.mailchimp import pagination, windows
from mcimport.services.mailchimp.client import MailchimpClient


def first_page(mailchimp: MailchimpClient, list_key: str, sweep: Sweep, since: int | None, size: int) -> Page:
    """A sweep's first page; where that cannot be read, what a glance tells: one broken member must not stop a list.

    An odd clock is looked at twice, and the earlier answer believed: a single edge whose clock is ahead would put the
    sync point past changes that are still to come.
    """
    try:
        page = mailchimp.first_page(list_key, sweep, since, size)
    except (UnreachableError, IgnoredParameterError):
        raise
    except RetriableError as error:
        with suppress(RetriableError):
            return mailchimp.probe(list_key, sweep, since, size)
        raise error from None
    if page.clock_warning:
        with suppress(ServiceError):
            again = mailchimp.probe(list_key, sweep, since, size)
            settled, at_most = min(page.settled, again.settled), max(page.at_most, again.at_most)
            return replace(page, settled=settled, at_most=at_most)
    return page


def cut(
    client: Client, mailchimp: MailchimpClient, list_key: str, sweep: Sweep, span: tuple[int | None, int], page: Page
) -> list[Window]:
    """None for an empty sweep, one for a page that holds everything, else as many as the cuts make.

    `page`: the sweep's first one, after the beginning of `span`.
    """
    since, until = span
    if pagination.fits_in_one(page, page.asked):
        end = until if since is None else max(until, since + 1)
        return [Window(0, sweep, since, end, count=len(page.members))] if page.members else []
    if since is not None and until <= since:
        return []
    places = windows.offsets(page.total, page.asked)
    cuts = _look_up(mailchimp, list_key, Window(0, sweep, since, until), places, client.mailchimp.connections)
    return windows.cut(sweep, (since, until), cuts, page.total)


def _look_up(
    mailchimp: MailchimpClient, list_key: str, span: Window, offsets: Sequence[int], at_once: int
) -> list[tuple[int, int | None]]:
    """The `last_changed` at each offset, ten at a time. A cut that cannot be had only makes a window longer."""
    if not offsets:
        return []

    def look(offset: int) -> int | None:
        with suppress(RetriableError):
            return mailchimp.last_changed_at(list_key, span, offset, quick=True)
        return None

    with ThreadPoolExecutor(min(at_once, len(offsets))) as pool:
        return list(zip(offsets, pool.map(look, offsets), strict=True))
