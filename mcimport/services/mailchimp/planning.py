"""Plans a run: reads a sweep's first page, and cuts the sweep into windows.

The only place that asks far into a list, for one member each time (fact mailchimp-offset).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from msgspec.structs import replace

from mcimport.config import Client
from mcimport.errors import IgnoredParameterError, RetriableError, ServiceError, UnreachableError
from mcimport.models import Page, Sweep, Window
from mcimport.services.mailchimp import pagination, windows
from mcimport.services.mailchimp.client import MailchimpClient


def first_page(mailchimp: MailchimpClient, list_key: str, sweep: Sweep, since: int | None, size: int) -> Page:
    """Returns a sweep's first page, or a probe where that cannot be read: one broken member must not stop a list.

    Where the clocks differ, a second response is requested and the earlier time believed: a single server whose clock
    is ahead would move the sync point past changes that are still to come.
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


def plan_windows(
    client: Client, mailchimp: MailchimpClient, list_key: str, sweep: Sweep, span: tuple[int | None, int], page: Page
) -> list[Window]:
    """Returns the windows of a sweep: none if it is empty, one if its first page is all of it, else one for each cut.

    `page`: the sweep's first one, after the beginning of `span`, which is `(since, until]`.
    """
    since, until = span
    if pagination.fits_in_one(page, page.asked):
        end = until if since is None else max(until, since + 1)
        return [Window(0, sweep, since, end, count=len(page.members))] if page.members else []
    if since is not None and until <= since:
        return []
    places = windows.offsets(page.total, page.asked, client.mailchimp.connections)
    cuts = _look_up(mailchimp, list_key, Window(0, sweep, since, until), places, client.mailchimp.connections)
    return windows.split_at(sweep, (since, until), cuts, page.total)


def _look_up(
    mailchimp: MailchimpClient, list_key: str, span: Window, offsets: Sequence[int], at_once: int
) -> list[tuple[int, int | None]]:
    """Looks up the `last_changed` at each offset, ten at a time. One that fails only makes a window longer."""

    def look(offset: int) -> int | None:
        with suppress(RetriableError):
            return mailchimp.last_changed_at(list_key, span, offset, quick=True)
        return None

    with ThreadPoolExecutor(at_once) as pool:
        return list(zip(offsets, pool.map(look, offsets), strict=True))
