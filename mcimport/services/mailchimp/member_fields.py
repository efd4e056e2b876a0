"""Which fields pages of members hold: of some only the parts that are used, where Mailchimp returns parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mcimport.models import Member

PARTS_USED = {"location": ("country_code", "timezone"), "tags": ("name",)}
"""The parts that the conversion reads of these fields; of every other field it reads all."""


class MemberFields:
    """The fields of each member that one client's pages hold; safe to share between threads.

    Mailchimp's reference allows dotted names of any depth in `fields`; whether every server follows it two levels
    below `members` is not known (fact mailchimp-parts). So a page on which no member has the parts is requested again
    with whole fields, and so are all pages after it; the same holds where the request is refused before a page with
    parts has come (fact mailchimp-unknown-field).

    Attributes:
        query: what the parameter `fields` of the next request is to be.
        have_come: a page with the parts has come, so that a refusal has another reason.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """`names`: of fields, or dotted names of their parts, without `members.` before them."""
        pairs = [name.partition(".") for name in names]
        self._parts: dict[str, list[str]] = {}
        for field, dot, part in pairs:
            if dot:
                self._parts.setdefault(field, []).append(part)
        self._whole = _query(dict.fromkeys(field for field, _, _ in pairs))
        self.query = _query(f"{field}{dot}{part}" for field, dot, part in pairs)
        self.have_come = not self._parts

    def note_page(self, query: str, members: Sequence[Member]) -> bool:
        """Returns whether a page that was requested by `query` is complete; if not, `query` is another from now on."""
        if query == self._whole or not members:
            return True
        if all(_have_parts(members, field, parts) for field, parts in self._parts.items()):
            self.have_come = True
            return True
        self.use_whole()
        return False

    def use_whole(self) -> None:
        self.query = self._whole


def default_fields() -> MemberFields:
    """Returns all fields that `Member` holds, of some only the parts in `PARTS_USED`."""
    names = ((name, PARTS_USED.get(name)) for name in Member.__struct_fields__)
    return MemberFields(
        dotted for name, parts in names for dotted in ([name] if parts is None else [f"{name}.{p}" for p in parts])
    )


def _query(names: Iterable[str]) -> str:
    return ",".join([*(f"members.{name}" for name in names), "total_items"])


def _have_parts(members: Sequence[Member], field: str, parts: Sequence[str]) -> bool:
    """Says whether a member has one of the parts, or all may well have none: nobody has tags, by their count."""
    if field == "tags" and all(member.tags_count == 0 for member in members):
        return True
    return any(_has_part(getattr(member, field), parts) for member in members)


def _has_part(value: Any, parts: Sequence[str]) -> bool:
    if isinstance(value, list):
        return any(_has_part(item, parts) for item in value)
    return isinstance(value, dict) and not value.keys().isdisjoint(parts)
