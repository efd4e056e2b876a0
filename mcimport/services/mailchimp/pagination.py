"""Pure: splits a page into the members to keep and the window that is left.

Why no member is lost between two pages: the list moves while it is read, so an offset means one thing now and another a
second later. A time does not. A member who changes gets a `last_changed` beyond `until` and so leaves every window of
the run for good; no member enters a span that is over. So a window is always read from its beginning, and a page is
believed only up to its last whole second. That needs sorted pages (fact mailchimp-order), but no order within
a second (fact mailchimp-ties). A page that has as many members as are counted is whole (fact mailchimp-total).
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from mcimport.errors import IgnoredParameterError, RetriableError
from mcimport.models import Bounds, Member, Page, Window
from mcimport.services.mailchimp.windows import NO_END

SMALLEST_PAGE = 50  # a page that is too slow is halved down to this

Verdict = Literal["over", "more", "crowded", "short"]


class PageSplit(Struct, frozen=True):
    """Holds what one page of a window says.

    Attributes:
        verdict: "over": the window ends here. "more": `rest` begins after what was kept. "crowded": the second
            `second` fills the page alone and must be read in passes. "short": fewer members than the response itself
            reports, all in one second or none at all: it is requested again before it is believed.
        kept: the members to push now.
        rest: the window after this page, with what was learned of the bounds.
    """

    verdict: Verdict
    kept: tuple[Member, ...]
    rest: Window
    second: int = 0


def fits_in_one(page: Page, asked: int) -> bool:
    """Says whether this page is all there is: fewer members than asked for, and just as many as the response reports.

    If there are more, the reported number is too low. Then the page may be short for another reason (a member who was
    deleted while it was written, say), so the end is looked for in another way: see `confirm_short_page`.
    """
    return not page.is_probe and len(page.members) < asked and len(page.members) == page.total


def half(size: int) -> int:
    return max(SMALLEST_PAGE, size // 2)


def check_page(window: Window, page: Page, asked: int, offset: int = 0) -> None:
    """Raises RetriableError for a page that cannot be the one requested.

    That is: members older than asked for, an order that is not ascending, or, from a window's beginning, a full page
    without a member of the span that teaches nothing about the bounds either.
    """
    if _is_plain(window, page):
        return
    moments = [moment for moment in page.moments if moment is not None]
    start = window.start
    if start is not None and moments and min(moments) < start:
        raise IgnoredParameterError("Mailchimp ignored since_last_changed: it returned members who changed earlier")
    # A member may change while the page is written: dated now, but still in its former place. That is no disorder.
    latest = min(window.until, page.settled) if window.until == NO_END else window.until
    inside = [moment for moment in moments if moment <= latest and _within(window, moment)]
    if any(later < earlier for earlier, later in pairwise(inside)):
        raise IgnoredParameterError("Mailchimp ignored sort_field: its members are not sorted by last_changed")
    full = offset == 0 and asked <= len(page.members) == len(moments)
    if full and not inside and _learned(window, moments) == Bounds():
        raise RetriableError("Mailchimp returned a full page without any member of the time range asked for")


def split_page(window: Window, page: Page, asked: int) -> PageSplit:
    """Splits a page that passed `check_page` into the members to keep and what is left of its window."""
    if _is_plain(window, page):
        return _split_plain_page(window, page, asked)
    return _split_any_page(window, page, asked)


def split_first_page(window: Window, page: Page) -> PageSplit:
    """Splits the first page of a sweep, which was requested without an end, as the page of the sweep's first window.

    It tells nothing of the bound at `until`, which was not asked for. A member who changed after `until`, and before
    the page was requested, stands behind all members of the window.
    """
    inside = up_to(window, page, window.until)
    if any(moment is not None and window.until < moment <= page.settled for moment in page.moments):
        return PageSplit("over", inside, window)
    return split_page(window, replace(page, members=inside), len(inside))


def _split_any_page(window: Window, page: Page, asked: int) -> PageSplit:
    dated = list(zip(page.moments, page.members, strict=True))
    undated = [member for moment, member in dated if moment is None]
    moments = [moment for moment, _ in dated if moment is not None]
    rest = replace(window, bounds=window.bounds | _learned(window, moments))
    inside = [(moment, member) for moment, member in dated if moment is not None and _within(window, moment)]
    if fits_in_one(page, asked):
        return PageSplit("over", (*(member for _, member in inside), *undated), rest)
    if not inside:
        taught = rest.bounds != window.bounds
        return PageSplit("more" if taught else "short", tuple(undated), rest)
    last = inside[-1][0]
    whole = [member for moment, member in inside if moment < last]
    if whole:
        return PageSplit("more", (*whole, *undated), replace(rest, through=last - 1))
    verdict: Verdict = "crowded" if len(page.members) >= asked else "short"
    return PageSplit(verdict, (*(member for _, member in inside), *undated), replace(rest, through=last - 1), last)


def _is_plain(window: Window, page: Page) -> bool:
    """Says whether all members have a time, in order and within what is left of the window: nearly every page."""
    moments = cast("tuple[int, ...]", page.moments)
    return (
        bool(moments)
        and None not in page.moments
        and (window.start is None or moments[0] > window.start)
        and moments[-1] <= window.until
        and all(map(operator.le, moments, moments[1:]))
    )


def _split_plain_page(window: Window, page: Page, asked: int) -> PageSplit:
    """Splits a page that `_is_plain`, and that teaches nothing of the bounds."""
    if fits_in_one(page, asked):
        return PageSplit("over", page.members, window)
    last = cast("int", page.moments[-1])
    whole = bisect_left(cast("tuple[int, ...]", page.moments), last)
    rest = replace(window, through=last - 1)
    if whole:
        return PageSplit("more", page.members[:whole], rest)
    return PageSplit("crowded" if len(page.members) >= asked else "short", page.members, rest, last)


def up_to(window: Window, page: Page, second: int) -> tuple[Member, ...]:
    """Returns the page's members of what is left of the window, up to and including `second`, or without a time."""
    dated = zip(page.moments, page.members, strict=True)
    return tuple(member for moment, member in dated if moment is None or (moment <= second and _within(window, moment)))


def whole_page(window: Window, page: Page) -> tuple[Member, ...]:
    """Returns the members of a first page that is the whole run: also those who changed after `until`."""
    since, dated = window.since, zip(page.moments, page.members, strict=True)
    return tuple(member for moment, member in dated if since is None or moment is None or moment > since)


def _within(window: Window, moment: int) -> bool:
    return moment <= window.until and (window.start is None or moment > window.start)


def _learned(window: Window, moments: Sequence[int]) -> Bounds:
    """Returns the bounds that are seen to include their second, for a member was seen at it.

    This holds for `before`, too: members who change during the run are dated after `until + 1` (see
    `models.Page.settled`).
    """
    start = window.start
    return Bounds(
        since_includes=start is not None and not window.bounds.since_includes and start in moments,
        before_includes=not window.bounds.before_includes and window.until + 1 in moments,
    )


def identity(member: Member) -> object:
    """Returns what tells a member from others of the page: for use in memory only, for it may be the address."""
    names = (member.contact_id, member.web_id, member.email_address)
    return next((name for name in names if isinstance(name, str | int) and name), None)
