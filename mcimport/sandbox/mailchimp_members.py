"""The members of a list, as the fake Mailchimp answers."""

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

_BATCH = 50  # members written before others get their turn, who may change somebody meanwhile
_DIRECTIONS = {"ASC": False, "DESC": True}


async def members(call: Call) -> Response:
    writer, query = encoder_of(call), _member_query(call.query)
    audience, settings = writer.audience, call.shared.settings
    answer_wanted = fields_of(call)
    of_members = answer_wanted.within("members")
    if _is_first_page(call.query, query) and settings.first_page_latency is not None:
        call.latency = settings.first_page_latency
    choice = run_query(audience, query, call.shared.rng)
    shown = answer_wanted.includes("members")
    refused = (shown and _unreadable(call, audience, choice, of_members)) or _oversized(choice, settings.max_page)
    if refused:
        return refused
    await call.wait(call.latency * settings.writing_delay)
    if settings.on_page is not None:
        settings.on_page(audience)
    written = await _encoded(writer, choice, of_members) if shown else []
    call.log.count = len(written)
    if settings.after_page is not None:
        settings.after_page(audience)
    return raw_json(_body(audience.list_key, written, _reported_total(call.shared, choice.total), answer_wanted))


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


def _unreadable(call: Call, audience: Audience, choice: QueryResult, of_members: FieldSelection) -> Response | None:
    settings = call.shared.settings
    if of_members.is_within("last_changed") and not settings.broken_lookups:
        return None
    if not call.shared.unreadable.includes_any(audience, choice.numbers, settings.broken):
        return None
    return problem(500, "Internal Server Error", "An unexpected internal error has occurred.")


def _oversized(choice: QueryResult, most: int | None) -> Response | None:
    return html(504, "Gateway Time-out") if most is not None and len(choice.numbers) > most else None


async def _encoded(writer: MemberEncoder, choice: QueryResult, of_members: FieldSelection) -> list[bytes]:
    written: list[bytes] = []
    for first in range(0, len(choice.numbers), _BATCH):
        written += writer.encode_members(choice.numbers[first : first + _BATCH], of_members)
        await asyncio.sleep(0)
    return written


def _reported_total(shared: SharedState, total: int) -> int:
    lies = shared.settings.count_lies and shared.rng.random() < shared.settings.count_lies_share
    return max(0, total + shared.settings.count_lies) if lies else total


def _body(list_key: str, written: list[bytes], total: int, answer_wanted: FieldSelection) -> bytes:
    here = f"/lists/{list_key}/members"
    parts = {
        "members": b"[" + b",".join(written) + b"]",
        "list_id": encode(list_key),
        "total_items": encode(total),
        "_links": encode([link("self", "GET", here), link("parent", "GET", f"/lists/{list_key}")]),
    }
    kept = [b'"%s":%s' % (name.encode(), part) for name, part in parts.items() if answer_wanted.includes(name)]
    return b"{" + b",".join(kept) + b"}"


async def member(call: Call) -> Response:
    writer = encoder_of(call)
    person = writer.audience.find(call.path_param("who"))
    if person is None:
        raise NotFoundError
    if call.shared.unreadable.includes_any(writer.audience, [person.number], call.shared.settings.broken):
        return problem(500, "Internal Server Error", "An unexpected internal error has occurred.")
    written = writer.encode_members([person.number], fields_of(call))
    if not written:
        raise NotFoundError
    call.log.count = 1
    return raw_json(written[0])


async def tags(call: Call) -> Response:
    person = audience_of(call).find(call.path_param("who"))
    if person is None:
        raise NotFoundError
    added = person.get("timestamp_opt") or person.get("last_changed") or ""
    tags = [{**tag, "date_added": added} for tag in person.get("tags") or []]
    return collection(call, "tags", tags[:50] if call.shared.settings.cut_tags else tags)
