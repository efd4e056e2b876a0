"""Reads a second that more members share than a page can hold, in passes, until it has seen each of them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial

from msgspec.structs import replace

from mcimport.errors import IgnoredParameterError, McimportError, RetriableError, ServiceTimeoutError, ThrottledError
from mcimport.errors.machine import submit
from mcimport.models import Member, Page, Window
from mcimport.models.timestamps import epoch
from mcimport.services.http import decode_slot
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.pagination import SMALLEST_PAGE, half, identity

AT_ONCE = 10  # pages of the first pass that are requested at once, within the account's connection limit
MOST_STALE = 20  # full pages in a row, each at a higher offset, without a member that others did not show
_Ask = Callable[[int], Page | RetriableError]
"""Requests the page of the second at an offset."""

_Pages = Generator[tuple[int, Page | RetriableError]]
"""Offsets and pages of the second, or the error that a page ended with."""

_TOO_MANY = "too many members share one last_changed second"


class UnstableSecondError(RetriableError):
    """A second larger than a page whose members kept changing their order: it may be incomplete."""


class SameSecondReader:
    """Notes which members of the second were seen, over as many passes as it takes.

    Offsets move while the second is read, but only one way: members can leave it, and none can enter it. So a pass goes
    from the last page to the first: a member who moves to a lower offset moves into a page that is still to come. If
    members of one second keep their order, one pass sees them all; that they do not shows when one turns up at a higher
    offset than before.

    Attributes:
        unstable: members were seen to change their order.
        troubled: a page failed, if only at its first try.
        count: how many members the second has at most, as far as is known.
    """

    MOST_PASSES = 25
    QUIET_PASSES = 8  # running, once the order is known not to hold still: a pass misses one in three at random

    def __init__(self, second: int, count: int) -> None:
        self.second = second
        self.passes = 0
        self.unstable = False
        self.troubled = False
        self.count = count
        self._count_lies = False
        self._place: dict[object, int] = {}
        self._quiet = 0
        self._new_in_pass = 0

    def begin_pass(self) -> None:
        self.passes += 1
        self._new_in_pass = 0

    def at_least(self, count: int) -> None:
        """Notes that so many members were there at one moment; if they were counted as fewer, the count is wrong."""
        if count > self.count:
            self.count = count
            self._count_lies = True

    def take(self, members: Iterable[Member], offset: int) -> list[Member]:
        """Returns the members whom this page shows for the first time; `offset` is the page's."""
        fresh = []
        for place, member in enumerate(members, offset):
            if epoch(member.last_changed) not in (self.second, None):
                continue
            key = identity(member)
            before = self._place.get(key)
            if before is None:
                fresh.append(member)
            elif place > before:
                self.unstable = True
            self._place[key] = place
        self._new_in_pass += len(fresh)
        return fresh

    def end_pass(self) -> bool:
        """Says whether all members who stayed were seen: as many as there ever were, or none new for long enough.

        A count that was too low says nothing: a member who left after being seen would hide one who was not.
        """
        self._quiet = 0 if self._new_in_pass else self._quiet + 1
        if self.passes > 1 and self._new_in_pass:
            self.unstable = True
        if len(self._place) == self.count and not self._count_lies:
            return True
        return self._quiet >= (self.QUIET_PASSES if self.unstable else 1)


def read_same_second(mailchimp: MailchimpClient, list_key: str, window: Window, second: int) -> Generator[list[Member]]:
    """Yields all members of `second`, each once, in passes over its pages, the last page first.

    Pages that are too slow are halved, down to 50. Raises UnstableSecondError after 25 passes. The error of a page that
    fails for good is raised at the end of its pass, when the rest of the second was yielded; a ServiceTimeoutError of
    the smallest page at once.
    """
    span = replace(window, since=second - 1, through=None, until=second)
    reader = SameSecondReader(second, mailchimp.probe_at(list_key, span, 0).total_items)
    while reader.passes < reader.MOST_PASSES:
        reader.begin_pass()
        failure: RetriableError | None = None
        try:
            with closing(_pass(mailchimp, list_key, span, reader)) as pages:
                for offset, page in pages:
                    if isinstance(page, RetriableError):
                        failure = page
                    elif fresh := reader.take(page.members, offset):
                        yield fresh
        except ServiceTimeoutError:
            if span.page <= SMALLEST_PAGE:
                raise
            span = replace(span, page=half(span.page))
            reader.passes -= 1  # the pass begins again, and whoever was seen is not yielded again
            continue
        if failure:
            raise failure
        if reader.end_pass():
            if reader.unstable and reader.troubled:
                # A member who breaks every page they are on is never on the page that another try returns.
                raise UnstableSecondError(f"{_TOO_MANY}; a page of them failed while their order changed")
            return
    raise UnstableSecondError(f"{_TOO_MANY}; still incomplete after {reader.MOST_PASSES} passes")


