"""Finds out about Ometria by writing one invented contact: what each fact takes from the steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mcimport.monitoring.probe.ometria_answers import QUEUE_HEADERS, Found
from mcimport.monitoring.probe.ometria_reading import words_of
from mcimport.monitoring.probe.seen import DIFFERS, HOLDS, UNKNOWN, Seen
from mcimport.monitoring.probe.written_contact import IN, MIDDLENAME, OUT, PROPERTY, UNSAID, Step, WrittenContact


def settling(contact: WrittenContact) -> Seen:
    seconds = [round(step.settled, 1) for step in contact.steps.values() if step.settled is not None]
    evidence = {"pushes": len(contact.steps), "read_back": len(seconds)}
    if not seconds:
        return UNKNOWN, evidence
    return HOLDS, evidence | {"seconds_first": seconds[0], "seconds_longest": max(seconds)}


def read_back(contact: WrittenContact) -> Seen:
    """The fields that were pushed come back."""
    found = _contact(contact, "created")
    if not found:
        return UNKNOWN, {}
    sent = ("@collection", "id", "email", "firstname", "middlename", "lastname", "marketing_optin")
    missing = [name for name in sent if name not in found]
    return (DIFFERS if missing else HOLDS), {"missing": missing}


def consent_words(contact: WrittenContact) -> Seen:
    """The words that the contact was read back with, step by step."""
    verdict, evidence = words_of(step.contact for step in contact.steps.values())
    return verdict, {"words_of_the_invented_contact": evidence["words"]}


def order(contact: WrittenContact) -> Seen:
    first = contact.is_listed_first
    return (UNKNOWN if first is None else DIFFERS if first else HOLDS), {"new_contact_is_listed_first": first}


def without_address(contact: WrittenContact) -> Seen:
    step = contact.steps.get("without_address")
    if step is None:
        return UNKNOWN, {}
    is_updated = step.settled is not None
    return (HOLDS if is_updated else DIFFERS), {"accepted": step.is_accepted, "updated": is_updated}


def left_out_is_kept(contact: WrittenContact) -> Seen:
    """Judged by a field that the first step alone sends, after the first other step that was read back."""
    created = _contact(contact, "created")
    later = [_contact(contact, name) for name in ("without_address", "unsaid") if _is_settled(contact.steps.get(name))]
    if created.get("middlename") != MIDDLENAME or not later:
        return UNKNOWN, {}
    is_kept = later[0].get("middlename") == MIDDLENAME
    return (HOLDS if is_kept else DIFFERS), {"kept": is_kept}


def not_specified(contact: WrittenContact) -> Seen:
    """Whether it takes an opt-in back; only where the opt-in was read back before."""
    before, after = (_contact(contact, name).get("marketing_optin") for name in ("created", "unsaid"))
    if not _is_settled(contact.steps.get("unsaid")) or before in (None, OUT, UNSAID):
        return UNKNOWN, {}
    is_taken_back = after != before
    return (HOLDS if is_taken_back else DIFFERS), {"takes_an_opt_in_back": is_taken_back}


def unknown_property(contact: WrittenContact) -> Seen:
    """The record has to arrive; whether the property does, too, changes nothing about that."""
    step = contact.steps.get("property")
    if step is None:
        return UNKNOWN, {}
    is_stored, properties = step.settled is not None, step.contact.get("properties")
    has_property = is_stored and isinstance(properties, dict) and properties.get(PROPERTY) == contact.property_value
    evidence = {"accepted": step.is_accepted, "contact_stored": is_stored, "property_stored": has_property}
    return (HOLDS if is_stored else DIFFERS), evidence


def opt_in_date(contact: WrittenContact) -> Seen:
    """Whether an opt-in without a time gets one, and how many seconds after the push that is."""
    step = contact.steps.get("created")
    if step is None or not _is_settled(step) or step.contact.get("marketing_optin") == OUT:
        return UNKNOWN, {}
    moment = step.contact.get("timestamp_subscribed")
    is_dated = moment is not None and moment != contact.before.get("timestamp_subscribed")
    evidence: dict[str, Any] = {"dated": is_dated}
    if is_dated and (at := _epoch(moment)) is not None:
        evidence["seconds_after_the_push"] = round(at - step.pushed_at)
    return (DIFFERS if is_dated else HOLDS), evidence


def queue_headers(contact: WrittenContact) -> Seen:
    return (HOLDS if contact.headers == set(QUEUE_HEADERS) else DIFFERS), {"with_pushes": sorted(contact.headers)}


def ended(contact: WrittenContact) -> Seen:
    """The contact is opted out, and is seen to be; it differs where the opt-out was not accepted."""
    step = contact.steps.get("ended")
    is_accepted = bool(step and step.is_accepted)
    is_seen = _is_settled(step) and _contact(contact, "ended").get("marketing_optin") not in (IN, None)
    evidence = {"accepted": is_accepted, "read_back": is_seen}
    if contact.is_begun and not is_accepted:
        return DIFFERS, evidence
    return (HOLDS if is_seen else UNKNOWN), evidence


def _is_settled(step: Step | None) -> bool:
    return step is not None and step.settled is not None


def _contact(contact: WrittenContact, name: str) -> Found:
    step = contact.steps.get(name)
    return step.contact if step is not None else {}


def _epoch(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
