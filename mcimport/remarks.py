"""What is counted of members while they are read, and said once in the summary of a list, with the number.

The keys travel between machines and are no words for a person; the words are chosen here.
"""

from __future__ import annotations

REMARKS: dict[str, tuple[str, str]] = {
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
}
"""Key to the words for one member, and for several; `{number}` is filled in."""


def words(key: str, number: int) -> str:
    """For a person. A key that this version does not know (a newer worker's) is shown as it is."""
    one, several = REMARKS.get(key, (f"{{number}} {key}", f"{{number}} {key}"))
    return (one if number == 1 else several).format(number=f"{number:,}")
