"""The members of a list, as the fake Mailchimp answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import get_args

from starlette.responses import Response

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.field_selection import Wanted
from mcimport.sandbox.audience.member_json import Writer, encode, link
from mcimport.sandbox.audience.query import Choice, Question, SortField, choose
from mcimport.sandbox.faults import html, problem
from mcimport.sandbox.mailchimp_requests import (
    DEFAULT_COUNT,
    MOST,
    STATUSES,
    NotFoundError,
    audience_of,
    collection,
    number_of,
    time_of,
    wanted_of,
    writer_of,
)
from mcimport.sandbox.request_handling import Call, raw_json
from mcimport.sandbox.shared_state import SharedState

_AT_A_TIME = 50  # members written before others get their turn, who may change somebody meanwhile
_DIRECTIONS = {"ASC": False, "DESC": True}


async def members(call: Call) -> Response:
    writer, question = writer_of(call), _question(call.query)
    audience, knobs = writer.audience, call.shared.knobs
    answer_wanted = wanted_of(call)
    of_members = answer_wanted.within("members")
    if _is_first_page(call.query, question) and knobs.first_page_latency is not None:
        call.latency = knobs.first_page_latency
    choice = choose(audience, question, call.shared.chance)
    shown = answer_wanted.has("members")
    refused = (shown and _unreadable(call, audience, choice, of_members)) or _too_big(choice, knobs.max_page)
    if refused:
        return refused
    await call.pass_time(call.latency * knobs.writing_delay)
    if knobs.on_page is not None:
        knobs.on_page(audience)
    written = await _written(writer, choice, of_members) if shown else []
    call.log.count = len(written)
    if knobs.after_page is not None:
        knobs.after_page(audience)
    return raw_json(_joined(audience.list_key, written, _told_total(call.shared, choice.total), answer_wanted))


def _question(query: Mapping[str, str]) -> Question:
    status, field = query.get("status") or None, query.get("sort_field") or None
    if status is not None and status not in STATUSES:
        raise ValueError("unknown status")
    if query.get("sort_dir", "ASC").upper() not in _DIRECTIONS:
        raise ValueError("sort_dir is ASC or DESC")
    return Question(
        status=status,
        since=time_of(query, "since_last_changed"),
        before=time_of(query, "before_last_changed"),
        opted_since=time_of(query, "since_timestamp_opt"),
        opted_before=time_of(query, "before_timestamp_opt"),
        sort_field=_sort_field(field),
        descending=_DIRECTIONS[query.get("sort_dir", "ASC").upper()],
        offset=number_of(query, "offset"),
        count=min(number_of(query, "count") or DEFAULT_COUNT, MOST),
    )


def _sort_field(name: str | None) -> SortField | None:
    for field in get_args(SortField):
        if field == name:
            return field  # type: ignore[no-any-return] # get_args forgets the type of what it lists
    if name is not None:
        raise ValueError("unknown sort_field")
    return None


def _is_first_page(query: Mapping[str, str], question: Question) -> bool:
    return question.offset == 0 and question.count > 1 and "before_last_changed" not in query


def _unreadable(call: Call, audience: Audience, choice: Choice, of_members: Wanted) -> Response | None:
    knobs = call.shared.knobs
    if of_members.only("last_changed") and not knobs.broken_lookups:
        return None
    if not call.shared.unreadable.any_of(audience, choice.numbers, knobs.broken):
        return None
    return problem(500, "Internal Server Error", "An unexpected internal error has occurred.")


def _too_big(choice: Choice, most: int | None) -> Response | None:
    return html(504, "Gateway Time-out") if most is not None and len(choice.numbers) > most else None


async def _written(writer: Writer, choice: Choice, of_members: Wanted) -> list[bytes]:
    written: list[bytes] = []
    for first in range(0, len(choice.numbers), _AT_A_TIME):
        written += writer.write(choice.numbers[first : first + _AT_A_TIME], of_members)
        await asyncio.sleep(0)
    return written


def _told_total(shared: SharedState, total: int) -> int:
    lies = shared.knobs.count_lies and shared.chance.random() < shared.knobs.count_lies_share
    return max(0, total + shared.knobs.count_lies) if lies else total


def _joined(list_key: str, written: list[bytes], total: int, answer_wanted: Wanted) -> bytes:
    here = f"/lists/{list_key}/members"
    parts = {
        "members": b"[" + b",".join(written) + b"]",
        "list_id": encode(list_key),
        "total_items": encode(total),
        "_links": encode([link("self", "GET", here), link("parent", "GET", f"/lists/{list_key}")]),
    }
    kept = [b'"%s":%s' % (name.encode(), part) for name, part in parts.items() if answer_wanted.has(name)]
    return b"{" + b",".join(kept) + b"}"


async def member(call: Call) -> Response:
    writer = writer_of(call)
    person = writer.audience.find(call.part("who"))
    if person is None:
        raise NotFoundError
    if call.shared.unreadable.any_of(writer.audience, [person.number], call.shared.knobs.broken):
        return problem(500, "Internal Server Error", "An unexpected internal error has occurred.")
    written = writer.write([person.number], wanted_of(call))
    if not written:
        raise NotFoundError
    call.log.count = 1
    return raw_json(written[0])


async def tags(call: Call) -> Response:
    person = audience_of(call).find(call.part("who"))
    if person is None:
        raise NotFoundError
    added = person.get("timestamp_opt") or person.get("last_changed") or ""
    tags = [{**tag, "date_added": added} for tag in person.get("tags") or []]
    return collection(call, "tags", tags[:50] if call.shared.knobs.cut_tags else tags)
