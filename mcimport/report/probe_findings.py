"""Puts what a probe found into words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Returns evidence as words: names with blanks, and what each is."""
    return ", ".join(f"{_words(name)} {_text(value)}" for name, value in evidence.items())


def _words(name: str) -> str:
    return name.replace("_", " ") if name.islower() else name  # a constant of the API's stays as it is


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "(" + (evidence_text(value) or "none") + ")"
    if isinstance(value, list):
        return "(" + (", ".join(map(str, value)) or "none") + ")"
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
