"""What is counted of members while they are read, and said once in the summary of a list, with the number.

The keys travel between machines and are no words for a person; the words are chosen here. What stands behind a colon in
a key is filled in as `{detail}`: a setting, never a member's data.
"""

from __future__ import annotations

NO_PERMISSION = "no_permission"  # how the keys of those begin who have not given the permission that counts

REMARKS: dict[str, tuple[str, str]] = {
    "no_permission": (
        "{number} subscribed member has not given the permission {detail}: they are not opted in",
        "{number} subscribed members have not given the permission {detail}: they are not opted in",
    ),
    "no_permission_out": (
        "{number} subscribed member has not given the permission {detail}: they are opted out",
        "{number} subscribed members have not given the permission {detail}: they are opted out",
    ),
    "subscribed-elsewhere": (
        "1 who is gone is not specified now, and not opted out: subscribed on another listing of the account",
        "{number} who are gone are not specified now, and not opted out: subscribed on other listings of the account",
    ),
    "perhaps-subscribed-elsewhere": (
        "1 who is gone is not specified now, and not opted out: perhaps subscribed elsewhere; nobody can tell",
        "{number} who are gone are not specified now, and not opted out: perhaps subscribed elsewhere; nobody can tell",
    ),
    "consent_unknown": (
        "1 member is neither opted in nor out, and could not be looked up in Ometria: a no may be lifted",
        "{number} members are neither opted in nor out, and could not be looked up in Ometria: a no may be lifted",
    ),
    "no_carried": (
        "1 member who cannot be sent whole was opted out all the same",
        "{number} members who cannot be sent whole were opted out all the same",
    ),
    "no_refused": (
        "1 member who cannot be sent whole could not be opted out either: Ometria refused the record",
        "{number} members who cannot be sent whole could not be opted out either: Ometria refused the records",
    ),
    "opt-in to come": (
        "{number} member opted in at a time that has not come yet: that is no subscription event",
        "{number} members opted in at a time that has not come yet: that is no subscription event",
    ),
}
"""Key to the words for one member, and for several; `{number}` is filled in."""


def words(key: str, number: int) -> str:
    """For a person. A key that this version does not know (a newer worker's) is shown as it is."""
    name, _, detail = key.partition(":")
    one, several = REMARKS.get(name, ("{number} {key}", "{number} {key}"))
    return (one if number == 1 else several).format(number=f"{number:,}", detail=detail, key=key)
