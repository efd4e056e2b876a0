"""Serves the Mailchimp Marketing API v3, as far as an importer uses it, with the oddities that it is known for.

It follows the vendor's reference and what users of the API reported; what neither tells (bounds, the order of equals)
is a setting. Nothing redirects.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from mcimport.sandbox import mailchimp_members
from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.invented_members import CATEGORIES
from mcimport.sandbox.audience.member_json import link
from mcimport.sandbox.audience.member_list import LISTED, STATUSES
from mcimport.sandbox.audience.stored_member import second_of
from mcimport.sandbox.clock import iso
from mcimport.sandbox.faults import ERROR_RESPONSES, problem
from mcimport.sandbox.mailchimp_members import audience_of, collection, encoders_of, fields_of, not_found
from mcimport.sandbox.request_handling import Call, RequestHandler, Respond, json
from mcimport.sandbox.shared_state import MailchimpAccount, SharedState


def routes(shared: SharedState) -> list[Route]:
    """Returns the routes, relative to the base address `/3.0`."""
    answers: dict[str, Respond] = {
        "/ping": _ping,
        "/lists": _lists,
        "/lists/{list_key}": _list,
        "/lists/{list_key}/members": mailchimp_members.members,
        "/lists/{list_key}/members/{who}": mailchimp_members.member,
        "/lists/{list_key}/members/{who}/tags": mailchimp_members.tags,
        "/lists/{list_key}/merge-fields": _merge_fields,
        "/lists/{list_key}/interest-categories": _categories,
        "/lists/{list_key}/interest-categories/{category}/interests": _interests,
        "/{anything:path}": _not_found,
    }
    return [Route(path, RequestHandler(shared, "mailchimp", _authorize, answer)) for path, answer in answers.items()]


def _authorize(call: Call) -> Response | None:
    """Finds the account by its key, or by a bearer token, which is the key without its data centre."""
    authorization, accounts = call.http.headers.get("authorization", ""), list(call.shared.mailchimp.values())
    key, is_bearer = _key_of(authorization), authorization.lower().startswith("bearer ")
    account = next((found for found in accounts if key == found.key or (is_bearer and key == found.secret)), None)
    settings = call.shared.settings
    if account is None:
        return ERROR_RESPONSES[settings.wrong_key]("mailchimp") if settings.wrong_key else _unauthorized(key, accounts)
    call.admit(account)
    return ERROR_RESPONSES[settings.over_limit]("mailchimp") if account.open > settings.connections else None


def _key_of(authorization: str) -> str:
    """Returns the key: the password of HTTP Basic with any user name, or a bearer token."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _unauthorized(key: str, accounts: list[MailchimpAccount]) -> Response:
    secret, dash, dc = key.rpartition("-")
    known_dcs = {account.key.rpartition("-")[2] for account in accounts}
    if dash and (dc not in known_dcs or secret in {account.secret for account in accounts}):
        return problem(403, "WrongDatacenter", "The API key belongs to another data centre.")
    return problem(401, "API Key Invalid", "Your API key may be invalid, or it was meant for another data centre.")


async def _ping(call: Call) -> Response:
    return json(fields_of(call).apply({"health_status": "Everything's Chimpy!"}))


async def _not_found(_call: Call) -> Response:
    raise not_found()


async def _lists(call: Call) -> Response:
    return collection(call, "lists", [_list_json(encoder.audience) for encoder in encoders_of(call).values()])


async def _list(call: Call) -> Response:
    return json(fields_of(call).apply(_list_json(audience_of(call))))


def _list_json(audience: Audience) -> dict[str, Any]:
    """Returns a list as the API shows it. `member_count` counts subscribers only, so not what a sync has to read."""
    with audience.lock:
        counts = {status: len(audience.orders[status]) for status in (*STATUSES, LISTED)}
        latest = {status: _latest_change(audience, status) for status in ("subscribed", "unsubscribed")}
    return {
        "id": audience.list_key,
        "web_id": audience.identity.web_base // 1_000_000,
        "name": f"Invented audience {audience.list_key[:3]}",
        "date_created": iso(1_500_000_000),
        "list_rating": 3,
        "visibility": "prv",
        "double_optin": False,
        "marketing_permissions": bool(audience.settings.permissions),
        "stats": {
            "member_count": counts["subscribed"],
            "unsubscribe_count": counts["unsubscribed"],
            "cleaned_count": counts["cleaned"],
            "total_contacts": counts[LISTED],
            "merge_field_count": len(_MERGE_FIELDS),
            "last_sub_date": latest["subscribed"],
            "last_unsub_date": latest["unsubscribed"],
        },
        "_links": [link("self", "GET", f"/lists/{audience.list_key}")],
    }


def _latest_change(audience: Audience, status: str) -> str:
    keys = audience.orders[status]
    return iso(second_of(keys[-1])) if keys else ""


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
    list_key, more = audience_of(call).list_key, call.shared.settings.more_fields
    known = [(tag, name, more.get(tag, kind), options) for tag, name, kind, options in _MERGE_FIELDS]
    known += [(tag, tag.title(), kind, {}) for tag, kind in more.items() if tag not in {field[0] for field in known}]
    fields = [
        {
            "merge_id": number, "tag": tag, "name": name, "type": kind, "required": False, "default_value": "",
            "public": False, "display_order": number + 1, "options": options, "help_text": "", "list_id": list_key,
            "_links": [link("self", "GET", f"/lists/{list_key}/merge-fields/{number}")],
        }
        for number, (tag, name, kind, options) in enumerate(known, 1)
    ]  # fmt: skip
    return collection(call, "merge_fields", fields, list_id=list_key)


async def _categories(call: Call) -> Response:
    audience = audience_of(call)
    categories = [
        {"list_id": audience.list_key, "id": category, "title": title, "display_order": 0, "type": "checkboxes"}
        for category, (title, _) in zip(audience.identity.categories, CATEGORIES, strict=True)
    ]
    return collection(call, "categories", categories, list_id=audience.list_key)


async def _interests(call: Call) -> Response:
    audience, category = audience_of(call), call.http.path_params["category"]
    if category not in audience.identity.categories:
        raise not_found()
    position = audience.identity.categories.index(category)
    named = dict(zip(audience.identity.interests[position], CATEGORIES[position][1], strict=True))
    interests = [
        {"category_id": category, "list_id": audience.list_key, "id": interest, "name": name, "subscriber_count": "0"}
        for interest, name in {**named, **(call.shared.settings.more_interests if position == 0 else {})}.items()
    ]
    return collection(call, "interests", interests, list_id=audience.list_key, category_id=category)
