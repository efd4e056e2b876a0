"""One page of a window, read and handed on; and what of it could not be read or delivered.

A page is a part of the window, an oversized second of it, or the one member whom the window looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from mcimport.convert import is_contact_id, member_id
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.fetch import count_in, fetch_page, narrow_failure, shrink_suspects
from mcimport.engine.page.result import PageResult, is_over
from mcimport.errors import NotFoundError, RetriableError
from mcimport.models import Member, Outcome, Page, Precision, Window
from mcimport.models.timestamps import epoch
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.pagination import PageSplit
from mcimport.services.mailchimp.same_second import read_same_second

Deliver = Callable[[PageResult, list[Member], Callable[[], None]], None]
"""Takes members out of the list (see `consume`), and counts them in the result or begins to push them.

May call the third as soon as there is room for the members of another page, if that is before it returns.
"""

AwaitAnswers = Callable[[PageResult], None]
"""Waits for what becomes of members whom `Deliver` began to push, and counts them in the result.

Raises RetriableError where some could not be pushed.
"""


def consume(members: list[Member]) -> Iterator[Member]:
    """Yields members in order and takes each out of the list, so that it is freed as soon as it is converted."""
    members.reverse()
    while members:
        yield members.pop()


def read_page(
    window: Window,
    context: PageContext,
    deliver: Deliver,
    await_answers: AwaitAnswers,
    on_read: Callable[[Window], None],
    page: Page | None,
) -> Outcome:
    """Reads one page of a window, has it delivered, and returns the outcome with the rest of the window.

    `on_read`, `page`, and what is raised: see `process_page`.
    """
    result = PageResult(context, window.sweep, window.new_since, is_replay=window.letter_id is not None)
    try:
        return _PageReader(window, context, deliver, await_answers, on_read, result).read(page)
    finally:
        result.close()


@dataclass(eq=False)
class _PageReader:
    """Reads one page of one window."""

    _window: Window
    _context: PageContext
    _deliver_members: Deliver
    _await_answers: AwaitAnswers
    _on_read: Callable[[Window], None]
    _result: PageResult
    _has_met: bool = False  # the one member whom the window looks for was on a page
    _is_told: bool = False  # the next page may be read

    def read(self, page: Page | None) -> Outcome:
        window = self._window
        if page is not None and pagination.fits_in_one(page, page.asked):
            is_all = all(moment is None or moment <= window.until for moment in page.moments)
            return self._deliver_page(list(pagination.whole_page(window, page)), None, "exactly" if is_all else "about")
        if window.is_by_id:
            return self._ask_by_id()
        try:
            split, asked = fetch_page(window, self._context, self._result, page)
        except RetriableError as error:
            return narrow_failure(window, self._context, self._result, error)
        self._window = replace(window, bounds=split.rest.bounds)  # the last page of a window may show one, too
        if split.verdict == "crowded":
            return self._read_second(split, asked)
        rest = None if split.verdict == "over" else shrink_suspects(split.rest, len(split.kept), asked)
        kept = list(split.kept)
        del split  # so that only `kept` holds the page while its records wait to be sent
        return self._deliver_page(kept, rest)

    def _deliver_page(self, members: list[Member], rest: Window | None, precision: Precision = "exactly") -> Outcome:
        """Delivers what was read; where Ometria does not take it, the page's span becomes a dead letter.

        `precision`: how exactly the number of members is that of the span.
        """
        window, count = self._window, len(members)
        try:
            with self._ahead(rest):
                self._deliver(members, lambda: self._tell_rest(rest))
            self._tell_rest(rest)
            self._await_answers(self._result)
            if rest is None and self._is_missing:
                return self._ask_by_id()
        except RetriableError as error:
            end = window.until if rest is None or rest.through is None else rest.through
            unsent = 1 if window.member_id is not None else self._result.left_of(count)
            self._result.add_dead_letter(window.start, end, error, unsent, precision)
            return self._result.outcome(window, rest, failed=True)
        return self._result.outcome(window, rest)

    def _read_second(self, split: PageSplit, asked: int) -> Outcome:
        """Reads a second that is larger than a page, in as many passes as it takes."""
        window, second, result = self._window, split.second, self._result
        whole = split.rest if window.suspect_count else replace(split.rest, page=asked)
        undated = [member for member in split.kept if epoch(member.last_changed) is None]
        failure: RetriableError | None = None
        try:
            with self._ahead(None if window.suspect_count else replace(whole, through=second), is_second=True):
                self._deliver(undated)
                passes = read_same_second(self._context.mailchimp, self._context.list_key, whole, second)
                with closing(passes):
                    for members in passes:
                        self._deliver(members)
        except RetriableError as error:
            failure = error
        rest = shrink_suspects(replace(whole, through=second), result.members, asked)
        if failure is None:
            self._tell_rest(rest)
        try:
            self._await_answers(result)
        except RetriableError as error:
            failure = error
        if failure is None and second >= window.until and self._is_missing:
            return self._ask_by_id()
        if failure is not None:
            self._add_second_as_dead_letter(second, failure)
        return result.outcome(window, rest, failed=failure is not None)

    def _add_second_as_dead_letter(self, second: int, error: RetriableError) -> None:
        """Counts as many members as Mailchimp does, less those who were sent; else at least those who were read."""
        span, result = (second - 1, second), self._result
        count = count_in(self._window, self._context, span)
        if count is None:
            result.add_dead_letter(*span, error, result.left_of(result.members), "at least")
        else:
            result.add_dead_letter(*span, error, result.left_of(count))

    @contextmanager
    def _ahead(self, rest: Window | None, *, is_second: bool = False) -> Iterator[None]:
        """Has the next page of the window read while the block converts this one, where memory allows it.

        That is: few records wait for a permit, for the next page's would wait behind them; and no other page is so far
        ahead. `is_second`: the block reads an oversized second, for several round trips; one of these may be, too.
        """
        lock = self._context.ahead_of_second if is_second else self._context.ahead
        has_room = self._context.sender is None or self._context.sender.has_room
        if not has_room or not lock.acquire(blocking=False):
            yield
            return
        try:
            self._tell_rest(rest)
            yield
        finally:
            lock.release()

    def _tell_rest(self, rest: Window | None) -> None:
        """Has the next page of the window read, once: at best while this one is converted, else while it is sent."""
        if rest is not None and not self._is_told and self._window.member_id is None and not is_over(rest):
            self._is_told = True
            self._on_read(rest)

    def _deliver(self, members: list[Member], on_room: Callable[[], None] = lambda: None) -> None:
        self._result.note_sms(members)
        if self._window.member_id is not None:
            members[:] = [member for member in members if member_id(member) == self._window.member_id]
            self._has_met = self._has_met or bool(members)
        self._deliver_members(self._result, members, on_room)

    @property
    def _is_missing(self) -> bool:
        """The window looks for one member, who was on no page."""
        return self._window.member_id is not None and not self._has_met

    def _ask_by_id(self) -> Outcome:
        """Asks for the one member by id, because they are not in that second any more; only a 404 says "gone".

        Mailchimp finds no member by a web_id. One who is known by that alone has left the second by a change, which an
        incremental run imports, or is not there any more.
        """
        window, context = self._window, self._context
        if not is_contact_id(window.member_id):
            return self._result.outcome(window, gone=True)
        try:
            member = context.mailchimp.member(context.list_key, window.member_id or "")
            changed = epoch(member.last_changed)
            if window.is_by_id and changed is not None and changed <= window.until:  # the list leaves them out
                return self._result.outcome(window, gone=True)
            self._deliver([member])
            self._await_answers(self._result)
        except NotFoundError:
            return self._result.outcome(window, gone=True)
        except RetriableError as error:
            self._result.add_dead_letter(window.since, window.until, error, 1, "exactly")
            return self._result.outcome(window, failed=True)
        return self._result.outcome(window)
