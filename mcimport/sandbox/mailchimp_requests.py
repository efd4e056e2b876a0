"""What every request to the fake Mailchimp is read by, and answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.field_selection import Wanted, wanted
from mcimport.sandbox.audience.member_json import Writer, link
from mcimport.sandbox.audience.member_list import ARCHIVED
from mcimport.sandbox.clock import time_in_query
from mcimport.sandbox.request_handling import Call, json
from mcimport.sandbox.shared_state import MailchimpAccount

DEFAULT_COUNT = 10
MOST = 1000
STATUSES = {"subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED}


class NotFoundError(Exception):
    """What was asked for does not exist, or not for this account."""


def writer_of(call: Call) -> Writer:
    lists = call.account.lists if isinstance(call.account, MailchimpAccount) else {}
    writer = lists.get(call.part("list_key"))
    if writer is None:
        raise NotFoundError
    return writer


def audience_of(call: Call) -> Audience:
    return writer_of(call).audience


def wanted_of(call: Call) -> Wanted:
    return wanted(call.query.get("fields") or None, call.query.get("exclude_fields") or None)


def number_of(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise ValueError(f"{name} is not a whole number from 0 on")
    return int(text)


def time_of(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    try:
        return time_in_query(text) if text else None
    except ValueError:
        raise ValueError(f"{name} is not a time") from None


def collection(call: Call, name: str, items: list[dict[str, Any]], **more: Any) -> Response:
    """A part of `items`, as every collection of the API is answered: ten, unless `count` says more."""
    first, count = number_of(call.query, "offset"), min(number_of(call.query, "count") or DEFAULT_COUNT, MOST)
    page = items[first : first + count]
    links = [link("self", "GET", call.log.path)]
    return json(wanted_of(call).of({name: page, **more, "total_items": len(items), "_links": links}))
