"""Responds with members as Mailchimp does, and reads the parameters that all its requests share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from starlette.responses import Response

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.field_selection import FieldSelection, parse_selection
from mcimport.sandbox.audience.member_json import MEMBER_FIELDS, MemberEncoder, link
from mcimport.sandbox.audience.member_list import STATUSES, MemberView
from mcimport.sandbox.audience.query import SORT_FIELDS, MemberQuery, run_query
from mcimport.sandbox.clock import epoch
from mcimport.sandbox.faults import ERROR_RESPONSES, html, problem
from mcimport.sandbox.request_handling import Call, RefusedError, json
from mcimport.sandbox.settings import SandboxSettings
from mcimport.sandbox.shared_state import MailchimpAccount, SharedState

_BATCH = 50  # members encoded before other requests get their turn, and members may change
_DEFAULT_COUNT = 10
_MAX_COUNT = 1000

# Seen to be ignored: times with a fraction, or with a plus that was not percent-encoded and arrives as a blank.
_IGNORED_TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+(Z|[+ -]\d\d:?\d\d)?| \d\d:?\d\d)")


def _invalid(what: str) -> RefusedError:
    return RefusedError(problem(400, "Invalid Resource", f"The request is not valid: {what}."))


def not_found() -> RefusedError:
    """Returns the error for what does not exist, or not for this account."""
    return RefusedError(problem(404, "Resource Not Found", "The requested resource could not be found."))


def encoders_of(call: Call) -> dict[str, MemberEncoder]:
    """Returns the encoders of the account's lists, by list key."""
    return cast("MailchimpAccount", call.account).lists


def _encoder_of(call: Call) -> MemberEncoder:
    encoder, answer = encoders_of(call).get(call.http.path_params["list_key"]), call.shared.settings.unknown_list
    if encoder is None:
        raise RefusedError(ERROR_RESPONSES[answer]("mailchimp")) if answer else not_found()
    return encoder


def audience_of(call: Call) -> Audience:
    """Returns the list in the path. Raises RefusedError where the account has no such list."""
    return _encoder_of(call).audience


def fields_of(call: Call) -> FieldSelection:
    try:
        return parse_selection(call.log.query.get("fields") or None, call.log.query.get("exclude_fields") or None)
    except ValueError as error:
        raise _invalid(str(error)) from None


def collection(call: Call, name: str, items: list[dict[str, Any]], **more: Any) -> Response:
    """Responds with the part of `items` that `offset` and `count` ask for."""
    offset, count = _page_of(call.log.query, _MAX_COUNT)
    page, links = items[offset : offset + count], [link("self", "GET", call.log.path)]
    return json(fields_of(call).apply({name: page, **more, "total_items": len(items), "_links": links}))


def _page_of(query: Mapping[str, str], most: int) -> tuple[int, int]:
    for name in ("offset", "count"):
        if not (query.get(name) or "0").isdecimal():
            raise _invalid(f"{name} is not a whole number from 0 on")
    return int(query.get("offset") or 0), min(int(query.get("count") or 0) or _DEFAULT_COUNT, most)


def _time_of(query: Mapping[str, str], name: str, settings: SandboxSettings) -> int | None:
    text = query.get(name) or ""
    has_fraction = "." in text
    is_ignored = settings.fractions == "ignored" or not has_fraction
    if not text or (is_ignored and _IGNORED_TIMES.fullmatch(text)):
        return None
    try:
        return epoch("" if has_fraction and settings.fractions == "refused" else text)
    except ValueError:
        raise _invalid(f"{name} is not a time") from None


