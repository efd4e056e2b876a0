"""The Mailchimp client: pages of members, counts, and single members.

Source of the facts: Mailchimp's Marketing API v3 reference, and dated probes of live accounts by other projects where
the reference is silent (bounds of `since_last_changed`, archived members, odd answers with status 200).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec.json import Decoder

from mcimport.convert import is_contact_id, member_id
from mcimport.errors import (
    FatalError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceTimeoutError,
    UnknownListError,
)
from mcimport.models import Member, OptedIn, Page, Sweep, Window
from mcimport.models.timestamps import epoch, iso
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.response import Response
from mcimport.services.http.retry import call_with_retry
from mcimport.services.http.service_requests import ServiceRequests
from mcimport.services.http.usage import Side
from mcimport.services.mailchimp import pagination, windows
from mcimport.services.mailchimp.member_fields import MemberFields, default_fields
from mcimport.services.mailchimp.responses import COUNT, LIST, MEMBER, MEMBERS, PING, TAGS, Members, clock, decoded

T = TypeVar("T")

LOOK_UP_FIELDS = "members.last_changed,total_items"
REFUSED = (400, 414, 422)  # what a server may answer to names of fields that it does not know
MORE_LOOKS = 3  # more requests for a page without members that reports none, before that is believed
BELIEVABLE_LIE = 50  # members that a page may report and never show, before that is an error


class EmptyPageError(RetriableError):
    """A page that reported members and had none, however often it was requested."""

    def __init__(self, page: Page) -> None:
        super().__init__("Mailchimp reported members but returned none")
        self.page = page


@dataclass(eq=False, repr=False)
class MailchimpClient(ServiceRequests):
    """Reads one account, for one client. Safe to share between threads.

    Every method raises FatalError for what no other try can change, RetriableError when the tries are used up, and
    InterruptedRunError when the stop was requested.

    `member_fields`: the fields that pages hold of each member.
    `at_once`: is held by whoever requests many pages at once.
    """

    side: ClassVar[Side] = "mailchimp"

    limit: ConnectionLimit
    at_once: threading.Lock = field(default_factory=threading.Lock, kw_only=True)
    member_fields: MemberFields = field(default_factory=default_fields, kw_only=True)

    def with_fields(self, fields: Iterable[str]) -> MailchimpClient:
        """Returns a client of the same account whose pages hold only these fields of members, by dotted name."""
        return replace(self, member_fields=MemberFields(fields))

    def ping(self) -> float | None:
        """Checks the key, and returns how many seconds this machine's clock is ahead; None without a `Date` header."""
        try:
            answer = call_with_retry(self.policy, lambda: self._once("ping", {}, first=True))
        except NotFoundError:
            raise self.http.not_there("ping", "/3.0") from None
        decoded(answer, PING)
        return None if answer.date is None else time.time() - answer.date

    def first_page(self, list_key: str, sweep: Sweep, since: int | None, count: int) -> Page:
        """Returns the first `count` members of a sweep after `since`, oldest change first, with the server's clock.

        A page that is too slow is requested at half the size, down to 50 (fact mailchimp-page). Raises UnknownListError
        for a 404 (fact mailchimp-unknown-list).
        """
        window = Window(number=0, sweep=sweep, since=since, until=windows.NO_END)
        while True:
            try:
                return self._page(list_key, window, count, first=True)
            except ServiceTimeoutError:
                if count <= pagination.SMALLEST_PAGE:
                    raise
                count = pagination.half(count)
            except NotFoundError:
                raise _unknown_list(list_key) from None

    def count_members(self, list_key: str) -> int:
        """Returns how many members are on the list, by one try of a tiny request. Raises UnknownListError."""
        try:
            return self.probe(list_key, "listed", None, 1).total
        except NotFoundError:
            raise _unknown_list(list_key) from None

    def probe(self, list_key: str, sweep: Sweep, since: int | None, count: int) -> Page:
        """Returns a page without members: how many there are after `since`, and the server's clock.

        It is one try of a tiny request, for a first page that cannot be read. `count`: what its `asked` says.
        """
        params = {**_span(Window(0, sweep, since, windows.NO_END)), "count": "1", "fields": LOOK_UP_FIELDS}
        answer = call_with_retry(
            self.policy.no_retry(), lambda: self._once(f"lists/{list_key}/members", params, first=True)
        )
        return Page((), decoded(answer, MEMBERS).total_items, count, *clock(answer), is_probe=True)

    def newest(self, list_key: str, fields: str, count: int, **params: str) -> Members:
        """Returns these fields of the members who changed last, latest first, and how many there are in all."""
        order = {"sort_field": "last_changed", "sort_dir": "DESC"}
        params |= {"count": str(count), "fields": f"{fields},total_items", **order}
        return self.get(f"lists/{list_key}/members", params, MEMBERS)

    def last_changed_at(self, list_key: str, window: Window, offset: int, *, quick: bool = False) -> int | None:
        """Returns the `last_changed` of the member who is at `offset` of the window now; None where there is none.

        That there is none is believed only of a response that reports no more than `offset` members. Raises
        RetriableError otherwise, and for a member without a time.
        """
        answer = self.probe_at(list_key, window, offset, quick=quick)
        moment = epoch(answer.members[0].last_changed) if answer.members else None
        if moment is None and (answer.members or answer.total_items > offset):
            raise RetriableError("Mailchimp returned a member without last_changed")
        return moment

    def count_in_window(self, list_key: str, window: Window) -> int | None:
        """Returns how many members are left in the window, or a few more, by one try; None where that fails."""
        with suppress(RetriableError):
            return self.probe_at(list_key, window, 0, quick=True).total_items
        return None

    def next_page(self, list_key: str, window: Window, count: int, *, offset: int = 0, quick: bool = False) -> Page:
        """Returns the first `count` members of what is left of the window. `quick`: without a second try.

        A page without members that reports none is believed after `MORE_LOOKS` more; at once where the window seeks
        one member, who is then requested by id.

        Raises ServiceTimeoutError at once for a page that can be halved.
        """
        for _ in range(0 if window.member_id else MORE_LOOKS):
            page = self._page(list_key, window, count, offset=offset, quick=quick)
            if page.members or page.total:
                return page
        return self._page(list_key, window, count, offset=offset, quick=quick)

    def confirm_short_page(self, list_key: str, window: Window, page: Page, count: int) -> tuple[Page, int]:
        """Requests a page again that has fewer members than it reports; returns the page to believe, and its size.

        If it has the same members twice more, and there is none at the next offset in between, it is the end of the
        window, and its total is corrected. (Twice, because a member who leaves before the request for the next offset
        would have moved the one there into the page.) If there is a member at the next offset, the server cuts its
        pages short, and that is their size.
        """
        look = self.next_page if page.members else self._retry_empty_page
        again = look(list_key, window, count)
        if not _same(again, page):
            return again, count
        size = len(again.members)
        if size:
            if self.next_page(list_key, window, count, offset=size).members:
                return again, size
            page, again = again, self.next_page(list_key, window, count)
            if not _same(again, page):
                return again, count
        return msgspec.structs.replace(again, total=size), count

    def member(self, list_key: str, contact_id: str) -> Member:
        """Returns a member by `contact_id` or subscriber hash. Raises NotFoundError where there is none (any more)."""
        fields = ",".join(Member.__struct_fields__)
        path = f"lists/{list_key}/members/{contact_id}"
        return self.get(path, {"fields": fields}, MEMBER, first=True)

    def member_by_address(self, list_key: str, address: str) -> Member:
        """Returns the member with this address. Raises NotFoundError, and RetriableError for a member with another."""
        wanted = address.strip().lower()
        found = self.member(list_key, subscriber_hash(wanted))
        if not isinstance(found.email_address, str) or found.email_address.strip().lower() != wanted:
            raise RetriableError("Mailchimp returned another member than the one asked for")
        return found

    def with_all_tags(self, list_key: str, member: Member) -> Member:
        """Returns the member with every tag: a page of members lists fifty at most (fact mailchimp-tags).

        Raises NotFoundError for one who is gone, and RetriableError for too few tags.
        """
        key, counted = member_id(member), member.tags_count
        if not is_contact_id(key):  # Mailchimp does not find a member by web id
            key = subscriber_hash(member.email_address if isinstance(member.email_address, str) else "")
        tags: dict[str, Any] = {}
        offset = 0
        while True:
            params = {"count": "1000", "offset": str(offset), "fields": "tags.name,total_items"}
            page = self.get(f"lists/{list_key}/members/{key}/tags", params, TAGS, first=True)
            before = len(tags)
            tags |= {str(tag): tag for tag in page.tags}
            offset += len(page.tags)
            if len(tags) == before or offset >= page.total_items:
                break
        if len(tags) < max(page.total_items, counted if isinstance(counted, int) else 0):
            raise RetriableError("Mailchimp reported more tags of a member than it returned")
        return msgspec.structs.replace(member, tags=list(tags.values()), tags_count=len(tags))

    def count_opted_in(self, list_key: str, whom: OptedIn) -> int:
        """Returns how many members these are, or a few more: whether the bounds include their second is not known."""
        params = {
            "status": "subscribed",
            "count": "1",
            "fields": "total_items",
            **({"since_last_changed": iso(whom.since)} if whom.since is not None else {}),
            **({"before_last_changed": iso(whom.until + 1)} if whom.until is not None else {}),
            **({"since_timestamp_opt": iso(whom.opted - 1)} if whom.opted is not None else {}),
            **({"before_timestamp_opt": iso(whom.latest + 1)} if whom.latest is not None else {}),
        }
        return self.get(f"lists/{list_key}/members", params, COUNT).total_items

    def subscribed(self, list_key: str) -> int | None:
        """Returns how many subscribed members the list itself reports, by one try; None where that fails."""
        path, params = f"lists/{list_key}", {"fields": "stats.member_count"}
        try:
            answer = self.get(path, params, LIST, quick=True, first=True)
        except (NotFoundError, FatalError, RetriableError):
            return None
        count = answer.stats.get("member_count") if isinstance(answer.stats, dict) else None
        return count if isinstance(count, int) else None

    def probe_at(self, list_key: str, window: Window, offset: int, *, quick: bool = False) -> Members:
        """Returns the `last_changed` of the member at `offset`, and how many are left in the window.

        That there are none at all is believed after `MORE_LOOKS` more requests.
        """
        params = {**_span(window), "count": "1", "offset": str(offset), "fields": LOOK_UP_FIELDS}
        for _ in range(MORE_LOOKS):
            answer = self.get(f"lists/{list_key}/members", params, MEMBERS, quick=quick)
            if answer.members or answer.total_items:
                return answer
        return self.get(f"lists/{list_key}/members", params, MEMBERS, quick=quick)

    def _retry_empty_page(self, list_key: str, window: Window, count: int) -> Page:
        """Requests a page without members that reports some, as often as after an error.

        A few reported members may be a wrong count. For more it raises EmptyPageError, so that no window is taken for
        empty.
        """

        def ask() -> Page:
            page = self.next_page(list_key, window, count, quick=True)
            if page.total and not page.members:
                raise EmptyPageError(page)
            return page

        try:
            return call_with_retry(self.policy, ask)
        except EmptyPageError as error:
            if error.page.total > BELIEVABLE_LIE:
                raise
            return error.page

    def _page(
        self, list_key: str, window: Window, count: int, *, offset: int = 0, quick: bool = False, first: bool = False
    ) -> Page:
        def ask() -> Page:
            decode = self.request_page(list_key, window, count, offset, first=first)
            return decode()

        policy = self.policy.no_retry() if quick else self.policy
        return call_with_retry(policy, ask, fail_fast_on_timeout=count > pagination.SMALLEST_PAGE)

    def request_page(
        self, list_key: str, window: Window, count: int, offset: int, *, first: bool = False
    ) -> Callable[[], Page]:
        """Requests a page, by one try. Returns what decodes it: undecoded it takes a third of the memory.

        What is returned raises RetriableError for a page that cannot be decoded, or not believed: see `check_page`. A
        page without the parts of fields that were asked for is requested once more, with whole fields.
        """
        query = self.member_fields.query
        answer = self._request_page(list_key, window, count, offset, query, first=first)

        def page() -> Page:
            content = decoded(answer, MEMBERS)
            if not self.member_fields.note_page(query, content.members):
                return self.request_page(list_key, window, count, offset, first=first)()
            page = Page(tuple(content.members), content.total_items, count, *clock(answer))
            pagination.check_page(window, page, count, offset)
            return page

        return page

    def _request_page(
        self, list_key: str, window: Window, count: int, offset: int, query: str, *, first: bool
    ) -> Response:
        """Requests a page whose members hold the fields of `query`; with whole fields where parts of them are refused.

        They are taken for the reason only as long as no page with parts has come.
        """
        params = {**_span(window), "count": str(count), "offset": str(offset)}
        path, fields = f"lists/{list_key}/members", self.member_fields
        try:
            return self._once(path, params | {"fields": query}, first=first)
        except FatalError as error:
            if error.status not in REFUSED or fields.have_come:
                raise
        fields.use_whole()
        return self._once(path, params | {"fields": fields.query}, first=first)

    def get(
        self, path: str, params: Mapping[str, str], kind: Decoder[T], *, quick: bool = False, first: bool = False
    ) -> T:
        """Requests a document and decodes it. `quick`: without a second try. `first`: a 404 is believed.

        In the middle of a run 404s have been seen in passing: there it is tried again.
        """
        policy = self.policy.no_retry() if quick else self.policy
        return call_with_retry(policy, lambda: decoded(self._once(path, params, first=first), kind))

    def _once(self, path: str, params: Mapping[str, str], *, first: bool = False) -> Response:
        """Sends one request. A 404 is a NotFoundError where `first` is set, and else a RetriableError."""
        try:
            return self._send("GET", path, params=params, slot=self.limit.slot(self.policy.stop))
        except RejectedError as error:
            raise FatalError(f"{error}: it did not accept the request", status=error.status) from None
        except NotFoundError as error:
            if first:
                raise
            raise RetriableError(f"{error}, in the middle of a run", status=error.status) from None


def subscriber_hash(address: str) -> str:
    """Returns the MD5 of an address, by which Mailchimp also finds a member: as personal as the address itself."""
    return hashlib.md5(address.lower().encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def _unknown_list(list_key: str) -> UnknownListError:
    return UnknownListError(
        f"Mailchimp has no list {list_key} for this API key",
        hint="`mcimport lists` shows the lists that the key can see.",
        status=404,
    )


def _same(page: Page, other: Page) -> bool:
    return set(map(pagination.identity, page.members)) == set(map(pagination.identity, other.members))


def _span(window: Window) -> dict[str, str]:
    """Returns the query for a window. `+` in a time must be percent-encoded, which the HTTP client does.

    Archived members come only where they are asked for (fact mailchimp-archived).
    """
    since = windows.asked_since(window)
    return {
        "sort_field": "last_changed",
        "sort_dir": "ASC",
        **({"since_last_changed": iso(since)} if since is not None else {}),
        **({"before_last_changed": iso(windows.asked_before(window))} if window.until != windows.NO_END else {}),
        **({"status": "archived"} if window.sweep == "archived" else {}),
    }
