"""Options that several commands share, and the settings that the global ones lead to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from mcimport.cli import completion
from mcimport.cli.output import LogFormat, warn
from mcimport.config import Client, Settings, load, misspelt, referenced_variables, variables
from mcimport.errors import ConfigError
from mcimport.errors.ownership import owner_for_root

LARGEST_ID = 2**63 - 1  # SQLite's
LIST_HELP = "Id of a list; `mcimport lists` shows them."


class Options(Struct, frozen=True):
    """Holds `--config` and `--db`; None where they were not given."""

    config: Path | None = None
    db: Path | None = None


def this_program(options: Options, made: Path) -> str:
    """Returns how a command is begun that uses the files of this call; as root, as the user whose they are.

    `made`: a file that the command makes, or beside which it does. Files that variables name need no option.
    """
    named = (("--config", options.config, variables.CONFIG), ("--db", options.db, variables.DB))
    typed = [(name, str(path)) for name, path, variable in named if path and str(path) != os.environ.get(variable)]
    words = ["mcimport", *(f"{name} {shlex.quote(path)}" for name, path in typed)]
    owner = owner_for_root(made)
    return " ".join(words if owner is None else ["runuser", "-u", owner, "--", *words])


def sync_command(clients: Iterable[Client]) -> str:
    """Returns the command that syncs their lists; a client of the two variables alone has none until one is named."""
    return "`mcimport sync LIST_KEY`" if any(client.any_list for client in clients) else "`mcimport sync`"


def no_state_file(settings: Settings) -> str:
    """Returns what to say where the state file does not exist: before the first sync, or after a typing mistake."""
    first = f"{sync_command(settings.clients.values())} creates it and runs the first sync"
    words = f"the state file {settings.db_path} does not exist, so nothing is synced yet; {first}."
    return f"{words} If there was one before, check --db and MCIMPORT_DB."


def load_settings(context: typer.Context, *, has_state: bool = True, warns: bool = True) -> Settings:
    """Loads the settings, and warns on standard error of misspelt variables. Raises ConfigError.

    `has_state`: False for a command that needs no state file. `warns`: False for one that reports these variables
    itself; where the settings cannot be loaded, it is warned all the same, because that may be the reason.
    """
    options = context.find_object(Options) or Options()
    try:
        settings = load(config=options.config, db=options.db or (None if has_state else Path("no state file")))
    except ConfigError:
        _warn_of_misspelt(_references_of_broken(options))
        raise
    if warns:
        _warn_of_misspelt(referenced_variables(settings))
    return settings


def _references_of_broken(options: Options) -> Collection[str]:
    from mcimport.config.origins import find_origins  # noqa: PLC0415 - only where the settings cannot be loaded

    return find_origins(config=options.config, db=options.db, environ=os.environ).references


def _warn_of_misspelt(references: Collection[str]) -> None:
    for words in misspelt(os.environ, references):
        warn(words)


CLIENTS = Annotated[
    list[str] | None,
    typer.Option("--client", metavar="NAME", help="Only this client; repeatable.", autocompletion=completion.clients),
]
LIST_KEYS = Annotated[
    list[str] | None,
    typer.Argument(metavar="LIST_KEY", help=LIST_HELP, show_default=False, autocompletion=completion.lists),
]
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
