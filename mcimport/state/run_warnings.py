"""What runs warned of, and which of their warnings are new."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from mcimport.models.records import Run
from mcimport.state.database import State

WARNED_BY = 24  # of a list's latest runs: what one of them has warned of is not said again where only news are
# What differs between two texts that say the same of one member and of several.
_VARYING = re.compile(r"\d[\d,.:T+-]*|s\b|\b(?:has|have|is|are|was|were|who|they)\b| ")


def note(state: State, run_id: int, words: Sequence[str]) -> None:
    if words:
        with state.transaction():
            state.write("UPDATE runs SET warnings = ? WHERE id = ?", [json.dumps(words, ensure_ascii=False), run_id])


def of_runs(found: Iterable[Run]) -> list[str]:
    """What these runs warned of, in their order; of texts that differ in numbers alone the first."""
    texts = (text for one in found if one.warnings for text in json.loads(one.warnings))
    return list({without_numbers(text): text for text in reversed(list(texts))}.values())[::-1]


def new(words: Sequence[str], before: Iterable[Run]) -> tuple[str, ...]:
    """Those of the words that none of these runs gave, whatever the numbers in them."""
    known = {without_numbers(text) for text in of_runs(before)}
    return tuple(text for text in words if without_numbers(text) not in known)


def without_numbers(text: str) -> str:
    """What is left of it for a comparison: texts that say the same of one member and of several are equal there."""
    return _VARYING.sub("", text)
