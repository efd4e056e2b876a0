"""The ids under which Ometria knows a member: stable, and free of personal data."""

from __future__ import annotations

import re

from mcimport.models import Member

# What programs write for "none" is no id: it would make one contact of many members.
_is_contact_id = re.compile(r"(?!(?:null|none|nil|undefined|[0_-]+)\Z)[0-9a-z_-]{1,64}").fullmatch
_USUAL_LENGTH = 32
_is_web_id = re.compile(r"0*[1-9][0-9]{0,19}").fullmatch


def contact_id(member: Member, list_key: str) -> str | None:
    """The id of the Ometria contact, lower case; None where the member has no id of its own.

    The list stands in front because one person's consent differs from list to list.
    """
    own = member_id(member)
    return None if own is None else f"{list_key}-{own}".lower()


def member_id(member: Member) -> str | None:
    """The part of the contact's id behind the list: Mailchimp's `contact_id`, lower case, else its `web_id` as text.

    `contact_id` follows a person through a change of address; some old accounts lack it. What has not the form of an
    id (an address, say) is not taken for one, and neither is 0, which would make one contact of many members.
    """
    own = member.contact_id
    if isinstance(own, str):
        if len(own) == _USUAL_LENGTH and own.isascii() and own.isalnum() and own.islower():
            return own  # nothing to trim, at least one letter, and no word for "none" is that long
        if _is_contact_id(own := own.strip().lower()):
            return own
    return _web_id(member.web_id)


def own_part(contact: object, list_key: str) -> str | None:
    """The `member_id` behind the list in a contact's id; None where that is no id of this list's."""
    front = f"{list_key}-".lower()
    if not isinstance(contact, str) or not contact.startswith(front):
        return None
    own = contact[len(front) :]
    return own if _is_contact_id(own) else None


def is_contact_id(own: str | None) -> bool:
    """Whether a `member_id` is one that Mailchimp finds a member by; a web_id, the shorter number, is not."""
    return own is not None and _is_web_id(own) is None


def _web_id(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip().lstrip("0") if _is_web_id(value.strip()) else None
    is_id = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**20
    return str(value) if is_id else None
