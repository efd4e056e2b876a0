"""Remarks on members: counted while members are read, and shown once in the summary of a list, with the number.

Workers send the keys; the texts are chosen here. What follows a colon in a key is filled in as `{detail}`: a setting,
never a member's data.
"""

from __future__ import annotations

NO_PERMISSION = "no_permission"  # how keys begin for members without the permission that counts

REMARKS: dict[str, tuple[str, str]] = {
    "no_permission": (
        "{number} subscribed member has not given the permission {detail}, so they are not opted in",
        "{number} subscribed members have not given the permission {detail}, so they are not opted in",
    ),
    "no_permission_out": (
        "{number} subscribed member has not given the permission {detail}, so they are opted out",
        "{number} subscribed members have not given the permission {detail}, so they are opted out",
    ),
    "subscribed-elsewhere": (
        "1 deleted member is now unspecified, not opted out: subscribed elsewhere in this Ometria account",
        "{number} deleted members are now unspecified, not opted out: subscribed elsewhere in this Ometria account",
    ),
    "perhaps-subscribed-elsewhere": (
        "1 deleted member is now unspecified, not opted out: they may be subscribed elsewhere (unchecked)",
        "{number} deleted members are now unspecified, not opted out: they may be subscribed elsewhere (unchecked)",
    ),
    "consent_unknown": (
        "1 member, neither opted in nor out, could not be looked up in Ometria: an opt-out there may be lifted",
        "{number} members, neither opted in nor out, could not be looked up in Ometria: opt-outs there may be lifted",
    ),
    "no_carried": (
        "1 member could not be imported in full, but was opted out",
        "{number} members could not be imported in full, but were opted out",
    ),
    "no_refused": (
        "1 member could not be imported in full, nor opted out: Ometria refused the record",
        "{number} members could not be imported in full, nor opted out: Ometria refused the records",
    ),
    "tags_left_out": (
        "1 member was sent without tags, which could not be read whole: `mcimport sync --full` sends them",
        "{number} members were sent without tags, which could not be read whole: `mcimport sync --full` sends them",
    ),
    "opt-in to come": (
        "{number} member has an opt-in time in the future, so no subscription event is sent for them",
        "{number} members have an opt-in time in the future, so no subscription events are sent for them",
    ),
}
"""Key to the text for one member, and for several; `{number}` is filled in."""


def words(key: str, number: int) -> str:
    """Returns a remark's text. A key that this version does not know (of a newer worker) is shown as it is."""
    name, _, detail = key.partition(":")
    one, several = REMARKS.get(name, ("{number} {key}", "{number} {key}"))
    return (one if number == 1 else several).format(number=f"{number:,}", detail=detail, key=key)
