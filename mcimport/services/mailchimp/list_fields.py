"""A list's own fields: its merge fields, the names of its interests, and whether it has marketing permissions."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mcimport.errors import FatalError, NotFoundError
from mcimport.models import ListFields
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.responses import CATEGORIES, INTERESTS, LIST, MERGE_FIELDS, merge_field, text

EVERYTHING: Mapping[str, str] = {"count": "1000"}
AT_ONCE = 4  # requests for a list's fields at a time


def read_list_fields(mailchimp: MailchimpClient, list_key: str) -> ListFields:
    """Reads the list's merge fields and the names of its interests.

    Two requests, and one for each interest category, are sent side by side: it takes as long as two of them.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fields") as pool:
        merge = pool.submit(mailchimp.get, f"lists/{list_key}/merge-fields", EVERYTHING, MERGE_FIELDS)
        path = f"lists/{list_key}/interest-categories"
        categories = mailchimp.get(path, EVERYTHING, CATEGORIES).categories
        paths = [f"{path}/{category.id}/interests" for category in categories]
        interests = list(pool.map(lambda path: mailchimp.get(path, EVERYTHING, INTERESTS).interests, paths))
        fields = {field.tag: merge_field(field) for field in merge.result().merge_fields}
    return ListFields(fields, {interest.id: text(interest.name) for category in interests for interest in category})


def list_has_permissions(mailchimp: MailchimpClient, list_key: str) -> bool | None:
    """Asks whether the list has marketing permissions (GDPR fields); None where Mailchimp does not say."""
    path, params = f"lists/{list_key}", {"fields": "marketing_permissions"}
    try:
        answer = mailchimp.get(path, params, LIST, first=True)
    except (NotFoundError, FatalError):  # what the members show must do
        return None
    found = answer.marketing_permissions
    return found if isinstance(found, bool) else None


def permissions_shown(mailchimp: MailchimpClient, list_key: str, offset: int) -> tuple[list[Any], int]:
    """Returns the `marketing_permissions` of 1,000 subscribed members, latest change first, and how many there are."""
    answer = mailchimp.newest(list_key, "members.marketing_permissions", 1_000, status="subscribed", offset=str(offset))
    return [member.marketing_permissions for member in answer.members], answer.total_items
