"""Whom an Ometria account may mail and text in the end, by its own rule, over all lists that go to it.

Of one person's listings one that is opted out outweighs all that are opted in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from invariants import IN, OUT, Contacts
from member_history import MemberHistory

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_list import MemberView

Side = tuple[Audience, MemberHistory]
"""A list, and what it went through."""


def breaches_of_consent(mailable: set[str], contacts: Contacts, sides: Sequence[Side]) -> list[str]:
    """What is wrong once both sides were compared and mended; ids alone."""
    return [
        *(f"mailed without consent: {who}" for who in mailed_without_consent(mailable, contacts, sides)),
        *(f"texted without consent: {who}" for who in texted_without_consent(contacts, sides)),
        *(f"silenced: {who}" for who in silenced(contacts, sides)),
    ]


def mailed_without_consent(mailable: set[str], contacts: Contacts, sides: Sequence[Side]) -> Iterator[str]:
    """Whoever may be mailed is subscribed and permitted today, under that address, on one of the lists."""
    agreed = {_address(one) for audience, _ in sides for one in audience.listed() if may_be_mailed(one)}
    for (_, contact_id), contact in contacts.items():
        if _address(contact) in mailable - agreed and contact.get("marketing_optin") == IN:
            yield contact_id


def texted_without_consent(contacts: Contacts, sides: Sequence[Side]) -> Iterator[str]:
    """Whoever may be texted agreed to that, for the very number that Ometria has."""
    agreed = {
        history.key_of(one.number): _digits(one.get("sms_phone_number")).lstrip("0")
        for audience, history in sides
        for one in audience.listed()
        if one.get("sms_subscription_status") == "subscribed"
    }
    for key, contact in contacts.items():
        number = agreed.get(key)
        if _texts(contact) and not (number and _digits(contact.get("phone_number")).endswith(number)):
            yield key[1]


def silenced(contacts: Contacts, sides: Sequence[Side]) -> Iterator[str]:
    """No listing silences somebody who is subscribed and permitted, but by a no of the person's own."""
    outs: dict[str, list[tuple[str, str]]] = {}
    for key, contact in contacts.items():
        if contact.get("marketing_optin") == OUT:
            outs.setdefault(_address(contact), []).append(key)
    own_noes = {
        *(key for _, history in sides for key in history.said_no),
        *(history.key_of(number) for _, history in sides for number in history.left),
    }
    for audience, _ in sides:
        for one in audience.listed():
            if may_be_mailed(one):
                yield from (key[1] for key in outs.get(_address(one), []) if key not in own_noes)


def may_be_mailed(one: MemberView) -> bool:
    permissions = one.get("marketing_permissions") or []
    is_permitted = not permissions or any(each["text"] == "Email" and each["enabled"] for each in permissions)
    return bool(one["status"] == "subscribed" and is_permitted and one.get("email_address"))


def _address(one: MemberView | dict[str, object]) -> str:
    return str(one.get("email_address") or one.get("email") or "").strip().lower()


def _texts(contact: dict[str, object]) -> bool:
    channels = contact.get("channels")
    sms = channels.get("sms") if isinstance(channels, dict) else None
    return isinstance(sms, dict) and sms.get("allow_marketing") is True


def _digits(number: object) -> str:
    """Of a number, with or without its country's code in front."""
    return "".join(filter(str.isdigit, str(number)))
