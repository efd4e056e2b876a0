"""What a look at both sides found: in lines for a person, and as part of a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcimport.records import Comparison, Difference

_MEANINGS = {
    "missing": "on the list, not in Ometria",
    "stale": "in Ometria otherwise than they would be sent",
    "gone": "deleted from Mailchimp, opted in in Ometria",
    "foreign": "in the collection, under no id of ours; left alone",
}
_ASIDE = {
    "later": "changed since the last sync, and differ: the next one carries them",
    "left_out": "left out when the list was begun with --since: `mcimport sync --full` would bring them",
    "on_record": "not in Ometria, and named in a dead letter",
    "unsendable": "cannot be carried: only their consent was compared",
    "departed": "deleted from Mailchimp, and not opted in in Ometria: as it should be",
    "unclear": "could not be looked at again, so nothing is said of them",
}

_FIELDS = {"phone": "phone number", "sms": "SMS consent"}  # the others are called as they are


def verdict(found: Comparison) -> str:
    """In a few words."""
    if not found.left:
        return "mended" if found.mended else "both sides agree"
    return "both sides differ"


def told(title: str, found: Comparison) -> list[str]:
    """A line for what agrees, and one for each kind of difference with a few ids."""
    lines = [f"{title}: {verdict(found)}; {found.agree:,} agree"]
    lines += [_line(kind, getattr(found, kind), found) for kind in _MEANINGS if getattr(found, kind).count]
    lines += [f"  {name.replace('_', ' '):<10}  {number:,} {_ASIDE[name]}" for name, number in _asides(found)]
    if found.mended:
        lines.append(f"  {'mended':<10}  {found.mended:,} of {found.differing:,}")
    if found.refusal:
        lines.append(f"  {found.refusal}")
    return lines


def document(found: Comparison) -> dict[str, Any]:
    """For programs: counts, and a few ids by kind."""
    ids = {kind: list(getattr(found, kind).ids) for kind in _MEANINGS}
    return {**numbers(found), "fields": dict(found.fields), "ids": ids, "refusal": found.refusal or None}


def numbers(found: Comparison) -> dict[str, int]:
    """The counts alone."""
    kinds = {kind: getattr(found, kind).count for kind in _MEANINGS}
    asides = {name: getattr(found, name) for name in _ASIDE}
    return {**kinds, "agree": found.agree, "mended": found.mended, **asides}


def _line(kind: str, difference: Difference, found: Comparison) -> str:
    fields = (
        ", ".join(f"{_FIELDS.get(name, name)} {many:,}" for name, many in found.fields.items())
        if kind == "stale"
        else ""
    )
    more = ", …" if difference.count > len(difference.ids) else ""
    what = f" ({fields})" if fields else ""
    return f"  {kind:<10}  {difference.count:,} {_MEANINGS[kind]}{what}: {', '.join(difference.ids)}{more}"


def _asides(found: Comparison) -> Iterator[tuple[str, int]]:
    yield from ((name, number) for name in _ASIDE if (number := getattr(found, name)))
