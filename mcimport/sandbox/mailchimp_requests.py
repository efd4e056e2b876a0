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
from mcimport.sandbox.faults import problem
from mcimport.sandbox.request_handling import Call, RefusedError, json
from mcimport.sandbox.shared_state import MailchimpAccount

_DEFAULT_COUNT = 10
_MAX_COUNT = 1000
STATUSES = {"subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED}


def invalid(what: str) -> RefusedError:
    return RefusedError(problem(400, "Invalid Resource", f"The request is not valid: {what}."))


def not_found() -> RefusedError:
    """Returns the error for what does not exist, or not for this account."""
    return RefusedError(problem(404, "Resource Not Found", "The requested resource could not be found."))


def encoders_of(call: Call) -> dict[str, MemberEncoder]:
    """Returns the encoders of the account's lists, by list key."""
    return call.account.lists if isinstance(call.account, MailchimpAccount) else {}


def encoder_of(call: Call) -> MemberEncoder:
    """Returns the encoder of the list in the path. Raises RefusedError where the account has no such list."""
    encoder = encoders_of(call).get(call.path_param("list_key"))
    if encoder is None:
        raise not_found()
    return encoder


def audience_of(call: Call) -> Audience:
    return encoder_of(call).audience


def fields_of(call: Call) -> FieldSelection:
    try:
        return parse_selection(call.query.get("fields") or None, call.query.get("exclude_fields") or None)
    except ValueError as error:
        raise invalid(str(error)) from None


def page_of(query: Mapping[str, str]) -> tuple[int, int]:
    """Returns `offset` and `count`; ten without `count`, as the API does."""
    for name in ("offset", "count"):
        if not (query.get(name) or "0").isdecimal():
            raise invalid(f"{name} is not a whole number from 0 on")
    return int(query.get("offset") or 0), min(int(query.get("count") or 0) or _DEFAULT_COUNT, _MAX_COUNT)


def time_of(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    try:
        return query_time(text) if text else None
    except ValueError:
        raise invalid(f"{name} is not a time") from None


def collection(call: Call, name: str, items: list[dict[str, Any]], **more: Any) -> Response:
    """Responds with the part of `items` that `offset` and `count` ask for."""
    offset, count = page_of(call.query)
    page, links = items[offset : offset + count], [link("self", "GET", call.log.path)]
    return json(fields_of(call).apply({name: page, **more, "total_items": len(items), "_links": links}))
