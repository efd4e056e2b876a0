"""Stores what differs between a member and its invented fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class StoredMember:
    """Stores what a member is sorted and filtered by, and what differs from its invented fields.

    Times are epoch seconds, 0 where Mailchimp has an empty text.

    Attributes:
        key: where the row is in its list's order (see `sort_keys`).
        overrides: fields that were set by hand or by a change; an `ABSENT` one is left out.
    """

    number: int
    status: str
    changed: int
    opt: int
    signup: int
    key: int = 0
    overrides: dict[str, Any] | None = None


ABSENT = object()
"""Marks a field that a member does not have at all."""


def with_overrides(row: StoredMember, invented: dict[str, Any]) -> dict[str, Any]:
    """Returns the member's fields with those that were set by hand or by a change."""
    if not row.overrides:
        return invented
    return {field: value for field, value in (invented | row.overrides).items() if value is not ABSENT}
