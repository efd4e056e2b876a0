"""Reads marketing permissions (GDPR fields): which a member has, and which of them they have given.

A list's owner words them, in any language, so they are distinguished by their text, compared without case and blanks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from mcimport.convert.text import shared_text
from mcimport.models import ContactRules, ListFields


@lru_cache(maxsize=1024)
def comparable(name: str) -> str:
    return "".join(shared_text(name).split()).casefold()


def shows_some(value: Any) -> bool:
    """Says whether a member has permissions, readable or not; a text or a number in their place counts as none."""
    return isinstance(value, list | dict) and bool(value)


def needed(names: Iterable[str]) -> frozenset[str]:
    """Returns the configured names in comparable form, without blank ones."""
    return frozenset(filter(None, map(comparable, names)))


def permissions_of(value: Any) -> dict[str, bool]:
    """Reads a member's permissions, whatever JSON stands there: text to whether it was given.

    Only `true` is a yes. Of two with the same text both have to be given. (PHP writes some arrays as objects.)
    """
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found: dict[str, bool] = {}
    for entry in entries:
        if isinstance(entry, dict) and (text := shared_text(entry.get("text"))):
            found[text] = found.get(text, True) and entry.get("enabled") is True
    return found


def given_names(permissions: Mapping[str, bool]) -> frozenset[str]:
    """Returns the permissions that were given, in comparable form; of two that are equal then, both must be given."""
    refused = {comparable(text) for text, is_given in permissions.items() if not is_given}
    return frozenset(name for text in permissions if (name := comparable(text)) not in refused)


def missing_names(names: Iterable[str], texts: Iterable[str]) -> list[str]:
    """Returns the configured names that none of the list's permissions has."""
    known = set(map(comparable, texts))
    return [name for name in names if comparable(name) and comparable(name) not in known]


def quoted(names: Iterable[str]) -> str:
    """Returns the names for a message, as they were configured: “Email” and “SMS”."""
    return " and ".join(f"“{shared_text(name)}”" for name in names if comparable(name))


def has_permissions(fields: ListFields, rules: ContactRules) -> bool:
    """Says whether the list has permissions, so that a member without any has given none.

    What was seen earlier counts where Mailchimp does not say: the list's owner may have switched them off since.
    """
    return bool(rules.permissions) if fields.has_permissions is None else fields.has_permissions
