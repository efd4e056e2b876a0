"""The Mailchimp Marketing API v3, as far as an importer meets it, as awkward as it is known to be.

Nothing redirects. The facts are the vendor's reference and what users of the API reported; where they are silent
(bounds, the order of equals), a knob says how it is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any, get_args

from starlette.responses import Response
from starlette.routing import Route

from mcimport.sandbox.audience.audience import ARCHIVED, LISTED, Audience
from mcimport.sandbox.audience.invented_members import CATEGORIES
from mcimport.sandbox.audience.member_json import Writer, encode, link
from mcimport.sandbox.audience.merge_fields import Wanted, wanted
from mcimport.sandbox.audience.query import Choice, Question, SortField, choose
from mcimport.sandbox.clock import iso, time_in_query
from mcimport.sandbox.faults import INSTEAD, html, problem
from mcimport.sandbox.request_handling import Answer, Call, RequestHandler, json, raw_json
from mcimport.sandbox.shared_state import MailchimpAccount, SharedState

_DEFAULT_COUNT = 10
_MOST = 1000
_AT_A_TIME = 50  # members written before others get their turn, who may change somebody meanwhile
_STATUSES = {"subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED}
_DIRECTIONS = {"ASC": False, "DESC": True}


def routes(shared: SharedState) -> list[Route]:
    """Relative to the base address `/3.0`."""
    answers: dict[str, Answer] = {
        "/ping": _ping,
        "/lists": _lists,
        "/lists/{list_key}": _list,
        "/lists/{list_key}/members": _members,
        "/lists/{list_key}/members/{who}": _member,
        "/lists/{list_key}/members/{who}/tags": _tags,
        "/lists/{list_key}/merge-fields": _merge_fields,
        "/lists/{list_key}/interest-categories": _categories,
        "/lists/{list_key}/interest-categories/{category}/interests": _interests,
        "/{anything:path}": _nothing,
    }
    return [
        Route(path, RequestHandler(shared, "mailchimp", _admit, _checked(answer))) for path, answer in answers.items()
    ]


class _MissingError(Exception):
    """What was asked for does not exist, or not for this account."""


def _checked(answer: Answer) -> Answer:
    """Turns what an answer raises into the API's own words: ValueError is a bad parameter."""

    async def checked(call: Call) -> Response:
        try:
            return await answer(call)
        except ValueError as error:
            return problem(400, "Invalid Resource", f"The request is not valid: {error}.")
        except _MissingError:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")

    return checked


# -- who may come in


def _admit(call: Call) -> Response | None:
    authorization = call.http.headers.get("authorization", "")
    account = _account(call.shared, authorization)
    if account is None:
        return _stranger(call.shared, _key_of(authorization))
    call.account = account
    account.open += 1
    call.log.open = account.open
    if account.open > call.shared.knobs.connections:
        return INSTEAD[call.shared.knobs.over_limit]("mailchimp")
    return None


