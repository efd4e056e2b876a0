"""`mcimport dlq replay`: imports the members of dead letters again."""

from __future__ import annotations

from typing import Annotated

import typer

from mcimport.cli.exits import OK
from mcimport.cli.options import (
    ENGINE,
    LARGEST_ID,
    LOG_FORMAT,
    NOTHING_YET,
    VERBOSE,
    EngineName,
    LogFormat,
    load_settings,
)
from mcimport.cli.output import say, set_log_format


def replay(
    context: typer.Context,
    letter_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=LARGEST_ID, show_default=False)
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show only errors.")] = False,
    engine: Annotated[EngineName | None, ENGINE] = None,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Imports the members and time ranges of dead letters again; without ID, all that are open."""
    from mcimport.cli.run_command import Output, run_session  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.engine import engine_of  # noqa: PLC0415 - as below
    from mcimport.state import state_exists  # noqa: PLC0415 - as below
    from mcimport.sync.replay import replay_all  # noqa: PLC0415 - as below

    log = set_log_format(log_format)
    settings = load_settings(context)
    if not letter_ids and not state_exists(settings.db_path):
        say(NOTHING_YET)
        return OK
    output = Output(json, quiet, verbose=verbose, log=log, engine=engine_of(settings, engine))
    nothing = "no open dead letters for the current Ometria accounts; `mcimport dlq list` shows all"
    clients = list(settings.clients.values())
    return run_session(
        lambda session: replay_all(clients, letter_ids or [], session), settings, output, by_name=True, nothing=nothing
    )
