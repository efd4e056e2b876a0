"""Shows what a probe found: on the screen, as JSON, and one fact explained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import Any

WIDTH = 100


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Returns evidence as words: names with blanks, and what each is."""
    return ", ".join(f"{_words(name)} {_text(value)}" for name, value in evidence.items())


def _words(name: str) -> str:
    return name.replace("_", " ") if name.islower() else name  # a constant of the API's stays as it is


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "(" + (evidence_text(value) or "none") + ")"
    if isinstance(value, list):
        return "(" + (", ".join(map(str, value)) or "none") + ")"
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def indented(text: str) -> Iterator[str]:
    yield from wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def explanation(parts: Iterable[tuple[str, str]]) -> str:
    """Returns headed paragraphs."""
    return "\n".join(
        line
        for head, text in parts
        for line in wrap(f"{head}: {text}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    )
