"""Consent: what a member's status permits, and the times that go with it.

Ometria takes an opt-in together with `timestamp_subscribed` as a subscription event, which can start a welcome
campaign: hence the care about whom it is sent for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mcimport.convert.permissions import given_names, needed, permissions_of, shows_some
from mcimport.convert.text import label
from mcimport.models import Channels, ContactRules, Member, OptIn, SmsChannel
from mcimport.models.timestamps import Instant, instant

_STATUSES: Mapping[str, OptIn] = {
    "subscribed": "EXPLICITLY_OPTEDIN",
    "unsubscribed": "EXPLICITLY_OPTEDOUT",
    "cleaned": "EXPLICITLY_OPTEDOUT",
    "archived": "EXPLICITLY_OPTEDOUT",
    "pending": "NOT_SPECIFIED",
    "transactional": "NOT_SPECIFIED",
}
_CONFIGURABLE = ("cleaned", "archived", "pending", "transactional")
CHOICES: Mapping[str, OptIn | None] = {"out": "EXPLICITLY_OPTEDOUT", "unspecified": "NOT_SPECIFIED", "keep": None}
_SMS_YES = Channels(sms=SmsChannel(allow_marketing=True))
SMS_NO = Channels(sms=SmsChannel(allow_marketing=False))

SAID: frozenset[OptIn | None] = frozenset({"EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT"})
"""What is a yes or a no."""

# Seconds by which a member's last change may be later than `until` and be believed: it is read after that, and where
# Mailchimp sends no clock, `until` lies five minutes and more in the past.
MOST_AHEAD = 600

_is_word = re.compile(r"[a-z_]{1,24}").fullmatch


def optins(consent: Mapping[str, str]) -> Mapping[str, OptIn | None]:
    """Status to opt-in, after the client's `[consent]`; None: left out. No setting can make an opt-in of anything."""
    chosen = {
        status: CHOICES[consent[status]] for status in _CONFIGURABLE if status in consent and consent[status] in CHOICES
    }
    return {**_STATUSES, **chosen}


def optin_of(member: Member, rules: ContactRules, *, has_permissions: bool = False) -> OptIn | None:
    """What a member's status and marketing permissions permit, also of one who cannot be sent.

    Statuses are compared exactly; anything unknown is NOT_SPECIFIED. None: Ometria keeps what it has.
    `has_permissions`: the list has some, so who shows none has given none.
    """
    status, permissions = member.status, member.marketing_permissions
    optin = optins(rules.consent).get(status, "NOT_SPECIFIED") if isinstance(status, str) else "NOT_SPECIFIED"
    if optin != "EXPLICITLY_OPTEDIN" or not (has_permissions or shows_some(permissions)):
        return optin
    is_permitted = needed(rules.permission) <= given_names(permissions_of(permissions))
    return optin if is_permitted else CHOICES[rules.without_permission]


def unknown(status: Any) -> str:
    """The warning about a status that Mailchimp's documentation does not have: shows the word if it is a plain one."""
    return f"unknown status: {status}" if isinstance(status, str) and _is_word(status) else "unknown status"


def subscribed_at(when: Instant, rules: ContactRules) -> str | None:
    """`timestamp_subscribed` of a member who subscribed then: None where it would announce old history as an event."""
    if rules.subscription_events == "none":
        return None
    if rules.subscription_events == "all":
        return when[1]
    new = rules.new_since is not None and when[0] >= rules.new_since
    return when[1] if new else None


def unsubscribed_at(member: Member, optin: OptIn | None) -> str | None:
    """`timestamp_unsubscribed`: the last change of who left, or was cleaned, which may be a later one than that."""
    if optin != "EXPLICITLY_OPTEDOUT" or member.status not in ("unsubscribed", "cleaned"):
        return None
    left = instant(member.last_changed)
    return left[1] if left else None


def is_yet_to_come(moment: int, last_changed: Any, rules: ContactRules) -> bool:
    """Whether nobody can have opted in then: a day and a month that were swapped, say.

    Whoever opts in changes by it. So a member of a first page who changed, and opted in, a little after `until` is no
    such one; whose last change lies in the future itself is.
    """
    if rules.until is None or moment <= rules.until:
        return False
    changed = instant(last_changed)
    return changed is None or moment > changed[0] or changed[0] > rules.until + MOST_AHEAD


def add_times(
    contact: dict[str, Any], member: Member, optin: OptIn | None, opted: Instant | None, rules: ContactRules
) -> bool:
    """Adds the contact's timestamps that are known; `opted` is the member's `timestamp_opt`.

    Returns whether a subscription event was left out for its time, which has not come yet.
    """
    signed_up = opted if member.timestamp_signup == member.timestamp_opt else instant(member.timestamp_signup)
    if acquired := signed_up or opted:
        contact["timestamp_acquired"] = acquired[1]
    if optin == "EXPLICITLY_OPTEDIN":
        if (when := opted or signed_up) and (subscribed := subscribed_at(when, rules)):
            if is_yet_to_come(when[0], member.last_changed, rules):
                return True
            contact["timestamp_subscribed"] = subscribed
    elif left := unsubscribed_at(member, optin):
        contact["timestamp_unsubscribed"] = left
    return False


def refused_sms(member: Member) -> Channels | None:
    """No consent to text messages, for every status but `subscribed`; None for that, and where there is no status."""
    return SMS_NO if has_sms_status(member) and not agrees_to_texts(member) else None


def has_sms_status(member: Member) -> bool:
    """Whether Mailchimp says anything of text messages: any JSON at all but null and what is empty."""
    status = member.sms_subscription_status
    if status is None or status == "":
        return False
    return bool(label(status)) if isinstance(status, str) else status not in ([], {})


def agrees_to_texts(member: Member) -> bool:
    """Whether the SMS status is a yes: exactly so spelt, and of somebody who is not archived, whom nobody may text."""
    return bool(member.sms_subscription_status == "subscribed" and member.status != "archived")


def sms(member: Member, number: str | None) -> Channels:
    """Consent to text messages under an SMS status: a yes needs the number that it was given for.

    Everything else is a no, also without a number: Ometria may hold a yes from before.
    """
    return _SMS_YES if number and agrees_to_texts(member) else SMS_NO
