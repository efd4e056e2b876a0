"""A few of the contacts that Ometria accepted, and what a look at them found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from mcimport.models.timestamps import epoch, iso

_TIMES = ("at", "first_at", "last_at")


@dataclass(frozen=True, slots=True)
class SampledContact:
    """One of those that were pushed last, by its id of ours without the list."""

    member_id: str
    pushed_at: int


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """Whether Ometria holds a few of the contacts that it accepted. Times in seconds, UTC.

    Attributes:
        at: when that was looked at.
        accepted: how many were asked for; the first and the last of them were pushed at `first_at` and `last_at`.
        missing: how many of them it does not hold; None where that cannot be told, and `reason` says why.
    """

    at: int
    accepted: int
    first_at: int
    last_at: int
    missing: int | None = None
    reason: str = ""

    @classmethod
    def read(cls, text: str | None) -> SpotCheck | None:
        """From a column of the state file; None where there was none."""
        if text is None:
            return None
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, **{name: epoch(values[name]) for name in _TIMES}})

    @property
    def document(self) -> dict[str, Any]:
        """Times as ISO 8601 in UTC."""
        return {**asdict(self), **{name: iso(getattr(self, name)) for name in _TIMES}}

    @property
    def text(self) -> str:
        """For a column of the state file."""
        return json.dumps(self.document)
