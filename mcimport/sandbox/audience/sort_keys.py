"""Makes whole numbers by which members are sorted, and reads them.

A key is `last_changed` in the high bits, then a scramble of the member's number (members of one second have an order
that is arbitrary, stable, and not the one in which they joined), then the number itself.
"""

from __future__ import annotations

_NUMBER_BITS = 28
_NUMBERS = (1 << _NUMBER_BITS) - 1
_TIME_SHIFT = 2 * _NUMBER_BITS
_SCRAMBLE = 2_654_435_761


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