def _pass(mailchimp: MailchimpClient, list_key: str, span: Window, reader: SameSecondReader) -> _Pages:
    """Yields offset and page, or error, of one pass: from the first offset without a member down to 0.

    A short page is not the last one for sure: a member may have been deleted while it was written. And pages seen on
    the way up do not count as read: a member may move from a page not read yet into one that was.

    In the first pass, the pages before the last one are requested at once. A member may slip from one of them to
    another meanwhile; then fewer are seen than were counted, and a pass in order follows. The last page shows before
    that whether the count is too low.
    """
    ask = partial(_page_or_error, mailchimp, list_key, span, reader)
    size = span.page
    top = -(-reader.count // size) * size
    seen: set[object] = set()
    stale = 0
    while isinstance(page := ask(top), Page) and page.members:
        before = len(seen)
        seen.update(map(identity, page.members))
        stale = stale + 1 if len(seen) == before else 0
        if stale >= MOST_STALE:
            raise IgnoredParameterError("Mailchimp ignored offset and kept returning the same members")
        top += size
    yield top, page
    offsets = range(top - size, -1, -size)
    last = ((offset, ask(offset)) for offset in offsets[:1])
    is_first, rest = reader.passes == 1, offsets[1:]
    with closing(_at_once(mailchimp, list_key, span, rest, reader) if is_first else _in_order(ask, rest)) as others:
        for offset, page in itertools.chain(last, others):
            if isinstance(page, Page) and page.members:
                reader.at_least(offset + len(page.members))
            yield offset, page


def _in_order(ask: _Ask, offsets: Sequence[int]) -> _Pages:
    for offset in offsets:
        yield offset, ask(offset)


def _at_once(
    mailchimp: MailchimpClient, list_key: str, span: Window, offsets: Sequence[int], reader: SameSecondReader
) -> _Pages:
    """Yields offset and page, or error, of pages that are requested at once, AT_ONCE at most.

    They are decoded one by one, and one that fails is requested again. Only one second of a client is read so at a
    time, for the undecoded pages take memory; another one meanwhile is read in order.
    """
    ask = partial(_page_or_error, mailchimp, list_key, span, reader)
    if not offsets or not mailchimp.at_once.acquire(blocking=False):
        yield from _in_order(ask, offsets)
        return
    trace, meter, window = mailchimp.http.trace, mailchimp.meter, mailchimp.http.trace.present_window

    def request(offset: int) -> tuple[Callable[[], Page] | McimportError, Mapping[str, float]]:
        with trace.window(window), meter.apart() as spent:
            try:
                return mailchimp.request_page(list_key, span, span.page, offset), spent()
            except McimportError as error:
                return error, spent()

    pool = ThreadPoolExecutor(min(AT_ONCE, len(offsets)), thread_name_prefix="second")
    requested = deque[Future[tuple[Callable[[], Page] | McimportError, Mapping[str, float]]]]()
    try:
        requested.extend(submit(pool, partial(request, offset)) for offset in offsets[:AT_ONCE])
        for place, offset in enumerate(offsets):
            with decode_slot.released(), meter.timed("waited_mailchimp"):
                arrived, requests = requested.popleft().result()
            meter.book(requests)
            requested.extend(submit(pool, partial(request, later)) for later in offsets[place + AT_ONCE :][:1])
            yield offset, _decoded(arrived, reader) or ask(offset)
    finally:
        with decode_slot.released():
            pool.shutdown(cancel_futures=True)
        for future in requested:
            if not future.cancelled():
                meter.book(future.result()[1])
        mailchimp.at_once.release()


def _decoded(arrived: Callable[[], Page] | McimportError, reader: SameSecondReader) -> Page | None:
    """Returns a page; None where it has to be requested again. Raises what no other try of the same page can change."""
    try:
        if isinstance(arrived, McimportError):
            raise arrived
        page = arrived()
    except ServiceTimeoutError:
        raise
    except RetriableError as error:
        reader.troubled |= not isinstance(error, ThrottledError)
        return None
    return page if page.members or page.total else None


def _page_or_error(
    mailchimp: MailchimpClient, list_key: str, span: Window, reader: SameSecondReader, offset: int
) -> Page | RetriableError:
    """Returns a page of the second, or its error; that a first try failed is noted, for another order may hide why."""
    for quick in (True, False):
        try:
            return mailchimp.next_page(list_key, span, span.page, offset=offset, quick=quick)
        except ServiceTimeoutError:
            raise
        except RetriableError as error:
            reader.troubled = True
            failure = error
    return failure
