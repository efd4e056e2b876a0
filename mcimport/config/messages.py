"""Turns pydantic's errors into lines for people: the place in the file and what is allowed there, never a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mcimport.config.schema import CONSENT_STATUSES, TARGET_WORDS, ClientTable, File, Shared, Table
from mcimport.errors import ConfigError

_SHOWN_PROBLEMS = 5
BARE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_NAME = 64
_CLIENT_DEPTH = 2  # ("clients", NAME)
_NAME_WORDS = (
    "a client's name has up to 64 letters, digits, dots, dashes and underscores, and starts with a letter or digit"
)
_FIELDS_OF: Mapping[str, Mapping[str, FieldInfo]] = {
    name: field.annotation.model_fields
    for name, field in File.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Table)
}

Loc = tuple[int | str, ...]


def quoted(name: str) -> str:
    """Returns a name from the file, quoted where TOML needs it; cut short where it may be an address or pasted text."""
    if BARE.fullmatch(name):
        return name
    whole = len(name) <= _LONGEST_NAME and "@" not in name and name.isprintable()
    return json.dumps(name if whole else f"{name[:3]}...", ensure_ascii=not whole)


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Returns a suggestion; empty where no known name is similar. `prefix`: what all names begin with besides."""
    names = list(known)
    near = [one for one in names if one.casefold() == name.casefold()] or get_close_matches(name, names, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def _split(loc: Loc) -> tuple[tuple[str, ...], Loc]:
    """Splits a location into the path of the table and the path within it."""
    depth = _CLIENT_DEPTH if loc[0] == "clients" and len(loc) > 1 else 0
    if len(loc) > depth and loc[depth] in (*Shared.model_fields, *(() if depth else ("metrics", "state", "engine"))):
        depth += 1
    return tuple(str(part) for part in loc[:depth]), loc[depth:]


def _format_place(table: Sequence[str], rest: Loc) -> str:
    header = f"[{'.'.join(quoted(part) for part in table)}]" if table else ""
    key = quoted(str(rest[0])) if rest and rest[0] != "[key]" else ""
    entry = f", entry {rest[1] + 1}" if len(rest) > 1 and isinstance(rest[1], int) else ""
    return " ".join(filter(None, (header, key))) + entry


def place(*loc: int | str) -> str:
    """Formats a location: `("clients", "acme", "ometria", "batch")` is `[clients.acme.ometria] batch`."""
    return _format_place(*_split(loc))


def _known_settings(table: Sequence[str]) -> Mapping[str, FieldInfo]:
    if not table:
        return File.model_fields
    if table[0] == "clients" and len(table) == _CLIENT_DEPTH:
        return ClientTable.model_fields
    return _FIELDS_OF.get(table[-1], {})


def _unknown_setting(table: Sequence[str], name: str) -> str:
    known = _known_settings(table)
    if table and table[-1] == "consent":
        return f"cannot be changed: only {', '.join(CONSENT_STATUSES)} can{did_you_mean(name, known)}"
    return f"unknown setting{did_you_mean(name, known) or _suggest_table(name)}"


def _suggest_table(name: str) -> str:
    """Suggests the table for a setting that is under another table's header, perhaps misspelt, too."""
    tables = {setting: table for table, settings in _FIELDS_OF.items() for setting in settings}
    near = get_close_matches(name, tables, n=1)
    return f"; did you mean {near[0]} in [{tables[near[0]]}]?" if near else ""


def _problem(error: ErrorDetails) -> str:
    table, rest = _split(error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_setting(table, str(rest[0]))
    if kind == "value_error":
        return str(error["ctx"]["error"])  # the message of a validator in `schema`
    if not rest:
        return "must be a table"
    if rest == ("[key]",):
        return _NAME_WORDS
    field = _known_settings(table).get(str(rest[0]))
    return f"{'is missing; it ' if kind == 'missing' else ''}must be {field.description if field else TARGET_WORDS}"


def _line(error: ErrorDetails) -> str:
    is_unknown_table = error["type"] == "extra_forbidden" and isinstance(error["input"], dict)
    where = _format_place([str(part) for part in error["loc"]], ()) if is_unknown_table else place(*error["loc"])
    return f"{where}: {_problem(error)}"


def validate(document: Mapping[str, Any]) -> File | list[str]:
    """Returns the validated file, or a line for each problem.

    It raises nothing: pydantic's exception holds the file's values, and would be chained to the one that is raised.
    """
    try:
        return File.model_validate(document)
    except ValidationError as invalid:
        return [_line(error) for error in invalid.errors(include_url=False)]


def config_error(shown_path: str, lines: Sequence[str]) -> ConfigError:
    """Returns all problems as one error, a line for each; of more than five, only the number of the rest."""
    text = [f"{shown_path}: {line}" for line in lines[:_SHOWN_PROBLEMS]]
    more = len(lines) - len(text)
    if more > 0:
        text.append(f"and {more} more")
    return ConfigError("\n".join(text), hint="`mcimport init` writes an example with every setting.")
