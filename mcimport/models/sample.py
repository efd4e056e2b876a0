"""Spot checks: a few of the contacts that Ometria accepted, and whether it has them later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from mcimport.models.timestamps import epoch, iso

_TIMES = ("at", "first_at", "last_at")


@dataclass(frozen=True, slots=True)
class SampledContact:
    """A contact that was pushed, by the member's id (without the list), and when, in epoch seconds."""

    member_id: str
    pushed_at: int


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """Says whether Ometria has a few of the contacts that it accepted. Times in epoch seconds, UTC.

    Attributes:
        at: when that was checked.
        accepted: how many were looked up; the first and the last of them were pushed at `first_at` and `last_at`.
        missing: how many of them Ometria does not have; None where that cannot be told, and `reason` says why.
    """

    at: int
    accepted: int
    first_at: int
    last_at: int
    missing: int | None = None
    reason: str = ""

    @classmethod
    def read(cls, text: str | None) -> SpotCheck | None:
        """Reads a column of the state file; None where there was no check."""
        if text is None:
            return None
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, **{name: epoch(values[name]) for name in _TIMES}})

    @property
    def document(self) -> dict[str, Any]:
        """Returns it for JSON, with times as ISO 8601 in UTC."""
        return {**asdict(self), **{name: iso(getattr(self, name)) for name in _TIMES}}

    @property
    def text(self) -> str:
        """Returns what `read` reads."""
        return json.dumps(self.document)
