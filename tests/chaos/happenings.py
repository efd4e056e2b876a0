"""What can happen to the people of a list, as values that Hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from promises import LATE
from weather import MOST_PEOPLE

from mcimport.sandbox.audience import Audience
from mcimport.sandbox.people import ABSENT
from mcimport.sandbox.server import Sandbox


@dataclass(frozen=True)
class Happening:
    """To `n` people. A file is imported `ago` seconds ago: its people are seen first when others are already read."""

    kind: str
    n: int = 1
    ago: int = 0


CHANGES: Mapping[str, Callable[[Audience, int], object]] = {
    "change": lambda audience, n: audience.change(n),
    "join": lambda audience, n: audience.join(n),
    "leave": lambda audience, n: audience.leave(n),
    "come back": lambda audience, n: audience.come_back(n),
    "unsubscribe": lambda audience, n: audience.unsubscribe(n),
    "subscribe": lambda audience, n: audience.subscribe(n),
    "move": lambda audience, n: audience.move_address(n),
    "delete": lambda audience, n: audience.delete(n // 4 + 1),
    "tag": lambda audience, n: audience.tag(n),
    "withdraw": lambda audience, n: audience.withdraw(n),
    "permit": lambda audience, n: audience.permit(n),
}
ODD_ONES: Mapping[str, dict[str, Any]] = {
    "no address": {"email_address": ""},
    "no usable address": {"email_address": "not an address"},
    "unknown status": {"email_address": "odd.status@example.org", "status": "paused"},
    "shouted status": {"email_address": "shouted@example.org", "status": "SUBSCRIBED"},
    "no contact id": {"email_address": "old.account@example.org", "contact_id": ABSENT},
    "null fields": {"email_address": "null.fields@example.org", "merge_fields": None},
    "far too large": {"email_address": "large@example.org", "merge_fields": {"MMERGE13": "x" * 70_000}},
}
FILE = "file"

_odd = st.builds(Happening, st.sampled_from(sorted(ODD_ONES)))
_few = st.builds(Happening, st.sampled_from(sorted(CHANGES)), st.integers(1, 3))
_many = st.builds(Happening, st.sampled_from(sorted(CHANGES)), st.integers(1, 60))
_file = st.builds(Happening, st.just(FILE), st.integers(40, 160), st.integers(0, LATE - 10))

HAPPENINGS = st.lists(_few | _odd, max_size=2) | st.lists(_many | _odd | _file, max_size=4)
"""So few that one page holds them all, or so many that it does not: these are two ways through the importer."""


def happen(what: Sequence[Happening], box: Sandbox) -> None:
    """One after another; a list that is large enough does not grow."""
    audience = box.audience()
    for one in what:
        full = len(audience.rows) >= MOST_PEOPLE
        if one.kind in CHANGES:
            CHANGES[one.kind](audience, one.n if one.kind not in {"join", "come back"} or not full else 0)
        elif one.kind in ODD_ONES:
            audience.add(**ODD_ONES[one.kind])
        elif not full:
            _import_a_file(box, one)


def _import_a_file(box: Sandbox, one: Happening) -> None:
    """Many share a second; fewer come in the second before it."""
    at = box.clock.second() - one.ago
    box.audience().crowd(one.n, at)
    box.audience().crowd(one.n // 3, at - 1)
