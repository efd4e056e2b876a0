"""`mcimport sync`: imports lists into Ometria."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec.structs import replace

from mcimport.cli.options import CLIENTS, ENGINE, LIST_KEYS, LOG_FORMAT, VERBOSE, load_settings
from mcimport.cli.output import LogFormat, say, set_log_format
from mcimport.config import Client, Settings, with_flags
from mcimport.config.schema import MOST_CONNECTIONS, MOST_MEMBERS
from mcimport.errors import ConfigError
from mcimport.errors.machine import affordable
from mcimport.errors.ownership import file_owner_for_root
from mcimport.sync.since import parse, read_as

DEFAULT_JOBS = 32  # a thousand clients without changes, which need two requests of 0.3 s each, then take 20 seconds


def sync(  # noqa: PLR0913 - typer reads the signature: these are the options of the command
    context: typer.Context,
    list_keys: LIST_KEYS = None,
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
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Clients to work on at the same time.")] = DEFAULT_JOBS,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MOST_CONNECTIONS, help="Parallel workers per client, at most 10."),
    ] = None,
    window: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MOST_MEMBERS, help="Members per page, at most 1000.")
    ] = None,
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
    from mcimport.cli.call import Output  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.cli.run_command import run_session  # noqa: PLC0415 - as above
    from mcimport.cli.schedule import Schedule, parse_interval  # noqa: PLC0415 - as above
    from mcimport.engine import engine_of  # noqa: PLC0415 - as above
    from mcimport.state import rhythm, state_exists  # noqa: PLC0415 - as above
    from mcimport.sync.sync_list import SyncOptions, sync_all  # noqa: PLC0415 - as above

    log = set_log_format(log_format)
    if full and since is not None:
        raise ConfigError("--full and --since cannot be used together")
    if every is not None and (full or since is not None or dry_run):
        raise ConfigError("--every repeats a plain sync: it cannot be used with --full, --since or --dry-run")
    begin = None if since is None else parse(since)
    if since is not None and not (json or quiet) and (words := read_as(since, begin)):
        say(words)
    sync_options = SyncOptions(begin, full=full, dry_run=dry_run)
    schedule = None if every is None else Schedule(parse_interval(every))
    is_all = not (list_keys or client or sync_options.by_name or dry_run)
    output = Output(
        json, quiet, dry_run, verbose, log, plain=schedule is not None
    )  # rounds that overlap share a screen

    def load() -> tuple[Settings, list[tuple[Client, str]], Output]:
        settings = load_settings(context)
        chosen = settings.select(list_keys or [], client or [])
        pairs = [(with_flags(owner, workers=workers, window=window), key) for owner, key in chosen]
        with_engine = replace(output, engine=engine_of(settings, engine))
        if not (dry_run or state_exists(settings.db_path)):
            say(f"mcimport: {_new_state_file(settings)}")
        return settings, pairs, with_engine

    if schedule is not None:
        from mcimport.cli.rounds import Rounds  # noqa: PLC0415 - as above

        return Rounds(schedule, load, output, jobs, is_all=is_all).run()
    settings, pairs, output = load()
    return run_session(
        lambda session: sync_all(pairs, sync_options, session, affordable(jobs)),
        settings,
        output,
        by_name=sync_options.by_name,
        note=rhythm.forget if is_all else None,
    )


def _new_state_file(settings: Settings) -> str:
    """Returns what is said before a state file is made: by root, with settings of a user who may have one, as well."""
    words = f"no state file at {settings.db_path}: a new one is created, and every list is imported in full."
    owner = None if settings.config_path is None else file_owner_for_root(settings.config_path)
    whose = (
        "" if owner is None else f" {settings.config_path} belongs to {owner}: did you mean `runuser -u {owner} --`?"
    )
    return f"{words} If there was one before, check --db and MCIMPORT_DB.{whose}"
