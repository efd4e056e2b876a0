"""What is stored of one member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class StoredMember:
    """What is remembered of one member: what it is sorted and filtered by, and what differs from its invention.

    Times are epoch seconds, 0 where Mailchimp has an empty text.

    Attributes:
        key: where the row stands in its list's order (see `audience`).
        own: fields that were set by hand or by a change; an `ABSENT` one is left out.
    """

    number: int
    status: str
    changed: int
    opt: int
    signup: int
    key: int = 0
    overrides: dict[str, Any] | None = None


class Absent:
    """The value of a field that a planted member does not have at all."""


ABSENT = Absent()


def with_overrides(row: StoredMember, invented: dict[str, Any]) -> dict[str, Any]:
    """The member with what was set by hand or by a change."""
    if not row.overrides:
        return invented
    return {field: value for field, value in (invented | row.overrides).items() if value is not ABSENT}
