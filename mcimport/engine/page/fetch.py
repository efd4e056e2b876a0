"""The next page of a window, believed only as far as it should be; and what becomes of one that cannot be read.

Such a page is narrowed over the next pieces of work: half of it is asked for without waiting, then half of what is left
under suspicion, until what can be read went through and the smallest span that cannot is named in a dead letter.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from mcimport.engine.page.context import Job
from mcimport.engine.page.result import Haul
from mcimport.errors import RetriableError, TooSlowError, UnreachableError
from mcimport.models import Outcome, Page, Window
from mcimport.services.mailchimp import windows
from mcimport.services.mailchimp.client import NobodyError
from mcimport.services.mailchimp.windows import Settled

MOST_DOUBTS = 5  # times that a page short of its own count is looked at again


def read(window: Window, job: Job, haul: Haul) -> tuple[Settled, int]:
    """The next page, believed only as far as it should be, and how many members were asked for."""
    window, page, asked = _fetch(window, job)
    settled = windows.settle(window, page, asked)
    for _ in range(MOST_DOUBTS):
        if settled.verdict != "short":
            break
        page, asked = job.mailchimp.doubted(job.list_key, window, page, asked)
        haul.warnings.add("Mailchimp returned pages that contradict their own total; they were read again")
        settled = windows.settle(window, page, asked)
    if settled.verdict == "short":
        raise RetriableError("Mailchimp kept returning pages that contradict their own total")
    if settled.verdict == "crowded" and window.suspect:
        settled = _perhaps_whole(window, job, settled, asked)
    return settled, asked


def _perhaps_whole(window: Window, job: Job, settled: Settled, asked: int) -> Settled:
    """While narrowing, a second that fills a tiny page may be whole on it: seen by who stands behind it.

    The wide pages of a crowd would only meet the broken member again. The page is read once more after the look
    behind it: members slide to lower offsets alone, so whoever stood on it then does so still. Whoever is dated after
    the window changed while the answer was written, and says nothing.
    """
    try:
        following = job.mailchimp.look_up(job.list_key, window, asked, quick=True)
        if following is not None and not settled.second < following <= window.until:
            return settled
        page = job.mailchimp.next_page(job.list_key, window, asked, quick=True)
    except RetriableError:
        return settled
    if len(page.members) < min(asked, page.total):
        return settled
    kept = windows.up_to(window, page, settled.second)
    return Settled("more", kept, replace(settled.rest, through=settled.second))


def _fetch(window: Window, job: Job) -> tuple[Window, Page, int]:
    """A page of the size that works: a page that is too slow is asked for at half its size, down to 50."""
    if window.suspect:
        size = max(1, window.suspect // 2)
        return window, job.mailchimp.next_page(job.list_key, window, size, quick=True), size
    while True:
        try:
            return window, job.mailchimp.next_page(job.list_key, window, window.page), window.page
        except TooSlowError:
            if window.page <= windows.SMALLEST_PAGE:
                raise
            window = replace(window, page=windows.half(window.page))


def less_suspect(rest: Window, kept: int, asked: int) -> Window:
    """Half of a suspected page was readable: the cause, if it is still there, is among the others."""
    if not rest.suspect:
        return rest
    return replace(rest, suspect=0 if asked >= rest.suspect else max(1, rest.suspect - kept))


def unread(haul: Haul, error: RetriableError) -> Outcome:
    """A page that could not be read: suspect the first half of it, or, once that is one member, set it aside."""
    window = haul.window
    if isinstance(error, UnreachableError | NobodyError):
        counted = error.page.total if isinstance(error, NobodyError) else None
        haul.bury(window.start, window.until, error, counted)
        return haul.outcome(None, failed=True)
    asked = max(1, window.suspect // 2) if window.suspect else window.page
    if isinstance(error, TooSlowError):
        return _set_aside(haul, min(asked, windows.SMALLEST_PAGE), error)
    if window.suspect == 1:
        return _set_aside(haul, 1, error)
    return haul.outcome(replace(window, suspect=asked))


def _set_aside(haul: Haul, rows: int, error: RetriableError) -> Outcome:
    """Names the smallest span that holds the window's first `rows` members, and goes on behind it."""
    span = _smallest_span(haul.window, haul.job, rows)
    if span is None:
        return haul.outcome(None)
    haul.bury(*span, error, counted(haul, span))
    return haul.outcome(replace(haul.window, through=span[1], suspect=0), failed=True)


def counted(haul: Haul, span: tuple[int | None, int]) -> int | None:
    """How many members Mailchimp counts in a span of the window; None where it does not say, or says nobody."""
    since, until = span
    window = replace(haul.window, since=since, through=None, until=until)
    return haul.job.mailchimp.count(haul.job.list_key, window) or None


def _smallest_span(window: Window, job: Job, rows: int) -> tuple[int | None, int] | None:
    """Where the window's first `rows` members lie, as far as tiny requests without a second try can tell.

    None: there is nobody any more.
    """
    start, until = window.start, window.until
    if rows == 1:
        with contextlib.suppress(RetriableError):
            first = job.mailchimp.look_up(job.list_key, window, 0, quick=True)
            if first is None:
                return None
            # Dated after the window: they changed while the answer was written, and say nothing of those behind them.
            if first <= until and (start is None or first > start):
                return first - 1, first
    try:
        following = job.mailchimp.look_up(job.list_key, window, rows, quick=True)
    except RetriableError:
        following = None
    if following is None:
        return start, until
    end = following - 1 if start is None else max(following - 1, start + 1)
    return start, min(end, until)
