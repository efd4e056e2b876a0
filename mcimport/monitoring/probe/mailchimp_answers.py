"""What Mailchimp answers to some forty requests about one list, each made when it is first needed, and once."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mcimport.errors import RetriableError, ServiceTimeoutError
from mcimport.models.timestamps import epoch, iso
from mcimport.monitoring.probe.seen import NO_TIME
from mcimport.services.http.raw_answer import decoded
from mcimport.services.http.response import Response
from mcimport.services.mailchimp.raw_requests import RawMailchimpRequests

Found = dict[str, Any]
"""A member, as it is read."""

LARGEST_PAGE, SAMPLE_PAGE, SAMPLE_PAGES, SPAN = 1000, 200, 10, 200
MOST_PAGES_OF_A_SPAN = 8
TIMED_OUT = 504
SMALLER_PAGES = (500, 250, 125, 60)
NO_LIST = "0000000000"
NO_FIELD = "mcimport_no_such_field"
_FIELDS = (
    "id", "contact_id", "web_id", "email_address", "status", "last_changed", "timestamp_opt", "tags_count", "tags",
    "merge_fields", "marketing_permissions", "sms_phone_number", "sms_subscription_status", "interests", "language",
    "member_rating", "source", "vip",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class MemberPage:
    """Holds one answer to a request for members. `seconds`: until the whole answer was there.

    `status`: TIMED_OUT where none came in time.
    """

    status: int
    members: Sequence[Found]
    total: int
    seconds: float
    bytes: int
    is_compressed: bool


@dataclass(eq=False, repr=False)
class MailchimpAnswers:
    """Asks about one list. Raises as `RawMailchimpRequests`, and RetriableError when there is no time left.

    Attributes:
        until: when that is (monotonic seconds).
        ahead: of each answer with a `Date`, how many seconds that is ahead of this machine's clock.
        undated: answers without one.
    """

    requests: RawMailchimpRequests
    list_key: str
    until: float = math.inf
    ahead: list[float] = field(default_factory=list, init=False)
    undated: int = field(default=0, init=False)

    def get(self, path: str, **params: str) -> Response:
        if time.monotonic() > self.until:
            raise RetriableError(NO_TIME)
        answer = self.requests.get(path, params)
        if answer.date is None:
            self.undated += 1
        else:
            self.ahead.append(answer.date - time.time())
        return answer

    def page(self, count: int, fields: Sequence[str] = _FIELDS, **params: str) -> MemberPage:
        query = ",".join([*(f"members.{name}" for name in fields), "total_items"])
        began = time.monotonic()
        try:
            answer = self.get(f"lists/{self.list_key}/members", count=str(count), fields=query, **params)
        except ServiceTimeoutError:
            return MemberPage(TIMED_OUT, (), 0, time.monotonic() - began, 0, is_compressed=False)
        took, found = time.monotonic() - began, decoded(answer)
        members = found.get("members") if isinstance(found, dict) else None
        total = found.get("total_items") if isinstance(found, dict) else None
        rows = [one for one in members if isinstance(one, dict)] if isinstance(members, list) else []
        is_packed = "content-encoding" in answer.headers
        return MemberPage(
            answer.status, rows, total if isinstance(total, int) else 0, took, len(answer.body), is_packed
        )

    def in_order(self, count: int, fields: Sequence[str] = _FIELDS, **params: str) -> MemberPage:
        return self.page(count, fields, **{"sort_field": "last_changed", "sort_dir": "ASC", **params})

    @cached_property
    def largest(self) -> MemberPage:
        """The first page of a thousand; its status tells whether there are such pages."""
        return self.in_order(LARGEST_PAGE)

    @cached_property
    def largest_that_comes(self) -> int:
        """The first of `SMALLER_PAGES` that comes; 0 where none does."""
        return next((size for size in SMALLER_PAGES if self.in_order(size).members), 0)

    @cached_property
    def more_of_the_largest(self) -> Sequence[MemberPage]:
        """Two more, from the middle and the end, to measure."""
        offsets = sorted({self.total // 2, max(0, self.total - LARGEST_PAGE)} - {0})
        return [self.in_order(LARGEST_PAGE, offset=str(offset)) for offset in offsets] if self.total else []

    @property
    def total(self) -> int:
        return self.first.total

    @cached_property
    def first(self) -> MemberPage:
        return self.in_order(1, ("last_changed",))

    @cached_property
    def after_the_largest(self) -> MemberPage:
        """What follows a page of a thousand that had less."""
        return self.in_order(1, ("last_changed",), offset=str(len(self.largest.members)))

    @cached_property
    def sample(self) -> Sequence[Found]:
        """Up to 2,000 members from all over the list; all of a small one."""
        if len(self.largest.members) >= self.total > 0:
            return self.largest.members
        step = max(SAMPLE_PAGE, self.total // SAMPLE_PAGES)
        offsets = range(0, max(1, self.total), step)
        return [one for offset in offsets for one in self._sampled(offset)]

    def _sampled(self, offset: int) -> Sequence[Found]:
        """Returns a part of the sample, in smaller pages where pages of that size do not come."""
        for size in (SAMPLE_PAGE, SAMPLE_PAGE // 4):
            if found := self.in_order(size, offset=str(offset)).members:
                return found
        return ()

    @cached_property
    def newest(self) -> MemberPage:
        return self.in_order(2 * SPAN, ("web_id", "last_changed"), sort_dir="DESC")

    @cached_property
    def archived(self) -> MemberPage:
        return self.in_order(50, status="archived", sort_dir="DESC")

    @cached_property
    def archived_since_the_newest(self) -> MemberPage:
        latest = max(seconds_of(self.archived.members), default=0)
        return self.in_order(50, ("last_changed",), status="archived", since_last_changed=iso(latest))

    @cached_property
    def largest_second(self) -> tuple[int, int]:
        """The second of the sample in which most members changed, and how many; (0, 0) without members."""
        return max(Counter(seconds_of(self.sample)).items(), key=lambda item: item[1], default=(0, 0))

    @cached_property
    def smallest_second(self) -> int:
        """A second of the sample in which few members changed; 0 without members."""
        counts = Counter(seconds_of(self.sample))
        return min(counts, key=lambda second: (counts[second], second), default=0)

    @cached_property
    def tied_twice(self) -> tuple[MemberPage, MemberPage]:
        second = self.largest_second[0]
        bounds = {"since_last_changed": iso(second - 1), "before_last_changed": iso(second + 1)}
        first, again = (self.in_order(SPAN, ("web_id", "last_changed"), **bounds) for _ in range(2))
        return first, again

    def span(self, since: int, before: int, *, is_latest_first: bool = False) -> MemberPage:
        """Returns who changed between two seconds, the one of interest first."""
        bounds = {"since_last_changed": iso(since), "before_last_changed": iso(before)}
        return self.in_order(SPAN, ("last_changed",), sort_dir="DESC" if is_latest_first else "ASC", **bounds)

    @cached_property
    def walked(self) -> tuple[int, int] | None:
        """How many members a span was said to have, and how many a walk through it met; None where it has no end."""
        newest = sorted(seconds_of(self.newest.members), reverse=True)
        seconds = newest[: (len(newest) + 1) // 2]  # a part of the list, also of a small one
        if not seconds:
            return None
        bounds = {"since_last_changed": iso(min(seconds)), "before_last_changed": iso(max(seconds))}
        met: set[object] = set()
        total: int | None = None
        for _ in range(MOST_PAGES_OF_A_SPAN):
            page = self.in_order(SPAN, ("web_id",), offset=str(len(met)), **bounds)
            total = page.total if total is None else total
            fresh = {one.get("web_id") for one in page.members} - met
            if not fresh:
                return total, len(met)
            met |= fresh
        return None

    @cached_property
    def after_a_fraction(self) -> MemberPage:
        """Who changed half a second after the newest change, or what is answered to that."""
        latest = max(seconds_of(self.sample), default=0)
        bound = iso(latest).replace("+", ".5+")
        return self.page(10, ("last_changed",), since_last_changed=bound)

    @cached_property
    def with_parts(self) -> MemberPage:
        return self.page(20, ("web_id", "location.country_code"))

    @cached_property
    def with_an_unknown_field(self) -> MemberPage:
        return self.page(1, ("web_id", NO_FIELD))

    @cached_property
    def at_the_end(self) -> MemberPage:
        return self.in_order(1, ("last_changed",), offset=str(max(0, self.total - 1)))

    @cached_property
    def tags(self) -> tuple[int, int] | None:
        """How many tags one member is said to have, and how many come; None where none has more than are listed."""
        for one in self.sample:
            listed, counted = one.get("tags"), one.get("tags_count")
            if isinstance(listed, list) and isinstance(counted, int) and counted > len(listed) and one.get("id"):
                path = f"lists/{self.list_key}/members/{one['id']}/tags"
                found = decoded(self.get(path, count="1000", fields="tags.id,total_items"))
                tags = found.get("tags") if isinstance(found, dict) else None
                return counted, len(tags) if isinstance(tags, list) else 0
        return None

    @cached_property
    def unknown_list(self) -> Response:
        return self.get(f"lists/{NO_LIST}/members", count="1", fields="total_items")


def seconds_of(members: Sequence[Found]) -> list[int]:
    """Returns each `last_changed` that is a time, in epoch seconds."""
    found = (epoch(one.get("last_changed")) for one in members)
    return [second for second in found if second is not None]
