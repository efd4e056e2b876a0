"""The next page of a window, trusted only as far as it should be; and the search for what makes one unreadable.

A page that cannot be read is narrowed over the next calls: half of it is asked for without retries, then half of the
suspects that are left, until everything readable went through and a dead letter names the smallest span that is not.
"""

from __future__ import annotations

import contextlib

from msgspec.structs import replace

from mcimport.engine.page.context import PageContext
from mcimport.engine.page.result import PageResult
from mcimport.errors import RetriableError, ServiceTimeoutError, UnreachableError
from mcimport.models import Outcome, Page, Window
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.client import EmptyPageError
from mcimport.services.mailchimp.pagination import PageSplit

MOST_DOUBTS = 5  # times that a page with fewer members than its own count is asked for again


def fetch_page(
    window: Window, context: PageContext, result: PageResult, first: Page | None = None
) -> tuple[PageSplit, int]:
    """Returns the next page, split into what is kept and what is left, and how many members were asked for.

    `first`: the first page of the sweep, which is also the window's: a member who changed since then left the window,
    and none can have entered it, so that it is used as if it were read now.

    Raises RetriableError where Mailchimp's pages keep contradicting their own counts, and what Mailchimp raises.
    """
    if first is not None and (split := pagination.split_first_page(window, first)).verdict in ("over", "more"):
        return split, first.asked
    window, page, asked = _fetch(window, context)
    split = pagination.split_page(window, page, asked)
    for _ in range(MOST_DOUBTS):
        if split.verdict != "short":
            break
        page, asked = context.mailchimp.confirm_short_page(context.list_key, window, page, asked)
        result.warnings.add("Mailchimp returned pages that contradict their own total; they were read again")
        split = pagination.split_page(window, page, asked)
    if split.verdict == "short":
        raise RetriableError("Mailchimp kept returning pages that contradict their own total")
    if split.verdict == "crowded" and window.suspect_count:
        split = _perhaps_whole(window, context, split, asked)
    return split, asked


def _perhaps_whole(window: Window, context: PageContext, split: PageSplit, asked: int) -> PageSplit:
    """Returns the split of a tiny page, with the second that fills it taken as whole where it surely is.

    Called while a failure is narrowed. Read as an oversized second, its full-size pages would only meet the unreadable
    member again. The member at the next offset shows whether the second goes on behind the page. Then the page is read
    once more: members only ever move to lower offsets, so whoever was on it then still is. A member dated after the
    window changed while the answer was written, and tells nothing.
    """
    try:
        following = context.mailchimp.last_changed_at(context.list_key, window, asked, quick=True)
        if following is not None and not split.second < following <= window.until:
            return split
        page = context.mailchimp.next_page(context.list_key, window, asked, quick=True)
    except RetriableError:
        return split
    if len(page.members) < min(asked, page.total):
        return split
    kept = pagination.up_to(window, page, split.second)
    return PageSplit("more", kept, replace(split.rest, through=split.second))


def _fetch(window: Window, context: PageContext) -> tuple[Window, Page, int]:
    """Returns a page of the size that works: one that times out is asked for at half its size, down to 50."""
    if window.suspect_count:
        size = max(1, window.suspect_count // 2)
        return window, context.mailchimp.next_page(context.list_key, window, size, quick=True), size
    while True:
        try:
            return window, context.mailchimp.next_page(context.list_key, window, window.page), window.page
        except ServiceTimeoutError:
            if window.page <= pagination.SMALLEST_PAGE:
                raise
            window = replace(window, page=pagination.half(window.page))


def shrink_suspects(rest: Window, kept: int, asked: int) -> Window:
    """Returns the rest with fewer suspects, after a part of them was readable: the cause is among the others.

    `kept`: how many members were readable, of `asked`.
    """
    if not rest.suspect_count:
        return rest
    return replace(rest, suspect_count=0 if asked >= rest.suspect_count else max(1, rest.suspect_count - kept))


def narrow_failure(window: Window, context: PageContext, result: PageResult, error: RetriableError) -> Outcome:
    """Returns the outcome of a page that could not be read.

    The members of the page become suspects, half of whom are asked for next. Once there is one suspect, or where
    narrowing is of no use, their span becomes a dead letter.
    """
    if isinstance(error, UnreachableError | EmptyPageError):
        count = error.page.total if isinstance(error, EmptyPageError) else None
        result.add_dead_letter(window.start, window.until, error, count)
        return result.outcome(window, failed=True)
    asked = max(1, window.suspect_count // 2) if window.suspect_count else window.page
    if isinstance(error, ServiceTimeoutError) or window.suspect_count == 1:
        return _set_aside(window, context, result, min(asked, pagination.SMALLEST_PAGE), error)
    return result.outcome(window, replace(window, suspect_count=asked))


def _set_aside(window: Window, context: PageContext, result: PageResult, rows: int, error: RetriableError) -> Outcome:
    """Makes a dead letter for the smallest span that holds the window's first `rows` members; the rest is behind it."""
    span = _smallest_span(window, context, rows)
    if span is None:
        return result.outcome(window)
    result.add_dead_letter(*span, error, count_in(window, context, span))
    return result.outcome(window, replace(window, through=span[1], suspect_count=0), failed=True)


def count_in(window: Window, context: PageContext, span: tuple[int | None, int]) -> int | None:
    """Returns how many members Mailchimp counts in a span of the window; None where it does not say, or says none."""
    since, until = span
    part = replace(window, since=since, through=None, until=until)
    return context.mailchimp.count_in_window(context.list_key, part) or None


def _smallest_span(window: Window, context: PageContext, rows: int) -> tuple[int | None, int] | None:
    """Returns the span of the window's first `rows` members, as far as tiny requests without retries can tell.

    None: the window holds no member any more.
    """
    start, until = window.start, window.until
    if rows == 1:
        with contextlib.suppress(RetriableError):
            first = context.mailchimp.last_changed_at(context.list_key, window, 0, quick=True)
            if first is None:
                return None
            # A member dated after the window changed while the answer was written, and says nothing of the others.
            if first <= until and (start is None or first > start):
                return first - 1, first
    try:
        following = context.mailchimp.last_changed_at(context.list_key, window, rows, quick=True)
    except RetriableError:
        following = None
    if following is None:
        return start, until
    end = following - 1 if start is None else max(following - 1, start + 1)
    return start, min(end, until)
