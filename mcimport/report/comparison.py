"""What a look at both sides found: in lines for a person, and as part of a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcimport.records import Comparison, Difference

_MEANINGS = {
    "missing": "on the list, not in Ometria",
    "stale": "in Ometria otherwise than they would be sent",
    "gone": "deleted from Mailchimp, opted in in Ometria",
    "opted_out": "opted out in Ometria, subscribed here; only --mend --opt-in opts them in",
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


def verdict(found: Comparison) -> str:
    """In a few words."""
    if found.left:
        return "both sides differ"
    if found.mended:
        return "mended"
    stands = f", but for {found.opted_out.count:,} opted out in Ometria" if found.opted_out.count else ""
    return f"both sides agree{stands}"


def told(title: str, found: Comparison) -> list[str]:
    """A line for what agrees, and one for each kind of difference with a few ids."""
    lines = [f"{title}: {verdict(found)}; {found.agree:,} agree"]
    lines += [_line(kind, getattr(found, kind), found) for kind in _MEANINGS if getattr(found, kind).count]
    lines += [f"  {name.replace('_', ' '):<10}  {number:,} {_ASIDE[name]}" for name, number in _asides(found)]
    if found.mended:
        lines.append(f"  {'mended':<10}  {found.mended:,} of {found.differing:,}, as seen in Ometria")
    if found.not_taken.count:
        lines.append(f"  {'not taken':<10}  {found.not_taken.count:,} did not take: {_ids(found.not_taken)}")
    if found.refusal:
        lines.append(f"  {found.refusal}")
    return lines


def document(found: Comparison) -> dict[str, Any]:
    """For programs: counts, and a few ids by kind."""
    ids = {kind: list(getattr(found, kind).ids) for kind in (*_MEANINGS, "not_taken")}
    return {**numbers(found), "fields": dict(found.fields), "ids": ids, "refusal": found.refusal or None}


def numbers(found: Comparison) -> dict[str, int]:
    """The counts alone."""
    kinds = {kind: getattr(found, kind).count for kind in _MEANINGS}
    asides = {name: getattr(found, name) for name in _ASIDE}
    return {**kinds, "agree": found.agree, "mended": found.mended, "not_taken": found.not_taken.count, **asides}


def _line(kind: str, difference: Difference, found: Comparison) -> str:
    fields = ", ".join(f"{name} {many:,}" for name, many in found.fields.items()) if kind == "stale" else ""
    what = f" ({fields})" if fields else ""
    return f"  {kind.replace('_', ' '):<10}  {difference.count:,} {_MEANINGS[kind]}{what}: {_ids(difference)}"


def _ids(difference: Difference) -> str:
    more = ", …" if difference.count > len(difference.ids) else ""
    return f"{', '.join(difference.ids)}{more}"


def _asides(found: Comparison) -> Iterator[tuple[str, int]]:
    yield from ((name, number) for name in _ASIDE if (number := getattr(found, name)))
