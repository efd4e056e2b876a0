"""Responds with the members of a list, one member, and its tags, as Mailchimp does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast, get_args

from starlette.responses import Response

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.field_selection import FieldSelection
from mcimport.sandbox.audience.member_json import MemberEncoder, encode, link
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.audience.query import MemberQuery, QueryResult, SortField, run_query
from mcimport.sandbox.faults import html, problem
from mcimport.sandbox.mailchimp_requests import (
    STATUSES,
    audience_of,
    collection,
    encoder_of,
    fields_of,
    invalid,
    not_found,
    page_of,
    time_of,
)
from mcimport.sandbox.request_handling import Call, RefusedError, raw_json
from mcimport.sandbox.shared_state import SharedState

_BATCH = 50  # members encoded before other requests get their turn, and members may change


async def members(call: Call) -> Response:
    """Responds with a page of members, which may change between their choice and their writing."""
    encoder, query = encoder_of(call), _member_query(call.query)
    audience, settings = encoder.audience, call.shared.settings
    selection = fields_of(call)
    is_selected, member_selection = selection.includes("members"), selection.within("members")
    is_first_page = query.offset == 0 and query.count > 1 and "before_last_changed" not in call.query
    if is_first_page and settings.first_page_latency is not None:
        call.latency = settings.first_page_latency
    result = run_query(audience, query, call.shared.rng)
    is_lookup = member_selection.is_within("last_changed") and not settings.broken_lookups
    if is_selected and not is_lookup:
        _check_readable(call, audience, result.numbers)
    if settings.max_page is not None and len(result.numbers) > settings.max_page:
        return html(504, "Gateway Time-out")
    await call.wait(call.latency * settings.writing_delay)
    if settings.on_page is not None:
        settings.on_page(audience)
    encoded = await _encoded(encoder, result, member_selection) if is_selected else []
    call.log.count = len(encoded)
    if settings.after_page is not None:
        settings.after_page(audience)
    return raw_json(_body(audience.list_key, encoded, _reported_total(call.shared, result.total), selection))


def _member_query(query: Mapping[str, str]) -> MemberQuery:
    status, direction = query.get("status") or None, query.get("sort_dir", "ASC").upper()
    if status is not None and status not in STATUSES:
        raise invalid("unknown status")
    if direction not in {"ASC", "DESC"}:
        raise invalid("sort_dir is ASC or DESC")
    offset, count = page_of(query)
    return MemberQuery(
        status=status,
        since=time_of(query, "since_last_changed"),
        before=time_of(query, "before_last_changed"),
        opted_since=time_of(query, "since_timestamp_opt"),
        opted_before=time_of(query, "before_timestamp_opt"),
        sort_field=_sort_field(query.get("sort_field") or None),
        descending=direction == "DESC",
        offset=offset,
        count=count,
    )


def _sort_field(name: str | None) -> SortField | None:
    if name is not None and name not in get_args(SortField):
        raise invalid("unknown sort_field")
    return cast("SortField | None", name)


def _check_readable(call: Call, audience: Audience, numbers: list[int]) -> None:
    if call.shared.unreadable.includes_any(audience, numbers, call.shared.settings.broken):
        raise RefusedError(problem(500, "Internal Server Error", "An unexpected internal error has occurred."))


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
    encoder, found = encoder_of(call), _member_of(call)
    _check_readable(call, encoder.audience, [found.number])
    encoded = encoder.encode_members([found.number], fields_of(call))
    if not encoded:
        raise not_found()
    call.log.count = 1
    return raw_json(encoded[0])


def _member_of(call: Call) -> MemberView:
    found = audience_of(call).find(call.path_param("who"))
    if found is None:
        raise not_found()
    return found


async def tags(call: Call) -> Response:
    found = _member_of(call)
    added = found.get("timestamp_opt") or found.get("last_changed") or ""
    tags = [{**tag, "date_added": added} for tag in found.get("tags") or []]
    return collection(call, "tags", tags[:50] if call.shared.settings.cut_tags else tags)
