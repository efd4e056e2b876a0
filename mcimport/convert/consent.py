"""Consent: what a member's status permits, and the times that go with it.

Ometria takes an opt-in together with `timestamp_subscribed` as a subscription event, which can start a welcome
campaign: hence the care about whom it is sent for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mcimport.models import Channels, ContactRules, Member, OptIn, SmsChannel
from mcimport.times import Instant, instant

_STATUSES: Mapping[str, OptIn] = {
    "subscribed": "EXPLICITLY_OPTEDIN",
    "unsubscribed": "EXPLICITLY_OPTEDOUT",
    "cleaned": "EXPLICITLY_OPTEDOUT",
    "archived": "EXPLICITLY_OPTEDOUT",
    "pending": "NOT_SPECIFIED",
    "transactional": "NOT_SPECIFIED",
}
_CONFIGURABLE = ("cleaned", "archived", "pending", "transactional")
_CHOICES: Mapping[str, OptIn] = {"out": "EXPLICITLY_OPTEDOUT", "unspecified": "NOT_SPECIFIED"}
_ALLOWED = {"subscribed": True, "unsubscribed": False}

# Seconds by which a member's last change may be later than `until` and be believed: it is read after that, and where
# Mailchimp sends no clock, `until` lies five minutes and more in the past.
MOST_AHEAD = 600

_is_word = re.compile(r"[a-z_]{1,24}").fullmatch


def optins(consent: Mapping[str, str]) -> Mapping[str, OptIn]:
    """Status to opt-in, after the client's `[consent]`. No setting can make an opt-in of anything."""
    chosen = {
        status: _CHOICES[consent[status]]
        for status in _CONFIGURABLE
        if status in consent and consent[status] in _CHOICES
    }
    return {**_STATUSES, **chosen}


def optin_of(status: Any, consent: Mapping[str, str]) -> OptIn:
    """What a status permits, compared exactly; anything unknown is NOT_SPECIFIED."""
    return optins(consent).get(status, "NOT_SPECIFIED") if isinstance(status, str) else "NOT_SPECIFIED"


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


def is_yet_to_come(moment: int, last_changed: Any, rules: ContactRules) -> bool:
    """Whether nobody can have opted in then: a day and a month that were swapped, say.

    Whoever opts in changes by it. So a member of a first page who changed, and opted in, a little after `until` is no
    such one; whose last change lies in the future itself is.
    """
    if rules.until is None or moment <= rules.until:
        return False
    changed = instant(last_changed)
    return changed is None or moment > changed[0] or changed[0] > rules.until + MOST_AHEAD


def put_times(
    contact: dict[str, Any], member: Member, optin: OptIn, opted: Instant | None, rules: ContactRules
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
    elif (
        optin == "EXPLICITLY_OPTEDOUT"
        and member.status in ("unsubscribed", "cleaned")
        and (left := instant(member.last_changed))
    ):
        contact["timestamp_unsubscribed"] = left[1]
    return False


def sms(status: str) -> Channels | None:
    """Consent to text messages, by Mailchimp's own SMS status; None for every other state than yes and no."""
    allowed = _ALLOWED.get(status)
    return None if allowed is None else Channels(sms=SmsChannel(allow_marketing=allowed))
