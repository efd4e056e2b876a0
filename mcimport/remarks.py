"""What is counted of members while they are read, and said once in the summary of a list, with the number.

The keys travel between machines and are no words for a person; the words are chosen here.
"""

from __future__ import annotations

REMARKS: dict[str, tuple[str, str]] = {
    "subscribed-elsewhere": (
        "1 who is gone is not specified now, and not opted out: subscribed on another listing of the account",
        "{number} who are gone are not specified now, and not opted out: subscribed on other listings of the account",
    ),
    "perhaps-subscribed-elsewhere": (
        "1 who is gone is not specified now, and not opted out: perhaps subscribed elsewhere; nobody can tell",
        "{number} who are gone are not specified now, and not opted out: perhaps subscribed elsewhere; nobody can tell",
    ),
}
"""Key to the words for one member, and for several; `{number}` is filled in."""


def words(key: str, number: int) -> str:
    """For a person. A key that this version does not know (a newer worker's) is shown as it is."""
    one, several = REMARKS.get(key, (f"{{number}} {key}", f"{{number}} {key}"))
    return (one if number == 1 else several).format(number=f"{number:,}")
