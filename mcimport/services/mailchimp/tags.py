"""All tags of a member: a page of members lists fifty at most."""

from __future__ import annotations

from typing import Any

import msgspec

from mcimport.convert import is_contact_id, member_id
from mcimport.errors import RetriableError
from mcimport.models import Member
from mcimport.services.mailchimp.client import MailchimpClient, subscriber_hash
from mcimport.services.mailchimp.responses import TAGS


def with_all_tags(mailchimp: MailchimpClient, list_key: str, member: Member) -> Member:
    """Returns the member with every tag. Raises NotFoundError for one who is gone, RetriableError for too few tags."""
    address = member.email_address if isinstance(member.email_address, str) else ""
    key = member_id(member)
    if not is_contact_id(key):  # Mailchimp does not find a member by web id
        key = subscriber_hash(address)
    path, counted = f"lists/{list_key}/members/{key}/tags", member.tags_count
    tags: dict[str, Any] = {}
    offset = 0
    while True:
        params = {"count": "1000", "offset": str(offset), "fields": "tags.name,total_items"}
        page = mailchimp.get(path, params, TAGS, first=True)
        before = len(tags)
        tags |= {str(tag): tag for tag in page.tags}
        offset += len(page.tags)
        if len(tags) == before or offset >= page.total_items:
            break
    if len(tags) < max(page.total_items, counted if isinstance(counted, int) else 0):
        raise RetriableError("Mailchimp reported more tags of a member than it returned")
    return msgspec.structs.replace(member, tags=list(tags.values()), tags_count=len(tags))