async def members(call: Call) -> Response:
    """Responds with a page of members, which may change between their choice and their writing."""
    settings = call.shared.settings
    encoder, query, selection = _encoder_of(call), _member_query(call.log.query, settings), fields_of(call)
    audience = encoder.audience
    is_selected, member_selection = selection.includes("members"), _members_selection(selection, settings)
    is_first_page = query.offset == 0 and query.count > 1 and "before_last_changed" not in call.log.query
    if is_first_page and settings.first_page_latency is not None:
        call.latency = settings.first_page_latency
    call.latency += settings.offset_latency * query.offset / 1000
    numbers, total = run_query(audience, query, call.shared.rng)
    is_lookup = member_selection.is_only("last_changed") and not settings.broken_lookups
    if is_selected and not is_lookup:
        _check_readable(call, audience, numbers)
    if settings.max_page is not None and len(numbers) > settings.max_page:
        return html(504, "Gateway Time-out")
    await call.wait(call.latency * settings.writing_delay)
    if settings.on_page is not None:
        settings.on_page(audience)
    encoded = await _encoded(encoder, numbers, member_selection) if is_selected else []
    call.log.count = len(encoded)
    if settings.after_page is not None:
        settings.after_page(audience)
    here = f"/lists/{audience.list_key}"
    parts = {
        "members": encoded,
        "list_id": audience.list_key,
        "total_items": _reported_total(call.shared, total),
        "_links": [link("self", "GET", f"{here}/members"), link("parent", "GET", here)],
    }
    return json({name: part for name, part in parts.items() if selection.includes(name)})


def _members_selection(selection: FieldSelection, settings: SandboxSettings) -> FieldSelection:
    within = selection.within("members")
    if settings.unknown_fields_refused and not (within.keep or {}).keys() <= MEMBER_FIELDS:
        raise _invalid("unknown field")
    if settings.field_parts == "come" or not within.has_parts:
        return within
    if settings.field_parts == "refused":
        raise _invalid("unknown field")
    return within.without_parts(is_empty=settings.field_parts == "empty")


def _member_query(query: Mapping[str, str], settings: SandboxSettings) -> MemberQuery:
    status, direction = query.get("status") or None, query.get("sort_dir", "ASC").upper()
    sort_field = query.get("sort_field") or None
    if status is not None and status not in STATUSES:
        raise _invalid("unknown status")
    if direction not in {"ASC", "DESC"}:
        raise _invalid("sort_dir is ASC or DESC")
    offset, count = _page_of(query, settings.max_count)
    read = MemberQuery(
        status=status,
        since=_time_of(query, "since_last_changed", settings),
        before=_time_of(query, "before_last_changed", settings),
        opted_since=_time_of(query, "since_timestamp_opt", settings),
        opted_before=_time_of(query, "before_timestamp_opt", settings),
        sort_field=None if settings.sort_ignored else sort_field,
        descending=direction == "DESC",
        offset=offset,
        count=count,
    )
    if sort_field is not None and sort_field not in SORT_FIELDS:
        raise _invalid("unknown sort_field")
    return read


def _check_readable(call: Call, audience: Audience, numbers: list[int]) -> None:
    if call.shared.unreadable.includes_any(audience, numbers, call.shared.settings.broken):
        raise RefusedError(problem(500, "Internal Server Error", "An unexpected internal error has occurred."))


async def _encoded(encoder: MemberEncoder, numbers: list[int], selection: FieldSelection) -> list[msgspec.Raw]:
    encoded: list[msgspec.Raw] = []
    for first in range(0, len(numbers), _BATCH):
        encoded += encoder.encode_members(numbers[first : first + _BATCH], selection)
        await asyncio.sleep(0)
    return encoded


def _reported_total(shared: SharedState, total: int) -> int:
    lies = shared.settings.count_lies and shared.rng.random() < shared.settings.count_lies_share
    return max(0, total + shared.settings.count_lies) if lies else total


async def member(call: Call) -> Response:
    encoder, found = _encoder_of(call), _member_of(call)
    _check_readable(call, encoder.audience, [found.number])
    encoded = encoder.encode_members([found.number], fields_of(call))
    if not encoded:
        raise not_found()
    call.log.count = 1
    return json(encoded[0])


def _member_of(call: Call) -> MemberView:
    found = audience_of(call).find(call.http.path_params["who"])
    if found is None:
        raise not_found()
    return found


async def tags(call: Call) -> Response:
    found = _member_of(call)
    added = found.get("timestamp_opt") or found.get("last_changed") or ""
    tags = [{**tag, "date_added": added} for tag in found.get("tags") or []]
    return collection(call, "tags", tags[:50] if call.shared.settings.cut_tags else tags)
