"""The lists of a Mailchimp account that a key can see.

Source of the facts: Mailchimp's Marketing API v3 reference, `GET /lists`. A list's `stats` count subscribed,
unsubscribed and cleaned members; members who are pending, archived or transactional are in none of these.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from mcimport.errors import NotFoundError
from mcimport.models.timestamps import epoch
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.responses import text

PAGE = 1_000  # lists a request, Mailchimp's most

_COUNTS = ("member_count", "unsubscribe_count", "cleaned_count")
_TIMES = ("last_sub_date", "last_unsub_date")
_FIELDS = ",".join(["lists.id", "lists.name", *(f"lists.stats.{name}" for name in (*_COUNTS, *_TIMES)), "total_items"])


class AccountList(Struct, frozen=True):
    """Holds what Mailchimp says of one list.

    Attributes:
        members: subscribed, unsubscribed and cleaned ones; None where that is not said, as is `subscribed`.
        changed_at: when a member last joined or left, seconds UTC; None: never, or not said.
    """

    list_key: str
    name: str
    members: int | None
    subscribed: int | None
    changed_at: int | None


class _Found(Struct):
    id: str
    name: Any = None
    stats: Any = None


class _Lists(Struct):
    """`GET /lists`."""

    lists: list[_Found]
    total_items: int


_LISTS = msgspec.json.Decoder(_Lists)  # made at import, before any thread begins: see `responses`


def read_lists(mailchimp: MailchimpClient) -> list[AccountList]:
    """Returns the lists, in Mailchimp's order. Raises what the client raises."""
    found: dict[str, AccountList] = {}
    offset = 0
    while True:
        params = {"count": str(PAGE), "offset": str(offset), "fields": _FIELDS}
        try:
            page = mailchimp.get("lists", params, _LISTS, first=True)
        except NotFoundError:
            raise mailchimp.http.not_there("lists", "/3.0") from None
        found |= {one.id: _account_list(one) for one in page.lists}
        offset += len(page.lists)
        if not page.lists or offset >= page.total_items:
            return list(found.values())


def _account_list(found: _Found) -> AccountList:
    stats = found.stats if isinstance(found.stats, dict) else {}
    counts = [count for name in _COUNTS if isinstance(count := stats.get(name), int)]
    times = [moment for name in _TIMES if (moment := epoch(stats.get(name))) is not None]
    return AccountList(
        found.id,
        text(found.name),
        sum(counts) if len(counts) == len(_COUNTS) else None,
        counts[0] if isinstance(stats.get("member_count"), int) else None,
        max(times, default=None),
    )
