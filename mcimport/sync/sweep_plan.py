"""Both sweeps of a list, from their first pages to numbered windows."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from mcimport.models import Page, Sweep, Window
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.planning import first_page, plan_windows
from mcimport.sync.list_run import ListRun


class FirstPage(Struct, frozen=True):
    """Holds the first page of a sweep, which begins after the second `since` (None: from the beginning)."""

    sweep: Sweep
    since: int | None
    page: Page

    @property
    def is_whole(self) -> bool:
        """It holds the whole sweep."""
        return pagination.fits_in_one(self.page, self.page.asked)


class SweepPlan(Struct, frozen=True):
    """Holds the windows of a run.

    Attributes:
        until: the last second that is read.
        total: about how many members both sweeps hold.
        pages: the first pages, by the numbers of their windows; taken out when these are processed.
    """

    until: int
    total: int
    windows: tuple[Window, ...]
    pages: MutableMapping[int, Page]


def read_first(list_run: ListRun, mailchimp: MailchimpClient, sweep: Sweep, since: int | None) -> FirstPage:
    page = first_page(mailchimp, list_run.list_key, sweep, since, list_run.client.mailchimp.window)
    return FirstPage(sweep, since, page)


def plan_sweeps(list_run: ListRun, mailchimp: MailchimpClient, firsts: Sequence[FirstPage]) -> SweepPlan:
    """Cuts each sweep into windows, in the order of the first pages; all end at the earliest second one vouches for.

    Reads nothing of the state file, so that it may be called in a thread.
    """
    until = min(first.page.settled for first in firsts)
    planned: list[Window] = []
    pages: dict[int, Page] = {}
    for first in firsts:
        for window in plan_windows(
            list_run.client, mailchimp, list_run.list_key, first.sweep, (first.since, until), first.page
        ):
            planned.append(replace(window, number=len(planned), page=first.page.asked))
            if first.is_whole or (first.page.members and window.since == first.since):
                pages[planned[-1].number] = first.page
    return SweepPlan(until, sum(first.page.total for first in firsts), tuple(planned), pages)
