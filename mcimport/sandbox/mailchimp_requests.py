"""Reads the parameters that the fake Mailchimp's requests share, and writes collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.field_selection import FieldSelection, parse_selection
from mcimport.sandbox.audience.member_json import MemberEncoder, link
from mcimport.sandbox.audience.member_list import ARCHIVED
from mcimport.sandbox.clock import query_time
from mcimport.sandbox.request_handling import Call, json
from mcimport.sandbox.shared_state import MailchimpAccount

DEFAULT_COUNT = 10
MAX_COUNT = 1000
STATUSES = {"subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED}


class NotFoundError(Exception):
    """Raised for what does not exist, or not for this account."""


def encoder_of(call: Call) -> MemberEncoder:
    """Returns the encoder of the list in the path. Raises NotFoundError where the account has no such list."""
    lists = call.account.lists if isinstance(call.account, MailchimpAccount) else {}
    encoder = lists.get(call.path_param("list_key"))
    if encoder is None:
        raise NotFoundError
    return encoder


def audience_of(call: Call) -> Audience:
    return encoder_of(call).audience


def fields_of(call: Call) -> FieldSelection:
    return parse_selection(call.query.get("fields") or None, call.query.get("exclude_fields") or None)


def number_of(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise ValueError(f"{name} is not a whole number from 0 on")
    return int(text)


def time_of(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    try:
        return query_time(text) if text else None
    except ValueError:
        raise ValueError(f"{name} is not a time") from None


def collection(call: Call, name: str, items: list[dict[str, Any]], **more: Any) -> Response:
    """Responds with the part of `items` that `offset` and `count` ask for; ten without `count`, as the API does."""
    first, count = number_of(call.query, "offset"), min(number_of(call.query, "count") or DEFAULT_COUNT, MAX_COUNT)
    page = items[first : first + count]
    links = [link("self", "GET", call.log.path)]
    return json(fields_of(call).apply({name: page, **more, "total_items": len(items), "_links": links}))
