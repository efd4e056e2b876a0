"""Mailchimp: a list's first page, its cuts, a window's next page, a crowded second; fields and single members.

Source of the facts: Mailchimp's Marketing API v3 reference, and dated probes of live accounts by other projects where
the reference is silent (bounds of `since_last_changed`, archived members, odd answers with status 200).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from mcimport.convert import is_contact_id, member_id
from mcimport.errors import (
    FatalError,
    IgnoredParameterError,
    InterruptedRunError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceTimeoutError,
    ThrottledError,
    UnknownListError,
)
from mcimport.models import ListFields, Member, OptedIn, Page, Sweep, Window
from mcimport.models.timestamps import epoch, iso
from mcimport.services.http import decode_slot
from mcimport.services.http.client import HttpClient, Response
from mcimport.services.http.retry import ConnectionLimit, RetryPolicy, call_with_retry
from mcimport.services.http.usage import UsageMeter
from mcimport.services.mailchimp import windows
from mcimport.services.mailchimp.responses import (
    CATEGORIES,
    COUNT,
    INTERESTS,
    LIST,
    MEMBER,
    MEMBERS,
    MERGE_FIELDS,
    PING,
    TAGS,
    Members,
    Tags,
    clock,
    decoded,
    merge_field,
    text,
)

T = TypeVar("T")

EVERYTHING: Mapping[str, str] = {"count": "1000"}
AT_ONCE = 4  # requests for a list's fields at a time
MEMBER_FIELDS = ",".join([*(f"members.{name}" for name in Member.__struct_fields__), "total_items"])
LOOK_UP_FIELDS = "members.last_changed,total_items"
MOST_STALE = 20  # full pages in a row, each at a higher offset, that show nobody new
MORE_LOOKS = 3  # at an answer that holds nobody and counts nobody, before that is believed
BELIEVABLE_LIE = 50  # members that a count may promise and nobody ever show, before that is an error
_TOO_MANY = "too many members share one last_changed second"


class UnstableSecondError(RetriableError):
    """A second larger than a page held no still: after so many passes there was still somebody new."""


class EmptyPageError(RetriableError):
    """An answer counted somebody and held nobody, however often it was asked for."""

    def __init__(self, page: Page) -> None:
        super().__init__("Mailchimp reported members but returned none")
        self.page = page


class MailchimpClient:
    """One account, for one client. Safe to share between threads.

    Every method raises what `errors` says of services: FatalError for what no try can mend, RetriableError when the
    tries are used up, InterruptedRunError when the stop was asked for.
    """

    def __init__(
        self,
        http: HttpClient,
        limit: ConnectionLimit,
        policy: RetryPolicy,
        meter: UsageMeter | None = None,
        member_fields: str = MEMBER_FIELDS,
    ) -> None:
        self._http = http
        self._limit = limit
        self._meter = meter or UsageMeter()
        self._policy = replace(policy, retried=self._note_retry)
        self._member_fields = member_fields

    def close(self) -> None:
        self._http.close()

    def _note_retry(self, seconds: float, error: BaseException | None) -> None:
        self._meter.retried("mailchimp", seconds)
        self._http.trace.retry(self._http.service, str(error), seconds)

    def with_fields(self, fields: Iterable[str]) -> MailchimpClient:
        """The same account, whose pages hold these fields of a member alone, by their dotted names."""
        asked = ",".join([*(f"members.{name}" for name in fields), "total_items"])
        return MailchimpClient(self._http, self._limit, self._policy, self._meter, asked)

    def check_not_stopped(self) -> None:
        """Raises InterruptedRunError once a stop was asked for."""
        if self._policy.stop.requested.is_set():
            raise InterruptedRunError("stopped")

    def ping(self) -> float | None:
        """How many seconds this machine's clock is ahead; None without a clock there. Raises for a key not accepted."""
        answer = call_with_retry(self._policy, lambda: self._once("ping", {}))
        decoded(answer, PING)
        return None if answer.date is None else time.time() - answer.date

    def first_page(self, list_key: str, sweep: Sweep, since: int | None, count: int) -> Page:
        """The first `count` members of a sweep after `since`, oldest change first, and the clock of the server.

        A page that is too slow is asked for at half the size, down to 50. Raises FatalError for an unknown list.
        """
        window = Window(number=0, sweep=sweep, since=since, until=windows.NO_END)
        while True:
            try:
                return self._page(list_key, window, count, first=True)
            except ServiceTimeoutError:
                if count <= windows.SMALLEST_PAGE:
                    raise
                count = windows.half(count)
            except NotFoundError:
                raise _unknown_list(list_key) from None

    def count_members(self, list_key: str) -> int:
        """How many members are on the list. One try, for a tiny answer. Raises FatalError for an unknown list."""
        try:
            return self.probe(list_key, "listed", None, 1).total
        except NotFoundError:
            raise _unknown_list(list_key) from None

    def probe(self, list_key: str, sweep: Sweep, since: int | None, count: int) -> Page:
        """How many there are after `since`, and the server's clock, without anybody: for a first page that is broken.

        One try, for a tiny answer. `count` is what the page says was asked for.
        """
        params = {**_span(Window(0, sweep, since, windows.NO_END)), "count": "1", "fields": LOOK_UP_FIELDS}
        answer = call_with_retry(
            self._policy.no_retry(), lambda: self._once(f"lists/{list_key}/members", params, first=True)
        )
        return Page((), decoded(answer, MEMBERS).total_items, count, *clock(answer), is_probe=True)

    def newest(self, list_key: str, sweep: Sweep, count: int) -> list[Member]:
        """Those who changed last, by their ids alone."""
        params = {
            "count": str(count),
            "sort_field": "last_changed",
            "sort_dir": "DESC",
            "fields": "members.contact_id,members.web_id,total_items",
            **({"status": "archived"} if sweep == "archived" else {}),
        }
        return self._get(f"lists/{list_key}/members", params, MEMBERS).members

    def last_changed_at(self, list_key: str, window: Window, offset: int, *, quick: bool = False) -> int | None:
        """The `last_changed` of the member who stands at `offset` of the window now; None where nobody does.

        Nobody is believed only of an answer that counts no more than `offset`. Raises RetriableError otherwise, and for
        a member without a time: there is somebody, but not to be placed.
        """
        answer = self._look(list_key, window, offset, quick=quick)
        moment = epoch(answer.members[0].last_changed) if answer.members else None
        if moment is None and (answer.members or answer.total_items > offset):
            raise RetriableError("Mailchimp returned a member without last_changed")
        return moment

    def count_in_window(self, list_key: str, window: Window) -> int | None:
        """How many are in what is left of the window, or a few more; None where Mailchimp does not say. One try."""
        with suppress(RetriableError):
            return self._look(list_key, window, 0, quick=True).total_items
        return None

    def next_page(self, list_key: str, window: Window, count: int, *, offset: int = 0, quick: bool = False) -> Page:
        """The first `count` members of what is left of the window. `quick`: without a second try.

        An answer that holds nobody and counts nobody is believed after `MORE_LOOKS`; where one member alone is sought,
        at once: they are asked for by id before they are gone.

        Raises ServiceTimeoutError at once when fewer might be answered.
        """
        page = self._page(list_key, window, count, offset=offset, quick=quick)
        for _ in range(0 if window.member_id else MORE_LOOKS):
            if page.members or page.total:
                break
            page = self._page(list_key, window, count, offset=offset, quick=quick)
        return page

    def confirm_short_page(self, list_key: str, window: Window, page: Page, count: int) -> tuple[Page, int]:
        """A page that is short of its own count, looked at again: the page to believe, and the size asked for.

        The same members twice more, with nobody at the next offset in between, are the end whatever is counted: the
        page comes back with its count corrected. (Twice, because somebody who leaves before the look at the next offset
        would have drawn whoever stood there into the page.) Somebody there: the server cuts its pages short, and that
        is their size.
        """
        again = (
            self.next_page(list_key, window, count) if page.members else self._retry_empty_page(list_key, window, count)
        )
        if not _same(again, page):
            return again, count
        size = len(again.members)
        if size:
            if self.next_page(list_key, window, count, offset=size).members:
                return again, size
            page, again = again, self.next_page(list_key, window, count)
            if not _same(again, page):
                return again, count
        return replace(again, total=size), count

    def same_second(self, list_key: str, window: Window, second: int) -> Iterator[list[Member]]:
        """Everybody who shares `second`, in passes over its pages, last page first; each member once.

        Raises UnstableSecondError after 25 passes. A page that fails for good is left out and its error raised at the
        end of the pass, when the rest of the second was handed over; a ServiceTimeoutError comes at once.
        """
        span = replace(window, since=second - 1, through=None, until=second)
        reader = windows.SameSecondReader(second, self._look(list_key, span, 0).total_items)
        while reader.passes < reader.MOST_PASSES:
            reader.begin_pass()
            failure: RetriableError | None = None
            for offset, page in self._pass(list_key, span, reader):
                if isinstance(page, RetriableError):
                    failure = page
                elif fresh := reader.take(page.members, offset):
                    yield fresh
            if failure:
                raise failure
            if reader.end_pass():
                if reader.unstable and reader.troubled:
                    # Whoever breaks every page that holds them is never on the page that another try gets.
                    raise UnstableSecondError(f"{_TOO_MANY}; a page of them failed while their order changed")
                return
        raise UnstableSecondError(f"{_TOO_MANY}; still incomplete after {reader.MOST_PASSES} passes")

    def member(self, list_key: str, contact_id: str) -> Member:
        """One member by `contact_id`; NotFoundError when there is none (any more)."""
        fields = ",".join(Member.__struct_fields__)
        path = f"lists/{list_key}/members/{contact_id}"
        return call_with_retry(self._policy, lambda: decoded(self._once(path, {"fields": fields}, first=True), MEMBER))

    def member_by_address(self, list_key: str, address: str) -> Member:
        """One member by their address, whoever it belongs to; NotFoundError when it is nobody's.

        Raises RetriableError for an answer about another address.
        """
        found = self.member(list_key, _hash_of(_plain(address)))
        if not isinstance(found.email_address, str) or _plain(found.email_address) != _plain(address):
            raise RetriableError("Mailchimp returned another member than the one asked for")
        return found

    def with_all_tags(self, list_key: str, member: Member) -> Member:
        """The member with every tag: a page lists fifty at most.

        Raises NotFoundError for who is not there any more, RetriableError also for a list that is cut here, too.
        """
        address = member.email_address if isinstance(member.email_address, str) else ""
        who = member_id(member)
        if not is_contact_id(who):  # web ids are nothing that Mailchimp finds a member by; the address's MD5 is
            who = _hash_of(address)
        path, counted = f"lists/{list_key}/members/{who}/tags", member.tags_count
        tags: dict[str, Any] = {}
        offset = 0
        while True:
            some = self._some_tags(path, offset)
            known = len(tags)
            tags |= {str(tag): tag for tag in some.tags}
            offset += len(some.tags)
            if len(tags) == known or offset >= some.total_items:
                break
        if len(tags) < max(some.total_items, counted if isinstance(counted, int) else 0):
            raise RetriableError("Mailchimp reported more tags of a member than it returned")
        return msgspec.structs.replace(member, tags=list(tags.values()), tags_count=len(tags))

    def count_opted_in(self, list_key: str, whom: OptedIn) -> int:
        """How many these are, or a few more: whether the bounds include the second that they name is not known."""
        params = {
            "status": "subscribed",
            "count": "1",
            "fields": "total_items",
            **({"since_last_changed": iso(whom.since)} if whom.since is not None else {}),
            **({"before_last_changed": iso(whom.until + 1)} if whom.until is not None else {}),
            **({"since_timestamp_opt": iso(whom.opted - 1)} if whom.opted is not None else {}),
            **({"before_timestamp_opt": iso(whom.latest + 1)} if whom.latest is not None else {}),
        }
        return self._get(f"lists/{list_key}/members", params, COUNT).total_items

    def list_fields(self, list_key: str) -> ListFields:
        """The list's merge fields and the names of its interests: two requests and one for each category, side by side.

        It takes as long as two answers.
        """
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fields") as pool:
            merge = pool.submit(self._get, f"lists/{list_key}/merge-fields", EVERYTHING, MERGE_FIELDS)
            path = f"lists/{list_key}/interest-categories"
            categories = self._get(path, EVERYTHING, CATEGORIES).categories
            paths = [f"{path}/{category.id}/interests" for category in categories]
            named = list(pool.map(lambda one: self._get(one, EVERYTHING, INTERESTS).interests, paths))
            fields = {field.tag: merge_field(field) for field in merge.result().merge_fields}
        return ListFields(fields, {one.id: text(one.name) for some in named for one in some})

    def has_permissions(self, list_key: str) -> bool | None:
        """Whether the list has marketing permissions (GDPR fields); None where Mailchimp does not say."""
        path, params = f"lists/{list_key}", {"fields": "marketing_permissions"}
        try:
            answer = call_with_retry(self._policy, lambda: decoded(self._once(path, params, first=True), LIST))
        except (NotFoundError, FatalError):  # what the members show has to do
            return None
        found = answer.marketing_permissions
        return found if isinstance(found, bool) else None

    def subscribed(self, list_key: str) -> int | None:
        """How many subscribed members the list itself counts; None where Mailchimp does not say. One try."""
        path, params = f"lists/{list_key}", {"fields": "stats.member_count"}
        try:
            answer = call_with_retry(
                self._policy.no_retry(), lambda: decoded(self._once(path, params, first=True), LIST)
            )
        except (NotFoundError, FatalError, RetriableError):
            return None
        count = answer.stats.get("member_count") if isinstance(answer.stats, dict) else None
        return count if isinstance(count, int) else None

    def permissions_shown(self, list_key: str, offset: int) -> tuple[list[Any], int]:
        """The `marketing_permissions` of 1,000 subscribed members, latest change first; how many are subscribed."""
        params = {
            **EVERYTHING,
            "status": "subscribed",
            "sort_field": "last_changed",
            "sort_dir": "DESC",
            "offset": str(offset),
            "fields": "members.marketing_permissions,total_items",
        }
        answer = self._get(f"lists/{list_key}/members", params, MEMBERS)
        return [one.marketing_permissions for one in answer.members], answer.total_items

    def _some_tags(self, path: str, offset: int) -> Tags:
        params = {"count": "1000", "offset": str(offset), "fields": "tags.name,total_items"}
        return call_with_retry(self._policy, lambda: decoded(self._once(path, params, first=True), TAGS))

    def _pass(
        self, list_key: str, span: Window, reader: windows.SameSecondReader
    ) -> Iterator[tuple[int, Page | RetriableError]]:
        """One pass: from the first offset at which there is nobody, whatever the count says, down to 0.

        A short page is not the top for sure: somebody may have been deleted while it was written. And pages seen on the
        way up do not count as read: somebody may slide from a page not read yet into one that was.
        """
        size = span.page
        top = -(-reader.count // size) * size
        page = self._page_or_error(list_key, span, top, reader)
        seen: set[object] = set()
        stale = 0
        while isinstance(page, Page) and page.members:
            before = len(seen)
            seen.update(map(windows.identity, page.members))
            stale = stale + 1 if len(seen) == before else 0
            if stale >= MOST_STALE:
                raise IgnoredParameterError("Mailchimp ignored offset and kept returning the same members")
            top += size
            page = self._page_or_error(list_key, span, top, reader)
        yield top, page
        for offset in range(top - size, -1, -size):
            page = self._page_or_error(list_key, span, offset, reader)
            if isinstance(page, Page) and page.members:
                reader.at_least(offset + len(page.members))
            yield offset, page

    def _page_or_error(
        self, list_key: str, span: Window, offset: int, reader: windows.SameSecondReader
    ) -> Page | RetriableError:
        """A page of a crowd; that its first try failed is remembered, for another order may hide why."""
        try:
            return self.next_page(list_key, span, span.page, offset=offset, quick=True)
        except ServiceTimeoutError:
            raise
        except RetriableError:
            reader.troubled = True
        try:
            return self.next_page(list_key, span, span.page, offset=offset)
        except ServiceTimeoutError:
            raise
        except RetriableError as error:
            return error

    def _look(self, list_key: str, window: Window, offset: int, *, quick: bool = False) -> Members:
        """One member, and how many the window counts; that it counts nobody is believed after `MORE_LOOKS`."""
        params = {**_span(window), "count": "1", "offset": str(offset), "fields": LOOK_UP_FIELDS}
        for _ in range(MORE_LOOKS):
            answer = self._get(f"lists/{list_key}/members", params, MEMBERS, quick=quick)
            if answer.members or answer.total_items:
                return answer
        return self._get(f"lists/{list_key}/members", params, MEMBERS, quick=quick)

    def _retry_empty_page(self, list_key: str, window: Window, count: int) -> Page:
        """A page that holds nobody though it counts somebody, asked for as often as an error would be.

        A few may be a count that lies. Many are a fault: raises EmptyPageError, lest a whole window be taken for empty.
        """

        def ask() -> Page:
            page = self.next_page(list_key, window, count, quick=True)
            if page.total and not page.members:
                raise EmptyPageError(page)
            return page

        try:
            return call_with_retry(self._policy, ask)
        except EmptyPageError as error:
            if error.page.total > BELIEVABLE_LIE:
                raise
            return error.page

    def _page(
        self, list_key: str, window: Window, count: int, *, offset: int = 0, quick: bool = False, first: bool = False
    ) -> Page:
        params = {**_span(window), "count": str(count), "offset": str(offset), "fields": self._member_fields}

        def ask() -> Page:
            answer = self._once(f"lists/{list_key}/members", params, first=first)
            content = decoded(answer, MEMBERS)
            page = Page(tuple(content.members), content.total_items, count, *clock(answer))
            windows.check_page(window, page, count, offset)
            return page

        return call_with_retry(
            self._policy.no_retry() if quick else self._policy, ask, fail_fast_on_timeout=count > windows.SMALLEST_PAGE
        )

    def _get(self, path: str, params: Mapping[str, str], kind: msgspec.json.Decoder[T], *, quick: bool = False) -> T:
        policy = self._policy.no_retry() if quick else self._policy
        return call_with_retry(policy, lambda: decoded(self._once(path, params), kind))

    def _once(self, path: str, params: Mapping[str, str], *, first: bool = False) -> Response:
        """One request. Only a `first` look believes a 404: in the middle of a run, one has been seen in passing."""
        with decode_slot.released(), self._meter.timed("waited_mailchimp"), self._limit.slot(self._policy.stop):
            self._meter.count("mailchimp_requests")
            try:
                return self._http.checked(self._http.send("GET", path, params=params))
            except ThrottledError:
                self._meter.count("mailchimp_throttled")
                raise
            except RejectedError as error:
                raise FatalError(f"{error}: it did not accept the request", status=error.status) from None
            except NotFoundError as error:
                if first:
                    raise
                raise RetriableError(f"{error}, in the middle of a run", status=error.status) from None


def _hash_of(address: str) -> str:
    """What Mailchimp finds a member by, besides `contact_id`. The address in disguise: to be kept and shown nowhere."""
    return hashlib.md5(address.lower().encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def _plain(address: str) -> str:
    return address.strip().lower()


def _unknown_list(list_key: str) -> UnknownListError:
    return UnknownListError(
        f"Mailchimp has no list {list_key} for this API key",
        hint="The list ID is in Mailchimp under Audience > Settings.",
        status=404,
    )


def _same(page: Page, other: Page) -> bool:
    return {windows.identity(member) for member in page.members} == {
        windows.identity(member) for member in other.members
    }


def _span(window: Window) -> dict[str, str]:
    """The query for a window. `+` in a time must be percent-encoded, which the client does."""
    since = windows.asked_since(window)
    return {
        "sort_field": "last_changed",
        "sort_dir": "ASC",
        **({"since_last_changed": iso(since)} if since is not None else {}),
        **({"before_last_changed": iso(windows.asked_before(window))} if window.until != windows.NO_END else {}),
        **({"status": "archived"} if window.sweep == "archived" else {}),
    }