def _key_of(authorization: str) -> str:
    """HTTP Basic with any user name and the key as password, or a bearer token."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _account(shared: SharedState, authorization: str) -> MailchimpAccount | None:
    """By its key, or by a bearer token: that has no data centre, so the key without it is taken for one."""
    key, accounts = _key_of(authorization), list(shared.mailchimp.values())
    bearer = authorization.lower().startswith("bearer ")
    return next((one for one in accounts if key in {one.key, one.secret if bearer else one.key}), None)


def _stranger(shared: SharedState, key: str) -> Response:
    secret, dash, dc = key.rpartition("-")
    known = list(shared.mailchimp.values())
    if dash and (dc not in {one.dc for one in known} or secret in {one.secret for one in known}):
        return problem(403, "WrongDatacenter", "The API key belongs to another data centre.")
    return problem(401, "API Key Invalid", "Your API key may be invalid, or it was meant for another data centre.")


def _writer(call: Call) -> Writer:
    lists = call.account.lists if isinstance(call.account, MailchimpAccount) else {}
    writer = lists.get(call.part("list_key"))
    if writer is None:
        raise _MissingError
    return writer


def _audience(call: Call) -> Audience:
    return _writer(call).audience


# -- members


async def _members(call: Call) -> Response:
    writer, question = _writer(call), _question(call.query)
    audience, knobs = writer.audience, call.shared.knobs
    answer_wanted = _wanted(call)
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
    if status is not None and status not in _STATUSES:
        raise ValueError("unknown status")
    if query.get("sort_dir", "ASC").upper() not in _DIRECTIONS:
        raise ValueError("sort_dir is ASC or DESC")
    return Question(
        status=status,
        since=_time(query, "since_last_changed"),
        before=_time(query, "before_last_changed"),
        opted_since=_time(query, "since_timestamp_opt"),
        opted_before=_time(query, "before_timestamp_opt"),
        sort_field=_sort_field(field),
        descending=_DIRECTIONS[query.get("sort_dir", "ASC").upper()],
        offset=_number(query, "offset"),
        count=min(_number(query, "count") or _DEFAULT_COUNT, _MOST),
    )


def _sort_field(name: str | None) -> SortField | None:
    for field in get_args(SortField):
        if field == name:
            return field  # type: ignore[no-any-return] # get_args forgets the type of what it lists
    if name is not None:
        raise ValueError("unknown sort_field")
    return None


def _time(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    try:
        return time_in_query(text) if text else None
    except ValueError:
        raise ValueError(f"{name} is not a time") from None


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise ValueError(f"{name} is not a whole number from 0 on")
    return int(text)


def _wanted(call: Call) -> Wanted:
    return wanted(call.query.get("fields") or None, call.query.get("exclude_fields") or None)


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


async def _member(call: Call) -> Response:
    writer = _writer(call)
    person = writer.audience.find(call.part("who"))
    if person is None:
        raise _MissingError
    if call.shared.unreadable.any_of(writer.audience, [person.number], call.shared.knobs.broken):
        return problem(500, "Internal Server Error", "An unexpected internal error has occurred.")
    written = writer.write([person.number], _wanted(call))
    if not written:
        raise _MissingError
    call.log.count = 1
    return raw_json(written[0])


async def _tags(call: Call) -> Response:
    person = _audience(call).find(call.part("who"))
    if person is None:
        raise _MissingError
    added = person.get("timestamp_opt") or person.get("last_changed") or ""
    tags = [{**tag, "date_added": added} for tag in person.get("tags") or []]
    return _collection(call, "tags", tags[:50] if call.shared.knobs.cut_tags else tags)


# -- the list itself


def _collection(call: Call, name: str, items: list[dict[str, Any]], **more: Any) -> Response:
    """A part of `items`, as every collection of the API is answered: ten, unless `count` says more."""
    first, count = _number(call.query, "offset"), min(_number(call.query, "count") or _DEFAULT_COUNT, _MOST)
    page = items[first : first + count]
    links = [link("self", "GET", call.log.path)]
    return json(_wanted(call).of({name: page, **more, "total_items": len(items), "_links": links}))


async def _ping(call: Call) -> Response:
    return json(_wanted(call).of({"health_status": "Everything's Chimpy!"}))


async def _nothing(_call: Call) -> Response:
    raise _MissingError


async def _lists(call: Call) -> Response:
    writers = call.account.lists.values() if isinstance(call.account, MailchimpAccount) else ()
    return _collection(call, "lists", [_about(writer.audience) for writer in writers])


async def _list(call: Call) -> Response:
    return json(_wanted(call).of(_about(_audience(call))))


def _about(audience: Audience) -> dict[str, Any]:
    """`member_count` counts subscribers only, as in the real thing: no measure of what a sync has to read."""
    with audience.lock:
        counts = {status: len(audience.orders[status]) for status in (*_STATUSES, LISTED)}
    return {
        "id": audience.list_key,
        "web_id": audience.identity.web_base // 1_000_000,
        "name": f"Invented audience {audience.list_key[:3]}",
        "date_created": iso(1_500_000_000),
        "list_rating": 3.5,
        "visibility": "prv",
        "double_optin": False,
        "marketing_permissions": bool(audience.knobs.permissions),
        "stats": {
            "member_count": counts["subscribed"],
            "unsubscribe_count": counts["unsubscribed"],
            "cleaned_count": counts["cleaned"],
            "total_contacts": counts[LISTED],
            "merge_field_count": len(_MERGE_FIELDS),
        },
        "_links": [link("self", "GET", f"/lists/{audience.list_key}")],
    }


_MERGE_FIELDS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("FNAME", "First Name", "text", {"size": 25}),
    ("LNAME", "Last Name", "text", {"size": 25}),
    ("ADDRESS", "Address", "address", {"default_country": 164}),
    ("PHONE", "Phone Number", "phone", {"phone_format": "none"}),
    ("BIRTHDAY", "Birthday", "birthday", {"date_format": "MM/DD"}),
    ("COUNTRY", "Country", "dropdown", {"choices": ["United Kingdom", "Germany", "France", "Japan", "Brazil"]}),
    ("POINTS", "Loyalty points", "number", {}),
    ("SINCE", "Customer since", "date", {"date_format": "DD/MM/YYYY"}),
    ("SIZE", "Size", "radio", {"choices": ["S", "M", "L", "XL"]}),
    ("SHOP", "Favourite shop", "url", {}),
    ("PHOTO", "Photo", "imageurl", {}),
    ("POSTCODE", "Post code", "zip", {}),
    ("MMERGE13", "Notes", "text", {"size": 25}),
)


async def _merge_fields(call: Call) -> Response:
    list_key, more = _audience(call).list_key, call.shared.knobs.more_fields
    known = [(tag, name, more.get(tag, kind), options) for tag, name, kind, options in _MERGE_FIELDS]
    known += [(tag, tag.title(), kind, {}) for tag, kind in more.items() if tag not in {one[0] for one in known}]
    fields = [
        {
            "merge_id": number, "tag": tag, "name": name, "type": kind, "required": False, "default_value": "",
            "public": False, "display_order": number + 1, "options": options, "help_text": "", "list_id": list_key,
            "_links": [link("self", "GET", f"/lists/{list_key}/merge-fields/{number}")],
        }
        for number, (tag, name, kind, options) in enumerate(known, 1)
    ]  # fmt: skip
    return _collection(call, "merge_fields", fields, list_id=list_key)


async def _categories(call: Call) -> Response:
    audience = _audience(call)
    categories = [
        {"list_id": audience.list_key, "id": category, "title": title, "display_order": 0, "type": "checkboxes"}
        for category, (title, _) in zip(audience.identity.categories, CATEGORIES, strict=True)
    ]
    return _collection(call, "categories", categories, list_id=audience.list_key)


async def _interests(call: Call) -> Response:
    audience, category = _audience(call), call.part("category")
    if category not in audience.identity.categories:
        raise _MissingError
    place = audience.identity.categories.index(category)
    named = dict(zip(audience.identity.interests[place], CATEGORIES[place][1], strict=True))
    interests = [
        {"category_id": category, "list_id": audience.list_key, "id": interest, "name": name, "subscriber_count": "0"}
        for interest, name in {**named, **(call.shared.knobs.more_interests if place == 0 else {})}.items()
    ]
    return _collection(call, "interests", interests, list_id=audience.list_key, category_id=category)
