"""What the members of a sample are like, in counts: which fields they have, and what they would become."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mcimport.convert import encode_contact, make_converter
from mcimport.models import ContactRules, Converted, ListFields, Member, Skipped
from mcimport.models.timestamps import epoch
from mcimport.monitoring.probe.seen import Seen, judged

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived")
SMS_STATUSES = ("subscribed", "unsubscribed", "nonsubscribed", "pending")
LISTED_TAGS = 50

Sample = Sequence[Mapping[str, Any]]


def members(sample: Sample, fields: ListFields, rules: ContactRules) -> Seen:
    """Counts the sample. The verdict is about what the importer relies on: ids, times and statuses."""
    without_time = sum(epoch(one.get("last_changed")) is None for one in sample)
    with_id = sum(bool(one.get("contact_id")) for one in sample)
    statuses = _words(sample, "status", STATUSES)
    evidence = {
        "members": len(sample),
        "with_contact_id": with_id,
        "without_last_changed": without_time,
        "with_more_than_fifty_tags": sum(_count(one.get("tags_count")) > LISTED_TAGS for one in sample),
        "opted_in_in_the_future": sum((epoch(one.get("timestamp_opt")) or 0) > time.time() for one in sample),
        "statuses": statuses,
        "permissions_shown": sum(bool(one.get("marketing_permissions")) for one in sample),
        "permissions_given": _permissions(sample),
        "sms_numbers": sum(bool(one.get("sms_phone_number")) for one in sample),
        "sms_statuses": _words(sample, "sms_subscription_status", SMS_STATUSES),
        "merge_fields": _merge_fields(sample, fields),
        **_converted(sample, fields, rules),
    }
    holds = with_id > 0 and not without_time and not statuses.get("other")
    return judged(holds=holds, is_known=bool(sample)), evidence


def _words(sample: Sample, name: str, known: Sequence[str]) -> dict[str, int]:
    """Counts the documented words of a field, and all others together."""
    found = Counter(str(one[name]) for one in sample if one.get(name))
    others = sum(count for word, count in found.items() if word not in known)
    return {word: found[word] for word in known if found[word]} | ({"other": others} if others else {})


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _permissions(sample: Sample) -> dict[str, int]:
    """Counts by place, for the texts are the owner's own."""
    given: Counter[str] = Counter()
    for one in sample:
        shown = one.get("marketing_permissions")
        for place, permission in enumerate(shown if isinstance(shown, list) else (), 1):
            given[f"number {place}"] += isinstance(permission, dict) and permission.get("enabled") is True
    return dict(given)


def _merge_fields(sample: Sample, fields: ListFields) -> dict[str, int]:
    """Counts the filled values by type of field."""
    filled: Counter[str] = Counter()
    for one in sample:
        values = one.get("merge_fields")
        for tag, value in (values if isinstance(values, dict) else {}).items():
            if value not in ("", None) and tag in fields.merge_fields:
                filled[fields.merge_fields[tag].type] += 1
    return dict(sorted(filled.items()))


def _converted(sample: Sample, fields: ListFields, rules: ContactRules) -> dict[str, Any]:
    """Converts the sample as a sync does; the reasons are ours, and say nothing of any member."""
    convert = make_converter(fields, rules)
    largest, left_out = 0, 0
    reasons: Counter[str] = Counter()
    for one in sample:
        found = convert(msgspec.convert(one, Member))
        record = encode_contact(found.contact) if isinstance(found, Converted) else found
        if isinstance(record, bytes):
            largest, left_out = max(largest, len(record)), left_out + len(found.notes)  # type: ignore[union-attr]
        else:
            reasons[f"skipped: {record.reason}" if isinstance(record, Skipped) else record.reason] += 1
    return {"largest_record_bytes": largest, "values_that_do_not_fit": left_out, "not_sent": dict(reasons)}
