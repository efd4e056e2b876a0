"""Stores what members are sorted and filtered by, and what differs from their invented fields.

The key by which a member is sorted is `last_changed` in the high bits, then a scramble of the member's number (members
of one second have an order that is arbitrary, stable, and not the one in which they joined), then the number itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_NUMBER_BITS = 28
_NUMBERS = (1 << _NUMBER_BITS) - 1
_TIME_SHIFT = 2 * _NUMBER_BITS
_SCRAMBLE = 2_654_435_761

ABSENT = object()
"""Marks a field that a member does not have at all."""


@dataclass(slots=True)
class StoredMember:
    """Stores one member. Times are epoch seconds, 0 where Mailchimp has an empty text.

    `overrides` are fields that were set by hand or by a change; an `ABSENT` one is left out.
    """

    number: int
    status: str
    changed: int
    opt: int
    signup: int
    key: int = 0
    overrides: dict[str, Any] | None = None


def key_of(number: int, second: int, salt: int) -> int:
    """Returns the key of a member. `salt`: gives each list another order of the members of a second."""
    tie = (number * _SCRAMBLE + salt) & _NUMBERS
    return start_of(second) | tie << _NUMBER_BITS | number


def second_of(key: int) -> int:
    """Returns the `last_changed` by which a member is sorted."""
    return key >> _TIME_SHIFT


def number_of(key: int) -> int:
    return key & _NUMBERS


def tie_of(key: int) -> int:
    """Returns a key for an arbitrary order that no change of a member moves."""
    return key & ((1 << _TIME_SHIFT) - 1)


def start_of(second: int) -> int:
    """Returns the smallest key that a member of this second can have."""
    return max(0, second) << _TIME_SHIFT
