"""`mcimport sync`: imports lists into Ometria."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli import completion
from mcimport.cli.options import CLIENTS, ENGINE, LOG_FORMAT, VERBOSE, load_settings
from mcimport.cli.output import LogFormat, say, set_log_format
from mcimport.config import with_flags
from mcimport.config.schema import MOST_CONNECTIONS, MOST_MEMBERS
from mcimport.errors import ConfigError, McimportError, StateError
from mcimport.errors.machine import affordable
from mcimport.sync.since import parse

if TYPE_CHECKING:  # loads the HTTP client; other commands start without it
    from mcimport.models.results import ListResult
    from mcimport.sync.clients import SyncSession

DEFAULT_JOBS = 32  # a thousand clients without changes, which need two requests of 0.3 s each, then take 20 seconds


def sync(  # noqa: PLR0913 - typer reads the signature: these are the options of the command
    context: typer.Context,
    list_keys: Annotated[
        list[str] | None, typer.Argument(metavar="[LIST_KEY]...", show_default=False, autocompletion=completion.lists)
    ] = None,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Import changes since WHEN: a date, or an age in s, min, h, d, w. `now`: only later changes.",
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="INTERVAL", help="Sync again and again, this often, until stopped: 5m, 1h."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Import every member, ignoring the sync point.")] = False,
    client: CLIENTS = None,
    jobs: Annotated[int, typer.Option(min=1, help="Clients to work on at the same time.")] = DEFAULT_JOBS,
    workers: Annotated[
        int | None, typer.Option(min=1, max=MOST_CONNECTIONS, help="Parallel workers per client, at most 10.")
    ] = None,
    window: Annotated[int | None, typer.Option(min=1, max=MOST_MEMBERS, help="Members per page, at most 1000.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and convert, but push and record nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors.")] = False,
    engine: ENGINE = None,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Imports lists into Ometria: every member the first time, afterwards what changed since the sync point.

    Without LIST_KEY: all lists of all clients.
    """
    from mcimport.cli.rounds import Schedule, parse_interval, run_rounds  # noqa: PLC0415 - as below
    from mcimport.cli.run_command import Output, run_session  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.engine import engine_of  # noqa: PLC0415 - as below
    from mcimport.state import open_state, rhythm, state_exists  # noqa: PLC0415 - as above
    from mcimport.sync.sync_list import SyncOptions, sync_all  # noqa: PLC0415 - as above

    log = set_log_format(log_format)
    if full and since is not None:
        raise ConfigError("--full and --since cannot be used together")
    if every is not None and (full or since is not None or dry_run):
        raise ConfigError("--every repeats a plain sync: it cannot be used with --full, --since or --dry-run")
    sync_options = SyncOptions(None if since is None else parse(since), full=full, dry_run=dry_run)
    schedule = None if every is None else Schedule(parse_interval(every))

    is_all = not (list_keys or client or sync_options.by_name or dry_run)

    def call(caught: list[int]) -> int:
        settings = load_settings(context)
        chosen = settings.select(list_keys or [], client or [])
        pairs = [(with_flags(owner, workers=workers, window=window), key) for owner, key in chosen]
        output = Output(json, quiet, dry_run, verbose, log, engine=engine_of(settings, engine))
        if not (dry_run or state_exists(settings.db_path)):
            words = f"no state file at {settings.db_path}: a new one is created, and every list is imported in full."
            say(f"mcimport: {words} If there was one before, check --db and MCIMPORT_DB.")

        def work(session: SyncSession) -> list[ListResult]:
            results = sync_all(pairs, sync_options, session, affordable(jobs))
            if schedule is not None and is_all:  # before it is looked at which lists are overdue
                with suppress(StateError), open_state(settings.db_path) as state:
                    rhythm.note(state, schedule.pace)
            return results

        forget = rhythm.forget if is_all and schedule is None else None
        return run_session(work, settings, output, by_name=sync_options.by_name, note=forget, caught=caught)

    if schedule is None:
        return call([])
    code = run_rounds(schedule, call)
    if is_all:  # whoever stops the rounds knows that no other will come
        with suppress(McimportError), open_state(load_settings(context).db_path, create=False) as state:
            rhythm.forget(state, is_over=True)
    return code
