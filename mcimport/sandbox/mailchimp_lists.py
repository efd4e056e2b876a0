"""Responds with an account's lists, their merge fields, categories and interests, as Mailchimp does."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_ids import CATEGORIES
from mcimport.sandbox.audience.member_json import link
from mcimport.sandbox.audience.member_list import LISTED
from mcimport.sandbox.clock import iso
from mcimport.sandbox.mailchimp_requests import STATUSES, NotFoundError, audience_of, collection, fields_of
from mcimport.sandbox.request_handling import Call, json
from mcimport.sandbox.shared_state import MailchimpAccount


async def lists(call: Call) -> Response:
    encoders = call.account.lists.values() if isinstance(call.account, MailchimpAccount) else ()
    return collection(call, "lists", [_list_json(encoder.audience) for encoder in encoders])


async def one_list(call: Call) -> Response:
    return json(fields_of(call).apply(_list_json(audience_of(call))))


def _list_json(audience: Audience) -> dict[str, Any]:
    """Returns a list as the API shows it. `member_count` counts subscribers only, so not what a sync has to read."""
    with audience.lock:
        counts = {status: len(audience.orders[status]) for status in (*STATUSES, LISTED)}
    return {
        "id": audience.list_key,
        "web_id": audience.identity.web_base // 1_000_000,
        "name": f"Invented audience {audience.list_key[:3]}",
        "date_created": iso(1_500_000_000),
        "list_rating": 3.5,
        "visibility": "prv",
        "double_optin": False,
        "marketing_permissions": bool(audience.settings.permissions),
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


async def merge_fields(call: Call) -> Response:
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


async def categories(call: Call) -> Response:
    audience = audience_of(call)
    categories = [
        {"list_id": audience.list_key, "id": category, "title": title, "display_order": 0, "type": "checkboxes"}
        for category, (title, _) in zip(audience.identity.categories, CATEGORIES, strict=True)
    ]
    return collection(call, "categories", categories, list_id=audience.list_key)


async def interests(call: Call) -> Response:
    audience, category = audience_of(call), call.path_param("category")
    if category not in audience.identity.categories:
        raise NotFoundError
    position = audience.identity.categories.index(category)
    named = dict(zip(audience.identity.interests[position], CATEGORIES[position][1], strict=True))
    interests = [
        {"category_id": category, "list_id": audience.list_key, "id": interest, "name": name, "subscriber_count": "0"}
        for interest, name in {**named, **(call.shared.settings.more_interests if position == 0 else {})}.items()
    ]
    return collection(call, "interests", interests, list_id=audience.list_key, category_id=category)
