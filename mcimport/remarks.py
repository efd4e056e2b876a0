"""What is counted of members while they are read, and said once in the summary of a list, with the number.

The keys travel between machines and are no words for a person; the words are chosen here.
"""

from __future__ import annotations

REMARKS: dict[str, tuple[str, str]] = {
    "opt-in to come": (
        "{number} member opted in at a time that has not come yet: that is no subscription event",
        "{number} members opted in at a time that has not come yet: that is no subscription event",
    ),
}
"""Key to the words for one member, and for several; `{number}` is filled in."""


def words(key: str, number: int) -> str:
    """For a person. A key that this version does not know (a newer worker's) is shown as it is."""
    one, several = REMARKS.get(key, (f"{{number}} {key}", f"{{number}} {key}"))
    return (one if number == 1 else several).format(number=f"{number:,}")
