"""A list's marketing permissions: which there are, and how many subscribed members lack the one that counts."""

from __future__ import annotations

from typing import Any

from mcimport.models.results import Permissions
from mcimport.report.format import escape

_LONGEST = 100  # characters of one text


def permissions_text(known: Permissions) -> str:
    """One line for a person."""
    texts = ", ".join(f"“{escape(text[:_LONGEST])}”" for text in known.texts) or "none found on any member"
    return f"marketing permissions (GDPR fields): {texts}; {_lacking(known)}"


def document(known: Permissions) -> dict[str, Any]:
    """For a program."""
    return {
        "texts": list(known.texts),
        "lacking": known.lacking,
        "looked_at": known.looked_at,
        "subscribed": known.subscribed,
    }


def _lacking(known: Permissions) -> str:
    if not known.names:
        return "[consent] permission requires none of them"
    have = "has" if known.lacking == 1 else "have"
    return f"{known.lacking:,} {_of_whom(known)} {have} not given {escape(known.names)}, and {_are(known)} not opted in"


def _are(known: Permissions) -> str:
    return "is" if known.lacking == 1 else "are"


def _of_whom(known: Permissions) -> str:
    if known.looked_at is None or known.subscribed is None:
        return f"subscribed {'member' if known.lacking == 1 else 'members'}"
    if known.looked_at < known.subscribed:
        return f"of the {known.looked_at:,} checked (of {known.subscribed:,} subscribed members)"
    return f"of {known.subscribed:,} subscribed members"
