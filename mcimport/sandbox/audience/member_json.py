"""Encodes members as JSON: once for each selection of fields, and again when they change."""

from __future__ import annotations

from typing import Any

import msgspec

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.field_selection import FieldSelection
from mcimport.sandbox.audience.invented_members import TAGS_LISTED, ListIdentity, invent_fields

_API = "https://us6.api.mailchimp.com/3.0"
_SCHEMAS = "https://us6.api.mailchimp.com/schema/3.0"
_CACHE_SIZE = 100_000  # encoded members kept over all selections of fields: some 100 MB

MEMBER_FIELDS = frozenset(invent_fields(ListIdentity("", 0), 0, ())) | {"contact_id", "last_note", "_links"}
_TIMES = ("timestamp_signup", "timestamp_opt", "last_changed")

# rel, method, the rest of the address, whether it answers with a member
_MEMBER_LINKS = (
    ("self", "GET", "", True),
    ("update", "PATCH", "", True),
    ("upsert", "PUT", "", True),
    ("delete", "DELETE", "", False),
    ("activity", "GET", "/activity", False),
    ("goals", "GET", "/goals", False),
    ("notes", "GET", "/notes", False),
    ("events", "POST", "/events", False),
    ("tags", "GET", "/tags", False),
    ("delete_permanent", "POST", "/actions/delete-permanent", False),
)


def link(rel: str, method: str, path: str, schema: str = "") -> dict[str, str]:
    """Returns an entry of `_links`, which the API adds to all that it returns."""
    entry = {"rel": rel, "href": f"{_API}{path}", "method": method}
    return entry | {"targetSchema": f"{_SCHEMAS}/Definitions/{schema}"} if schema else entry


def member_links(list_key: str, member_id: str) -> list[dict[str, str]]:
    """Returns a member's `_links`: about two thirds of its bytes, as in Mailchimp."""
    here = f"/lists/{list_key}/members"
    links = [link("parent", "GET", here, "Lists/Members/CollectionResponse.json")]
    for rel, method, rest, a_member in _MEMBER_LINKS:
        schema = "Lists/Members/Response.json" if a_member else f"Lists/Members/{rel.title()}/Response.json"
        entry = link(rel, method, f"{here}/{member_id}{rest}", schema)
        if a_member:
            entry["schema"] = f"{_SCHEMAS}/Definitions/Lists/Members/{method}.json"
        links.append(entry)
    return links


class MemberEncoder:
    """Encodes the members of one audience, and caches each until it changes."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self._cache: dict[str, dict[int, msgspec.Raw]] = {}
        self._cached = 0
        audience.listeners.append(self._forget)

    def encode_members(self, numbers: list[int], fields: FieldSelection) -> list[msgspec.Raw]:
        """Returns the members as they are now, without those that were deleted."""
        with self.audience.lock:
            if self._cached > _CACHE_SIZE:
                self._cache.clear()
                self._cached = 0
            cached = self._cache.setdefault(f"{fields.key} {self.audience.settings.naive_times}", {})
            there = (number for number in numbers if number in self.audience.rows)
            return [cached.get(number) or self._encode(number, fields, cached) for number in there]

    def _encode(self, number: int, fields: FieldSelection, cache: dict[int, msgspec.Raw]) -> msgspec.Raw:
        member: dict[str, Any] = self.audience.member(number)
        if isinstance(member.get("tags"), list):
            member["tags"] = member["tags"][:TAGS_LISTED]
        if self.audience.settings.naive_times:
            member |= {name: str(member[name]).partition("+")[0] for name in _TIMES if name in member}
        if fields.includes("_links"):
            member["_links"] = member_links(self.audience.list_key, str(member.get("id", "")))
        cache[number] = written = msgspec.Raw(msgspec.json.encode(fields.apply(member)))
        self._cached += 1
        return written

    def _forget(self, number: int) -> None:
        for cached in self._cache.values():
            cached.pop(number, None)
