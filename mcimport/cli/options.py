"""Options that several commands share, and the settings that the global ones lead to."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from mcimport.config import Settings, load, variables

LARGEST_ID = 2**63 - 1  # SQLite's
NOTHING_YET = "nothing synced yet; `mcimport sync` runs the first sync"


class Options(Struct, frozen=True):
    """Holds `--config` and `--db`; None where they were not given."""

    config: Path | None = None
    db: Path | None = None


def load_settings(context: typer.Context, *, has_state: bool = True) -> Settings:
    """Loads the settings. Raises ConfigError. `has_state`: False for a command that needs no state file."""
    options = context.find_object(Options) or Options()
    return load(config=options.config, db=options.db or (None if has_state else Path("no state file")))


class LogFormat(StrEnum):
    """Names the format of standard error."""

    TEXT = "text"
    JSON = "json"
    LOGFMT = "logfmt"


CLIENTS = Annotated[list[str] | None, typer.Option("--client", metavar="NAME", help="Only this client; repeatable.")]
LOG_FORMAT = Annotated[
    LogFormat,
    typer.Option(envvar=variables.LOG_FORMAT, help="Format of standard error: text for people, or one event per line."),
]


class EngineName(StrEnum):
    """Names an engine as `[engine] kind` does."""

    THREADS = "threads"
    CELERY = "celery"


ENGINE = Annotated[
    EngineName | None,
    typer.Option(help="Where the work is done: threads of this process, or Celery workers. Default: [engine] kind."),
]
VERBOSE = Annotated[bool, typer.Option("--verbose", "-v", help="Show each request; never keys or personal data.")]
