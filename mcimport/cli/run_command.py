"""Runs the commands that import or compare: builds the session, does the work, prints the results, notifies."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, field

from mcimport.cli import exits
from mcimport.cli.output import print_error, say, warn_root
from mcimport.cli.process import handle_signals, leave_at_once, tune_process
from mcimport.config import Settings, world_readable_files
from mcimport.engine import Engine, LocalEngine
from mcimport.errors import BusyError, StateError
from mcimport.errors.machine import as_ours, require_extra
from mcimport.models.results import ListResult
from mcimport.report.console import make_reporter
from mcimport.report.event_log import request_line
from mcimport.report.summary import json_line
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.request_log import EventSink
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import State, open_state, retention
from mcimport.sync.clients import SyncSession

if TYPE_CHECKING:  # only loaded for a log of events, and where an address to notify is configured
    from structlog.typing import FilteringBoundLogger as EventLog

    from mcimport.monitoring.notify import Notifier


class Output(Struct, frozen=True):
    """Holds the options on output, and the engine that does the work. `log`: None for text."""

    json: bool = False
    quiet: bool = False
    dry_run: bool = False
    verbose: bool = False
    log: EventLog | None = None
    engine: Engine = field(default_factory=LocalEngine)


def run_session(
    work: Callable[[SyncSession], list[ListResult]],
    settings: Settings,
    output: Output,
    *,
    by_name: bool,
    nothing: str = "",
    note: Callable[[State], None] | None = None,
    caught: list[int] | None = None,
) -> int:
    """Does the work of one call and returns the exit code.

    `by_name`: see `exits.of_result`. `nothing`: what to say where there was nothing to do. `note`: notes something in
    the state file at the end. `caught`: gets the signals that came.
    """
    caught = [] if caught is None else caught
    tune_process()
    warn_root(settings.db_path)
    stop = StopSignal()
    accounts = ConnectionPool(stop, tell=make_event_sink(output.log) if output.verbose else None)
    reporting = make_reporter(
        json=output.json,
        quiet=output.quiet,
        dry_run=output.dry_run,
        verbose=output.verbose,
        log=output.log,
        is_stopping=stop.requested.is_set,
    )
    write_metrics = None if output.dry_run else _make_metrics_writer(settings)
    notifier = None if output.dry_run else _make_notifier(settings, stop)
    if notifier is not None:
        notifier.start()
    if not (output.quiet or output.json):
        for words in world_readable_files(settings):
            say(f"mcimport: {words}")
    with handle_signals(stop, accounts, caught):
        with reporting as reporter:
            clients = tuple(settings.clients.values())
            results = work(SyncSession(settings.db_path, accounts, stop, reporter, notifier, output.engine, clients))
        _print_results(results, output, nothing=nothing, by_name=by_name)
        if not output.dry_run:
            _finish(settings, results, notifier, write_metrics, note)
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
    """Returns what writes the events of `RequestLog`: to the log, or as lines for people."""
    if log is not None:
        return lambda event, what: log.info(event, **what)
    return lambda event, what: say(request_line(event, what))


def _finish(
    settings: Settings,
    results: Sequence[ListResult],
    notifier: Notifier | None,
    write_metrics: Callable[[], None] | None,
    note: Callable[[State], None] | None,
) -> None:
    """Does everything that follows the work; an error in one step is printed, and does not stop the next."""
    close = None if notifier is None else partial(_close, notifier, results)
    steps: tuple[Callable[[], None] | None, ...] = (close, write_metrics, partial(_tidy, settings, note))
    for step in filter(None, steps):
        try:
            step()
        except Exception as error:  # noqa: BLE001 - no error here changes what became of the lists
            print_error(as_ours(error))


def _close(notifier: Notifier, results: Sequence[ListResult]) -> None:
    for line in notifier.close(results):
        say(f"mcimport: {line}")


def _tidy(settings: Settings, note: Callable[[State], None] | None) -> None:
    with suppress(StateError), open_state(settings.db_path) as state:
        if note is not None:
            note(state)
        retention.prune(state, settings.keep)


def _make_notifier(settings: Settings, stop: StopSignal) -> Notifier | None:
    """Returns what notifies of the call and of each client; None where no address is configured."""
    of_clients = (client.healthcheck_source or client.webhook_source for client in settings.clients.values())
    if not (settings.healthcheck_source or any(of_clients)):
        return None
    from mcimport.monitoring.notify import Notifier  # noqa: PLC0415 - loads the HTTP client

    return Notifier(settings, stop)


def _make_metrics_writer(settings: Settings) -> Callable[[], None] | None:
    """Returns None where no metrics are configured. Raises ConfigError where their extra is not installed."""
    if settings.metrics_path is None:
        return None
    require_extra("[metrics] textfile", "metrics", "prometheus_client")
    from mcimport.monitoring import metrics  # noqa: PLC0415 - an extra

    return partial(metrics.write, settings, settings.metrics_path)
