"""Another try of a request that failed: a frozen value."""

from __future__ import annotations

from msgspec import Struct


class Retry(Struct, frozen=True):
    """Announces another try of a request.

    Attributes:
        reason: why the last try failed, in our own words.
        seconds: the pause before this one.
        attempt: its number; the first retry is the second attempt.
        attempts: how many there are at most; None: the account is busy, and is asked again until it is not.
    """

    reason: str
    seconds: float
    attempt: int
    attempts: int | None = None
