"""Says where the configuration file and the state file were looked for, in order, and which was taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from mcimport.config import variables
from mcimport.config.places import default_db, is_quoted, searched_files
from mcimport.errors import ConfigError

NOT_LOOKED_AT = "not looked at"


class Place(Struct, frozen=True):
    """Holds an option, a variable or a path that may lead to a file, and what was found there.

    Attributes:
        taken: the file; None where this is not the place that it was taken from.
    """

    name: str
    found: str
    taken: Path | None = None


def config_places(given: Path | None, environ: Mapping[str, str], here: Path, taken: Path | None) -> Iterator[Place]:
    """Yields each place of the configuration file. `taken`: the one that is used; None: there is none."""
    yield from _named("--config", given, variables.CONFIG, environ, here, "not there")
    is_over = bool(given or environ.get(variables.CONFIG))
    for path in searched_files(here):
        is_taken = path == taken and not is_over
        found = "there, but not to be read" if _exists(path) else "not there"
        yield Place(str(path), NOT_LOOKED_AT if is_over else "taken" if is_taken else found, path if is_taken else None)
        is_over = is_over or is_taken


def db_places(given: Path | None, environ: Mapping[str, str], here: Path) -> Iterator[Place]:
    """Yields each place of the state file."""
    absent = "not there yet"
    yield from _named("--db", given, variables.DB, environ, here, absent)
    is_over = bool(given or environ.get(variables.DB))
    try:
        path = default_db()
    except ConfigError as error:
        yield Place("the user's state directory", NOT_LOOKED_AT if is_over else str(error))
    else:
        yield Place(str(path), NOT_LOOKED_AT) if is_over else Place(str(path), _taken(path, absent), path)


def _named(
    option: str, given: Path | None, variable: str, environ: Mapping[str, str], here: Path, absent: str
) -> Iterator[Place]:
    """Yields the option and the variable that may name a file; the option comes first."""
    text = environ.get(variable)
    yield _place(option, given, here, absent) if given else Place(option, "not given")
    if not text:
        yield Place(variable, "not set")
    else:
        yield Place(variable, NOT_LOOKED_AT) if given else _place(variable, Path(text), here, absent)


def _place(name: str, path: Path, here: Path, absent: str) -> Place:
    if is_quoted(str(path)):
        return Place(name, "not usable, because of what is around the path")
    whole = here / path
    return Place(name, f"{whole}: {_taken(whole, absent)}", whole)


def _taken(path: Path, absent: str) -> str:
    return "taken" if _exists(path) else f"taken, but {absent}"


def _exists(path: Path) -> bool:
    try:
        return path.is_symlink() or path.exists()
    except OSError:
        return False
