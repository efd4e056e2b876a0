"""All tags of a member: a page of members lists fifty at most."""

from __future__ import annotations

from typing import Any

import msgspec

from mcimport.convert import is_contact_id, member_id
from mcimport.errors import RetriableError
from mcimport.models import Member
from mcimport.services.mailchimp.client import MailchimpClient, subscriber_hash
from mcimport.services.mailchimp.responses import TAGS, Tags


def with_all_tags(mailchimp: MailchimpClient, list_key: str, member: Member) -> Member:
    """The member with every tag: a page lists fifty at most.

    Raises NotFoundError for who is not there any more, RetriableError also for a list that is cut here, too.
    """
    address = member.email_address if isinstance(member.email_address, str) else ""
    who = member_id(member)
    if not is_contact_id(who):  # web ids are nothing that Mailchimp finds a member by; the address's MD5 is
        who = subscriber_hash(address)
    path, counted = f"lists/{list_key}/members/{who}/tags", member.tags_count
    tags: dict[str, Any] = {}
    offset = 0
    while True:
        some = _some_tags(mailchimp, path, offset)
        known = len(tags)
        tags |= {str(tag): tag for tag in some.tags}
        offset += len(some.tags)
        if len(tags) == known or offset >= some.total_items:
            break
    if len(tags) < max(some.total_items, counted if isinstance(counted, int) else 0):
        raise RetriableError("Mailchimp reported more tags of a member than it returned")
    return msgspec.structs.replace(member, tags=list(tags.values()), tags_count=len(tags))


def _some_tags(mailchimp: MailchimpClient, path: str, offset: int) -> Tags:
    params = {"count": "1000", "offset": str(offset), "fields": "tags.name,total_items"}
    return mailchimp.get(path, params, TAGS, first=True)
