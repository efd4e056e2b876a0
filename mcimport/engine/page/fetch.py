"""The next page of a window, believed only as far as it should be; and what becomes of one that cannot be read.

Such a page is narrowed over the next pieces of work: half of it is asked for without waiting, then half of what is left
under suspicion, until what can be read went through and the smallest span that cannot is named in a dead letter.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from mcimport.engine.page.context import PageContext
from mcimport.engine.page.result import PageResult
from mcimport.errors import RetriableError, ServiceTimeoutError, UnreachableError
from mcimport.models import Outcome, Page, Window
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.client import EmptyPageError
from mcimport.services.mailchimp.pagination import PageSplit

MOST_DOUBTS = 5  # times that a page short of its own count is looked at again


def fetch_page(window: Window, context: PageContext, result: PageResult) -> tuple[PageSplit, int]:
    """The next page, believed only as far as it should be, and how many members were asked for."""
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
    """While narrowing, a second that fills a tiny page may be whole on it: seen by who stands behind it.

    The wide pages of a crowd would only meet the broken member again. The page is read once more after the look
    behind it: members slide to lower offsets alone, so whoever stood on it then does so still. Whoever is dated after
    the window changed while the answer was written, and says nothing.
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
    """A page of the size that works: a page that is too slow is asked for at half its size, down to 50."""
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
    """Half of a suspected page was readable: the cause, if it is still there, is among the others."""
    if not rest.suspect_count:
        return rest
    return replace(rest, suspect_count=0 if asked >= rest.suspect_count else max(1, rest.suspect_count - kept))


def narrow_failure(result: PageResult, error: RetriableError) -> Outcome:
    """A page that could not be read: suspect the first half of it, or, once that is one member, set it aside."""
    window = result.window
    if isinstance(error, UnreachableError | EmptyPageError):
        counted = error.page.total if isinstance(error, EmptyPageError) else None
        result.add_dead_letter(window.start, window.until, error, counted)
        return result.outcome(None, failed=True)
    asked = max(1, window.suspect_count // 2) if window.suspect_count else window.page
    if isinstance(error, ServiceTimeoutError):
        return _set_aside(result, min(asked, pagination.SMALLEST_PAGE), error)
    if window.suspect_count == 1:
        return _set_aside(result, 1, error)
    return result.outcome(replace(window, suspect_count=asked))


def _set_aside(result: PageResult, rows: int, error: RetriableError) -> Outcome:
    """Names the smallest span that holds the window's first `rows` members, and goes on behind it."""
    span = _smallest_span(result.window, result.context, rows)
    if span is None:
        return result.outcome(None)
    result.add_dead_letter(*span, error, counted(result, span))
    return result.outcome(replace(result.window, through=span[1], suspect_count=0), failed=True)


def counted(result: PageResult, span: tuple[int | None, int]) -> int | None:
    """How many members Mailchimp counts in a span of the window; None where it does not say, or says nobody."""
    since, until = span
    window = replace(result.window, since=since, through=None, until=until)
    return result.context.mailchimp.count_in_window(result.context.list_key, window) or None


def _smallest_span(window: Window, context: PageContext, rows: int) -> tuple[int | None, int] | None:
    """Where the window's first `rows` members lie, as far as tiny requests without a second try can tell.

    None: there is nobody any more.
    """
    start, until = window.start, window.until
    if rows == 1:
        with contextlib.suppress(RetriableError):
            first = context.mailchimp.last_changed_at(context.list_key, window, 0, quick=True)
            if first is None:
                return None
            # Dated after the window: they changed while the answer was written, and say nothing of those behind them.
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
