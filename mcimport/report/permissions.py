"""Formats a list's marketing permissions, and how many subscribed members lack the required one."""

from __future__ import annotations

from typing import Any

from mcimport.models.results import Permissions
from mcimport.report.format import escape

_LONGEST = 100  # characters of one text


def permissions_text(permissions: Permissions) -> str:
    """Returns one line for people."""
    texts = ", ".join(f"“{escape(text[:_LONGEST])}”" for text in permissions.texts) or "none found on any member"
    return f"marketing permissions (GDPR fields): {texts}; {_lacking(permissions)}"


def document(permissions: Permissions) -> dict[str, Any]:
    """Returns the same for programs."""
    return {
        "texts": list(permissions.texts),
        "lacking": permissions.lacking,
        "looked_at": permissions.looked_at,
        "subscribed": permissions.subscribed,
    }


def _lacking(permissions: Permissions) -> str:
    if not permissions.names:
        return "[consent] permission requires none of them"
    have, are = ("has", "is") if permissions.lacking == 1 else ("have", "are")
    lacking = f"{permissions.lacking:,} {_members(permissions)}"
    return f"{lacking} {have} not given {escape(permissions.names)}, and {are} not opted in"


def _members(permissions: Permissions) -> str:
    if permissions.looked_at is None or permissions.subscribed is None:
        return f"subscribed {'member' if permissions.lacking == 1 else 'members'}"
    if permissions.looked_at < permissions.subscribed:
        return f"of the {permissions.looked_at:,} checked (of {permissions.subscribed:,} subscribed members)"
    return f"of {permissions.subscribed:,} subscribed members"
