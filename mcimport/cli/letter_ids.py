"""The ids of dead letters as they are typed, single ones and ranges (`3-10`), and the dead letters that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from mcimport.cli.options import LARGEST_ID
from mcimport.errors import ConfigError
from mcimport.models.records import DeadLetter
from mcimport.report.format import escape

if TYPE_CHECKING:  # other commands start without SQLite
    from mcimport.state import State

_TYPED = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")


def parse_ids(typed: Iterable[str]) -> list[range]:
    """Returns a range for each of these; that of a single id has the length 1. Raises ConfigError."""
    return [_parse(text) for text in typed]


def _parse(text: str) -> range:
    found = _TYPED.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= LARGEST_ID:
        raise ConfigError(
            f"{escape(text)} is neither the id of a dead letter nor a range of ids",
            hint="An id is a number, as in `mcimport dlq show 3`; a range goes up, as in 3-10.",
        )
    return range(first, last + 1)


def find_letters(
    state: State | None, ids: Iterable[range], *, of_ranges: Literal["open"] | None = None
) -> list[DeadLetter]:
    """Returns the dead letters with these ids, each once.

    `of_ranges`: only those with this status are taken of a range; None: all. A single id is taken whatever its status.
    Raises ConfigError for a single id that does not exist, and for a range in which there is none.
    """
    letters = [letter for wanted in ids for letter in _in_range(state, wanted, of_ranges)]
    return list({letter.id: letter for letter in letters}.values())


def _in_range(state: State | None, wanted: range, of_ranges: Literal["open"] | None) -> Sequence[DeadLetter]:
    from mcimport.state import dead_letters  # noqa: PLC0415 - other commands start without SQLite

    is_single = len(wanted) == 1
    status = None if is_single else of_ranges
    found = dead_letters.in_range(state, wanted[0], wanted[-1], status) if state else []
    if not found:
        where = f"dead letter {wanted[0]}" if is_single else f"dead letter from {wanted[0]} to {wanted[-1]}"
        what = f"{status} {where}" if status else where
        raise ConfigError(f"there is no {what}", hint="`mcimport dlq list --all` shows all.")
    return found
