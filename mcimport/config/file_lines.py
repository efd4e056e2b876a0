"""Finds the line of each setting in a TOML file, which `tomllib` does not say, and reads a broken one all the same."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct

Path = tuple[str, ...]

_CLOSED_BY = {"[": "]", "{": "}", '"""': '"""', "'''": "'''"}  # what makes a value of several lines


class Located(Struct, frozen=True):
    """Holds what could be read of a file.

    Attributes:
        document: as `tomllib` returns it; without the lines that are no TOML, and those that repeat a setting.
        lines: by the path of a table or setting, the line where it is first named, from 1.
    """

    document: Mapping[str, Any]
    lines: Mapping[Path, int]


def locate(text: str) -> Located:
    """Reads the file, statement by statement, as far as it is TOML."""
    document: dict[str, Any] = {}
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, statement, is_header in _statements(text):
        if is_header:
            table = _header(statement)
        nested = statement if is_header else _nest(table, statement)
        for path in _paths(nested):
            lines.setdefault(path, number)
        _merge(document, nested)
    return Located(document, lines)


def _statements(text: str) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """Yields each statement that can be read, with its first line, and whether it is the header of a table."""
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        end, statement = _statement(lines, at)
        if statement:
            yield at + 1, statement, lines[at].lstrip().startswith("[")
        at = end


def _statement(lines: list[str], start: int) -> tuple[int, dict[str, Any] | None]:
    """Returns what begins in this line, and the line after it; nothing of a line in which no statement begins."""
    closing = [closes for opens, closes in _CLOSED_BY.items() if opens in lines[start]]
    for end in range(start + 1, len(lines) + 1 if closing else start + 2):
        if end == start + 1 or any(sign in lines[end - 1] for sign in closing):
            with suppress(ValueError, RecursionError):
                return end, tomllib.loads("\n".join(lines[start:end]))
    return start + 1, None


def _header(statement: Mapping[str, Any]) -> Path:
    """Returns the path of a header's table; of an array of tables, which no setting is, the path to it."""
    path: Path = ()
    inner: Any = statement
    while isinstance(inner, dict) and inner:
        ((name, inner),) = inner.items()
        path += (name,)
    return path


def _nest(table: Path, statement: dict[str, Any]) -> dict[str, Any]:
    for name in reversed(table):
        statement = {name: statement}
    return statement


def _paths(tables: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    for name, value in tables.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from _paths(value, (*above, name))


def _merge(document: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Adds what is not there yet."""
    for name, value in more.items():
        known = document.setdefault(name, value)
        if known is not value and isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
