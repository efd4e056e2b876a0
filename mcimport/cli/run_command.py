"""Runs the commands that import or compare: builds the session, calls one function, prints the results."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from mcimport.cli import exits
from mcimport.cli.after_run import AfterRun
from mcimport.cli.options import LogFormat
from mcimport.cli.output import print_error, say, set_log_format
from mcimport.cli.process_tuning import tune_process
from mcimport.cli.signals import handle_signals, leave_at_once
from mcimport.config import Client, Settings, world_readable_files
from mcimport.engine import Engine, LocalEngine
from mcimport.errors import BusyError
from mcimport.errors.machine import affordable
from mcimport.models.results import ListResult
from mcimport.report import json_line, make_reporter
from mcimport.report.event_log import EventLog, event_sink, request_line
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.request_log import EventSink
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import state_exists
from mcimport.sync.reconcile import reconcile_list
from mcimport.sync.reconcile.reconcile_list import reconcile_all
from mcimport.sync.replay import replay_all
from mcimport.sync.session import SyncSession
from mcimport.sync.sync_list import SyncOptions, sync_all

Pairs = Sequence[tuple[Client, str]]


@dataclass(frozen=True)
class Output:
    """Holds the options on output, and the engine that does the work; None: threads.

    `plain`: without a live display, because a question will be asked.
    """

    json: bool = False
    quiet: bool = False
    dry_run: bool = False
    verbose: bool = False
    log_format: LogFormat = LogFormat.TEXT
    plain: bool = False
    engine: Engine | None = None


def run_sync(settings: Settings, pairs: Pairs, options: SyncOptions, jobs: int, output: Output) -> int:
    """Syncs these lists, `jobs` clients at a time; returns the exit code."""
    if not (options.dry_run or state_exists(settings.db_path)):
        words = f"no state file at {settings.db_path}: a new one is created, and every list is imported in full."
        say(f"mcimport: {words} If there was one before, check --db and MCIMPORT_DB.")
    return _run(
        lambda session: sync_all(pairs, options, session, affordable(jobs)), settings, output, by_name=options.by_name
    )


def run_replay(settings: Settings, letter_ids: Sequence[int], output: Output) -> int:
    """Replays these dead letters, all open ones if none is given; returns the exit code."""
    nothing = "no open dead letters for the current Ometria accounts; `mcimport dlq list` shows all"
    clients = list(settings.clients.values())
    return _run(
        lambda session: replay_all(clients, letter_ids, session), settings, output, by_name=True, nothing=nothing
    )


def run_reconcile(
    settings: Settings, pairs: Pairs, options: reconcile_list.ReconcileOptions, jobs: int, output: Output
) -> int:
    """Compares these lists, `jobs` clients at a time; returns the exit code.

    0 means that both sides match, so a list that was not compared, because its client is busy, never counts as 0.
    """
    return _run(
        lambda session: reconcile_all(pairs, options, session, affordable(jobs)), settings, output, by_name=True
    )


def _run(
    work: Callable[[SyncSession], list[ListResult]],
    settings: Settings,
    output: Output,
    *,
    by_name: bool,
    nothing: str = "",
) -> int:
    """Does the work of one call and returns the exit code. `nothing`: what to say where there was nothing to do."""
    tune_process()
    stop = StopSignal()
    engine = output.engine or LocalEngine()
    log = set_log_format(output.log_format)
    accounts = ConnectionPool(stop, tell=make_event_sink(log) if output.verbose else None)
    reporting = make_reporter(
        json=output.json or output.plain,
        quiet=output.quiet,
        dry_run=output.dry_run,
        verbose=output.verbose,
        log=log,
    )
    after_run = AfterRun(settings, stop, dry_run=output.dry_run)
    after_run.start()
    if not (output.quiet or output.json):
        for words in world_readable_files(settings):
            say(f"mcimport: {words}")
    with handle_signals(stop, accounts) as caught:
        with reporting as reporter:
            clients = tuple(settings.clients.values())
            results = work(SyncSession(settings.db_path, accounts, stop, reporter, after_run.observer, engine, clients))
        _print_results(results, output, nothing=nothing, by_name=by_name)
        after_run.finish(results)
    signalled = exits.SIGTERM if caught[:1] == [signal.SIGTERM] else exits.CTRL_C
    code = exits.worst(exits.of_result(result, by_name=by_name, interrupted=signalled) for result in results)
    if stop.aborted.is_set():
        leave_at_once(code)
    return code


def _print_results(results: Sequence[ListResult], output: Output, *, nothing: str, by_name: bool) -> None:
    if not results and nothing and not (output.json or output.quiet):
        say(nothing)
    if output.json:
        with suppress(BrokenPipeError):  # a reader that is gone does not change the exit code
            for result in results:
                print(json_line(result), flush=True)  # noqa: T201 - standard output is where results go
    if output.quiet and by_name:
        # A plain sync says nothing, for the other process does the same; what was asked for by name was not done.
        for result in results:
            if isinstance(result.error, BusyError):
                print_error(result.error)


def make_event_sink(log: EventLog | None) -> EventSink:
    """Returns what writes each request: as an event of the log, or as a line for people."""
    if log is not None:
        return event_sink(log)
    return lambda event, what: say(request_line(event, what))
