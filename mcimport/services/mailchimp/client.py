"""Mailchimp: a list's first page, its cuts, a window's next page, a crowded second; fields and single members.

Source of the facts: Mailchimp's Marketing API v3 reference, and dated probes of live accounts by other projects where
the reference is silent (bounds of `since_last_changed`, archived members, odd answers with status 200).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar, TypeVar

import msgspec

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
from mcimport.services.http.client import HttpClient
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.response import Response
from mcimport.services.http.retry import RetryPolicy, call_with_retry
from mcimport.services.http.service_requests import ServiceRequests
from mcimport.services.http.usage import Side, UsageMeter
from mcimport.services.mailchimp import pagination, windows
from mcimport.services.mailchimp.responses import (
    COUNT,
    LIST,
    MEMBER,
    MEMBERS,
    PING,
    Members,
    clock,
    decoded,
)

T = TypeVar("T")

MEMBER_FIELDS = ",".join([*(f"members.{name}" for name in Member.__struct_fields__), "total_items"])
LOOK_UP_FIELDS = "members.last_changed,total_items"
MORE_LOOKS = 3  # at an answer that holds nobody and counts nobody, before that is believed
BELIEVABLE_LIE = 50  # members that a count may promise and nobody ever show, before that is an error


class EmptyPageError(RetriableError):
    """An answer counted somebody and held nobody, however often it was asked for."""

    def __init__(self, page: Page) -> None:
        super().__init__("Mailchimp reported members but returned none")
        self.page = page


class MailchimpClient(ServiceRequests):
    """One account, for one client. Safe to share between threads.

    Every method raises what `errors` says of services: FatalError for what no try can mend, RetriableError when the
    tries are used up, InterruptedRunError when the stop was asked for.
    """

    side: ClassVar[Side] = "mailchimp"

    def __init__(
        self,
        http: HttpClient,
        limit: ConnectionLimit,
        policy: RetryPolicy,
        meter: UsageMeter | None = None,
        member_fields: str = MEMBER_FIELDS,
    ) -> None:
        super().__init__(http, policy, meter)
        self._limit = limit
        self._member_fields = member_fields

    def with_fields(self, fields: Iterable[str]) -> MailchimpClient:
        """The same account, whose pages hold these fields of a member alone, by their dotted names."""
        asked = ",".join([*(f"members.{name}" for name in fields), "total_items"])
        return MailchimpClient(self._http, self._limit, self._policy, self._meter, asked)

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
                if count <= pagination.SMALLEST_PAGE:
                    raise
                count = pagination.half(count)
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
        return self.get(f"lists/{list_key}/members", params, MEMBERS).members

    def last_changed_at(self, list_key: str, window: Window, offset: int, *, quick: bool = False) -> int | None:
        """The `last_changed` of the member who stands at `offset` of the window now; None where nobody does.

        Nobody is believed only of an answer that counts no more than `offset`. Raises RetriableError otherwise, and for
        a member without a time: there is somebody, but not to be placed.
        """
        answer = self.probe_at(list_key, window, offset, quick=quick)
        moment = epoch(answer.members[0].last_changed) if answer.members else None
        if moment is None and (answer.members or answer.total_items > offset):
            raise RetriableError("Mailchimp returned a member without last_changed")
        return moment

    def count_in_window(self, list_key: str, window: Window) -> int | None:
        """How many are in what is left of the window, or a few more; None where Mailchimp does not say. One try."""
        with suppress(RetriableError):
            return self.probe_at(list_key, window, 0, quick=True).total_items
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

    def member(self, list_key: str, contact_id: str) -> Member:
        """One member by `contact_id`; NotFoundError when there is none (any more)."""
        fields = ",".join(Member.__struct_fields__)
        path = f"lists/{list_key}/members/{contact_id}"
        return self.get(path, {"fields": fields}, MEMBER, first=True)

    def member_by_address(self, list_key: str, address: str) -> Member:
        """One member by their address, whoever it belongs to; NotFoundError when it is nobody's.

        Raises RetriableError for an answer about another address.
        """
        wanted = address.strip().lower()
        found = self.member(list_key, subscriber_hash(wanted))
        if not isinstance(found.email_address, str) or found.email_address.strip().lower() != wanted:
            raise RetriableError("Mailchimp returned another member than the one asked for")
        return found

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
        return self.get(f"lists/{list_key}/members", params, COUNT).total_items

    def subscribed(self, list_key: str) -> int | None:
        """How many subscribed members the list itself counts; None where Mailchimp does not say. One try."""
        path, params = f"lists/{list_key}", {"fields": "stats.member_count"}
        try:
            answer = self.get(path, params, LIST, quick=True, first=True)
        except (NotFoundError, FatalError, RetriableError):
            return None
        count = answer.stats.get("member_count") if isinstance(answer.stats, dict) else None
        return count if isinstance(count, int) else None

    def probe_at(self, list_key: str, window: Window, offset: int, *, quick: bool = False) -> Members:
        """One member, and how many the window counts; that it counts nobody is believed after `MORE_LOOKS`."""
        params = {**_span(window), "count": "1", "offset": str(offset), "fields": LOOK_UP_FIELDS}
        for _ in range(MORE_LOOKS):
            answer = self.get(f"lists/{list_key}/members", params, MEMBERS, quick=quick)
            if answer.members or answer.total_items:
                return answer
        return self.get(f"lists/{list_key}/members", params, MEMBERS, quick=quick)

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
            pagination.check_page(window, page, count, offset)
            return page

        return call_with_retry(
            self._policy.no_retry() if quick else self._policy,
            ask,
            fail_fast_on_timeout=count > pagination.SMALLEST_PAGE,
        )

    def get(
        self,
        path: str,
        params: Mapping[str, str],
        kind: msgspec.json.Decoder[T],
        *,
        quick: bool = False,
        first: bool = False,
    ) -> T:
        """Asks for one answer and decodes it. `quick`: without a second try. `first`: a 404 is believed.

        In the middle of a run one has been seen in passing: there it is tried again.
        """
        policy = self._policy.no_retry() if quick else self._policy
        return call_with_retry(policy, lambda: decoded(self._once(path, params, first=first), kind))

    def _once(self, path: str, params: Mapping[str, str], *, first: bool = False) -> Response:
        """One request. Only a `first` look believes a 404: in the middle of a run, one has been seen in passing."""
        try:
            return self._send("GET", path, params=params, slot=self._limit.slot(self._policy.stop))
        except RejectedError as error:
            raise FatalError(f"{error}: it did not accept the request", status=error.status) from None
        except NotFoundError as error:
            if first:
                raise
            raise RetriableError(f"{error}, in the middle of a run", status=error.status) from None


def subscriber_hash(address: str) -> str:
    """What Mailchimp finds a member by, besides `contact_id`. The address in disguise: to be kept and shown nowhere."""
    return hashlib.md5(address.lower().encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def _unknown_list(list_key: str) -> UnknownListError:
    return UnknownListError(
        f"Mailchimp has no list {list_key} for this API key",
        hint="The list ID is in Mailchimp under Audience > Settings.",
        status=404,
    )


def _same(page: Page, other: Page) -> bool:
    return {pagination.identity(member) for member in page.members} == {
        pagination.identity(member) for member in other.members
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
