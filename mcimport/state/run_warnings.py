"""Stores the warnings of runs, and tells which of a list's warnings are new."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from mcimport.models.records import Run
from mcimport.state.database import State

RUNS_COMPARED = 24  # latest runs of a list: a warning of one of them is not new
# What differs between two texts that say the same about one member and about several.
_NUMBERS_AND_PLURALS = re.compile(r"\d[\d,.:T+-]*(?: (?:s|min|h|d)\b)?|s\b|\b(?:has|have|is|are|was|were|who|they)\b| ")


def record(state: State, run_id: int, warnings: Sequence[str]) -> None:
    if warnings:
        state.update("runs", run_id, warnings=json.dumps(warnings, ensure_ascii=False))


def of_runs(runs: Iterable[Run]) -> list[str]:
    """Returns the warnings of these runs in their order; of texts that differ only in numbers, the first."""
    texts = (text for run in runs if run.warnings for text in json.loads(run.warnings))
    return list({without_numbers(text): text for text in reversed(list(texts))}.values())[::-1]


def new(texts: Iterable[str], before: Iterable[str]) -> tuple[str, ...]:
    """Returns those of the texts that are not among the earlier ones; numbers in them make no difference."""
    known = {without_numbers(text) for text in before}
    return tuple(text for text in texts if without_numbers(text) not in known)


def without_numbers(text: str) -> str:
    """Returns the text without numbers and plurals, so that texts about one member and about several compare equal."""
    return _NUMBERS_AND_PLURALS.sub("", text)
