"""Sort keys of members."""

from __future__ import annotations

_NUMBER_BITS = 28
_NUMBERS = (1 << _NUMBER_BITS) - 1
_TIME_SHIFT = 2 * _NUMBER_BITS
_SCRAMBLE = 2_654_435_761


def key_of(number: int, second: int, salt: int) -> int:
    tie = (number * _SCRAMBLE + salt) & _NUMBERS
    return start_of(second) | tie << _NUMBER_BITS | number


def second_of(key: int) -> int:
    """The `last_changed` by which a member stands in the order."""
    return key >> _TIME_SHIFT


def number_of(key: int) -> int:
    return key & _NUMBERS


def tie_of(key: int) -> int:
    """Orders members in an arbitrary way that no change of theirs touches."""
    return key & ((1 << _TIME_SHIFT) - 1)


def start_of(second: int) -> int:
    """The smallest key that a member of this second can have."""
    return max(0, second) << _TIME_SHIFT
