"""Decides on consent: what a member's status permits, and the times that go with it.

For Ometria an opt-in with `timestamp_subscribed` is a subscription event, which can start a welcome campaign: hence the
care about the members for whom it is sent. (What becomes of an opt-in without it: fact ometria-undated.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mcimport.convert.permissions import given_names, needed, permissions_of, shows_some
from mcimport.convert.text import shared_text
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
"""Opt-in and opt-out."""

# Seconds by which a member's last change may be later than `until` and be believed: it is read after that, and where
# Mailchimp sends no clock, `until` lies five minutes and more in the past.
MOST_AHEAD = 600

_is_word = re.compile(r"[a-z_]{1,24}").fullmatch


def optins(consent: Mapping[str, str]) -> Mapping[str, OptIn | None]:
    """Returns status to opt-in, by the client's `[consent]`; None: left out. No setting makes an opt-in of a status."""
    chosen = {
        status: CHOICES[consent[status]] for status in _CONFIGURABLE if status in consent and consent[status] in CHOICES
    }
    return {**_STATUSES, **chosen}


def optin_of(member: Member, rules: ContactRules, *, has_permissions: bool = False) -> OptIn | None:
    """Returns what a member's status and marketing permissions permit, also for one who cannot be pushed.

    Statuses are compared exactly; anything unknown is NOT_SPECIFIED. None: Ometria keeps what it has.
    `has_permissions`: the list has some, so a member without any has given none.
    """
    status, permissions = member.status, member.marketing_permissions
    optin = optins(rules.consent).get(status, "NOT_SPECIFIED") if isinstance(status, str) else "NOT_SPECIFIED"
    if optin != "EXPLICITLY_OPTEDIN" or not (has_permissions or shows_some(permissions)):
        return optin
    is_permitted = needed(rules.permission) <= given_names(permissions_of(permissions))
    return optin if is_permitted else CHOICES[rules.without_permission]


def unknown(status: Any) -> str:
    """Returns the warning about a status that Mailchimp does not document; with the status if it is a plain word."""
    return f"unknown status: {status}" if isinstance(status, str) and _is_word(status) else "unknown status"


def subscribed_at(when: Instant, rules: ContactRules) -> str | None:
    """Returns `timestamp_subscribed` of a member who subscribed then; None where no event may be sent for it."""
    if rules.subscription_events == "all":
        return when[1]
    is_new = rules.new_since is not None and when[0] >= rules.new_since
    return when[1] if is_new and rules.subscription_events == "new" else None


def unsubscribed_at(member: Member, optin: OptIn | None) -> str | None:
    """Returns `timestamp_unsubscribed`: the last change of an unsubscribed or cleaned member, which may be later."""
    if optin != "EXPLICITLY_OPTEDOUT" or member.status not in ("unsubscribed", "cleaned"):
        return None
    left = instant(member.last_changed)
    return left[1] if left else None


def is_yet_to_come(moment: int, last_changed: Any, rules: ContactRules) -> bool:
    """Says whether an opt-in cannot have happened then: its day and month were swapped, say.

    An opt-in is a change. So the time is believed of a member of a first page who changed, and opted in, a little after
    `until`, but not of one whose last change is in the future itself.
    """
    if rules.until is None or moment <= rules.until:
        return False
    changed = instant(last_changed)
    return changed is None or moment > changed[0] or changed[0] > rules.until + MOST_AHEAD


def add_times(
    contact: dict[str, Any], member: Member, optin: OptIn | None, opted: Instant | None, rules: ContactRules
) -> bool:
    """Adds the contact's timestamps that are known; `opted` is the member's `timestamp_opt`.

    Returns whether a subscription event was left out because its time is in the future.
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
    """Returns the refusal of text messages, for every SMS status but `subscribed`; None for that, or without one."""
    return SMS_NO if has_sms_status(member) and not agrees_to_texts(member) else None


def has_sms_status(member: Member) -> bool:
    """Says whether the member has an SMS status: any JSON but null and what is empty."""
    status = member.sms_subscription_status
    if status is None or status == "":
        return False
    return bool(shared_text(status)) if isinstance(status, str) else status not in ([], {})


def agrees_to_texts(member: Member) -> bool:
    """Says whether the SMS status is a yes: spelt exactly so, and of a member who is not archived."""
    return bool(member.sms_subscription_status == "subscribed" and member.status != "archived")


def sms(member: Member, number: str | None) -> Channels:
    """Returns the consent to text messages of an SMS status: a yes needs the number that it was given for.

    Everything else is a no, also without a number: Ometria may have a yes from before.
    """
    return _SMS_YES if number and agrees_to_texts(member) else SMS_NO
