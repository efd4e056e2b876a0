"""What every command needs first: the options that stand before it, and the settings they lead to."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from mcimport.config import Settings, load
from mcimport.errors import McimportError

LARGEST_ID = 2**63 - 1  # SQLite's


@dataclass(frozen=True)
class Options:
    """`--config` and `--db`; None where they were not given."""

    config: Path | None = None
    db: Path | None = None


def settings(context: typer.Context) -> Settings:
    """Raises ConfigError, before any request."""
    options = context.find_object(Options) or Options()
    return load(config=options.config, db=options.db)


def say(text: str) -> None:
    """One line for a person, on standard error: standard output belongs to results.

    A log on a full disk, or a reader that is gone, is no reason to do less.
    """
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)  # noqa: T201 - this is the place where the program speaks


def complain(error: McimportError) -> None:
    """An error in one line or two: what is wrong, and what to do next."""
    say(f"mcimport: {error}")
    if error.hint:
        say(f"  {error.hint}")
