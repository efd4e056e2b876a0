"""Responds with the members of a list, one member, and its tags, as Mailchimp does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import get_args

from starlette.responses import Response

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.field_selection import FieldSelection
from mcimport.sandbox.audience.member_json import MemberEncoder, encode, link
from mcimport.sandbox.audience.query import MemberQuery, QueryResult, SortField, run_query
from mcimport.sandbox.faults import html, problem
from mcimport.sandbox.mailchimp_requests import (
    DEFAULT_COUNT,
    MAX_COUNT,
    STATUSES,
    NotFoundError,
    audience_of,
    collection,
    encoder_of,
    fields_of,
    number_of,
    time_of,
)
from mcimport.sandbox.request_handling import Call, raw_json
from mcimport.sandbox.shared_state import SharedState

_BATCH = 50  # members encoded before other requests get their turn, and members may change
_DIRECTIONS = {"ASC": False, "DESC": True}


async def members(call: Call) -> Response:
    """Responds with a page of members, which may change between their choice and their writing."""
    encoder, query = encoder_of(call), _member_query(call.query)
    audience, settings = encoder.audience, call.shared.settings
    selection = fields_of(call)
    member_selection = selection.within("members")
    if _is_first_page(call.query, query) and settings.first_page_latency is not None:
        call.latency = settings.first_page_latency
    result = run_query(audience, query, call.shared.rng)
    is_selected = selection.includes("members")
    refused = (is_selected and _unreadable(call, audience, result, member_selection)) or _oversized(
        result, settings.max_page
    )
    if refused:
        return refused
    await call.wait(call.latency * settings.writing_delay)
    if settings.on_page is not None:
        settings.on_page(audience)
    encoded = await _encoded(encoder, result, member_selection) if is_selected else []
    call.log.count = len(encoded)
    if settings.after_page is not None:
        settings.after_page(audience)
    return raw_json(_body(audience.list_key, encoded, _reported_total(call.shared, result.total), selection))


def _member_query(query: Mapping[str, str]) -> MemberQuery:
    status, field = query.get("status") or None, query.get("sort_field") or None
    if status is not None and status not in STATUSES:
        raise ValueError("unknown status")
    if query.get("sort_dir", "ASC").upper() not in _DIRECTIONS:
        raise ValueError("sort_dir is ASC or DESC")
    return MemberQuery(
        status=status,
        since=time_of(query, "since_last_changed"),
        before=time_of(query, "before_last_changed"),
        opted_since=time_of(query, "since_timestamp_opt"),
        opted_before=time_of(query, "before_timestamp_opt"),
        sort_field=_sort_field(field),
        descending=_DIRECTIONS[query.get("sort_dir", "ASC").upper()],
        offset=number_of(query, "offset"),
        count=min(number_of(query, "count") or DEFAULT_COUNT, MAX_COUNT),
    )


def _sort_field(name: str | None) -> SortField | None:
    for field in get_args(SortField):
        if field == name:
            return field  # type: ignore[no-any-return] # get_args forgets the type of what it lists
    if name is not None:
        raise ValueError("unknown sort_field")
    return None


def _is_first_page(parameters: Mapping[str, str], query: MemberQuery) -> bool:
    return query.offset == 0 and query.count > 1 and "before_last_changed" not in parameters


def _unreadable(
    call: Call, audience: Audience, result: QueryResult, member_selection: FieldSelection
) -> Response | None:
    settings = call.shared.settings
    if member_selection.is_within("last_changed") and not settings.broken_lookups:
        return None
    if not call.shared.unreadable.includes_any(audience, result.numbers, settings.broken):
        return None
    return problem(500, "Internal Server Error", "An unexpected internal error has occurred.")


def _oversized(result: QueryResult, most: int | None) -> Response | None:
    return html(504, "Gateway Time-out") if most is not None and len(result.numbers) > most else None


async def _encoded(encoder: MemberEncoder, result: QueryResult, member_selection: FieldSelection) -> list[bytes]:
    encoded: list[bytes] = []
    for first in range(0, len(result.numbers), _BATCH):
        encoded += encoder.encode_members(result.numbers[first : first + _BATCH], member_selection)
        await asyncio.sleep(0)
    return encoded


def _reported_total(shared: SharedState, total: int) -> int:
    lies = shared.settings.count_lies and shared.rng.random() < shared.settings.count_lies_share
    return max(0, total + shared.settings.count_lies) if lies else total


def _body(list_key: str, encoded: list[bytes], total: int, selection: FieldSelection) -> bytes:
    here = f"/lists/{list_key}/members"
    parts = {
        "members": b"[" + b",".join(encoded) + b"]",
        "list_id": encode(list_key),
        "total_items": encode(total),
        "_links": encode([link("self", "GET", here), link("parent", "GET", f"/lists/{list_key}")]),
    }
    kept = [b'"%s":%s' % (name.encode(), part) for name, part in parts.items() if selection.includes(name)]
    return b"{" + b",".join(kept) + b"}"


async def member(call: Call) -> Response:
    encoder = encoder_of(call)
    found = encoder.audience.find(call.path_param("who"))
    if found is None:
        raise NotFoundError
    if call.shared.unreadable.includes_any(encoder.audience, [found.number], call.shared.settings.broken):
        return problem(500, "Internal Server Error", "An unexpected internal error has occurred.")
    encoded = encoder.encode_members([found.number], fields_of(call))
    if not encoded:
        raise NotFoundError
    call.log.count = 1
    return raw_json(encoded[0])


async def tags(call: Call) -> Response:
    found = audience_of(call).find(call.path_param("who"))
    if found is None:
        raise NotFoundError
    added = found.get("timestamp_opt") or found.get("last_changed") or ""
    tags = [{**tag, "date_added": added} for tag in found.get("tags") or []]
    return collection(call, "tags", tags[:50] if call.shared.settings.cut_tags else tags)
