"""Makes the ids of contacts: stable, and free of personal data (fact mailchimp-members)."""

from __future__ import annotations

import re

from mcimport.models import Member

# What programs write for "none" is no id, for many members would become one contact.
_is_contact_id = re.compile(r"(?!(?:null|none|nil|undefined|[0_-]+)\Z)[0-9a-z_-]{1,64}").fullmatch
_USUAL_LENGTH = 32
_is_web_id = re.compile(r"0*[1-9][0-9]{0,19}").fullmatch


def contact_id(member: Member, list_key: str) -> str | None:
    """Returns the id of the member's Ometria contact, lower case; None where the member has no id.

    It begins with the list, for one person's consent differs from list to list.
    """
    key = member_id(member)
    return None if key is None else f"{list_key}-{key}".lower()


def member_id(member: Member) -> str | None:
    """Returns the contact's id without the list: Mailchimp's `contact_id`, lower case, else its `web_id` as text.

    `contact_id` stays when the address changes; some old accounts lack it. What does not have the form of an id (an
    address, say) is not taken for one, and neither is 0, by which many members would become one contact.
    """
    key = member.contact_id
    if isinstance(key, str):
        if len(key) == _USUAL_LENGTH and key.isascii() and key.isalnum() and key.islower():
            return key  # nothing to trim, at least one letter, and no word for "none" is that long
        if _is_contact_id(key := key.strip().lower()):
            return key
    return _web_id(member.web_id)


def own_part(contact: object, list_key: str) -> str | None:
    """Returns the `member_id` in a contact's id; None where that is not an id of this list."""
    prefix = f"{list_key}-".lower()
    if not isinstance(contact, str) or not contact.startswith(prefix):
        return None
    key = contact[len(prefix) :]
    return key if _is_contact_id(key) else None


def is_contact_id(key: str | None) -> bool:
    """Says whether Mailchimp finds a member by this `member_id`; by a web_id, the shorter number, it does not."""
    return key is not None and _is_web_id(key) is None


def _web_id(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip().lstrip("0") if _is_web_id(value.strip()) else None
    is_id = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**20
    return str(value) if is_id else None
