"""One call of a command that imports or compares: builds the session, does the work, prints the results, notifies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, field

from mcimport.cli.output import print_error, say, warn_root
from mcimport.cli.process import tune_process
from mcimport.config import Settings, world_readable_files
from mcimport.engine import Engine, LocalEngine
from mcimport.errors import StateError
from mcimport.errors.machine import as_ours, require_extra
from mcimport.models.results import ListResult
from mcimport.report.console import make_reporter
from mcimport.report.event_log import request_line
from mcimport.report.reporter import Reporter
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
    """Holds the options on output, and the engine that does the work. `log`: None for text.

    `plain`: without a live display, because several calls may go on at a time.
    """

    json: bool = False
    quiet: bool = False
    dry_run: bool = False
    verbose: bool = False
    log: EventLog | None = None
    plain: bool = False
    engine: Engine = field(default_factory=LocalEngine)


class Process(Struct, frozen=True):
    """Holds what all calls of this process share. `finishing`: held by the call that is at its end, one at a time."""

    stop: StopSignal
    accounts: ConnectionPool
    finishing: threading.Lock


def prepare_process(output: Output) -> Process:
    """Tunes this process, and makes what its calls share; to be called before its first thread starts."""
    tune_process()
    stop = StopSignal()
    tell = make_event_sink(output.log) if output.verbose else None
    return Process(stop, ConnectionPool(stop, tell=tell), threading.Lock())


class Call:
    """Does the work of one call, prints its results, and does what follows: notifies, writes metrics, removes old runs.

    Raises ConfigError where these cannot be done.

    Args:
        nothing: what to say where there was nothing to do.
        note: notes something in the state file at the end.
        is_idle: there is no work, only what follows; no health check is notified.
    """

    def __init__(
        self,
        work: Callable[[SyncSession], list[ListResult]],
        settings: Settings,
        output: Output,
        process: Process,
        *,
        nothing: str = "",
        note: Callable[[State], None] | None = None,
        is_idle: bool = False,
    ) -> None:
        warn_root(settings.db_path)
        self._work = work
        self._settings = settings
        self._output = output
        self._process = process
        self._nothing = nothing
        self._note = note
        self._is_idle = is_idle
        self._write_metrics = None if output.dry_run else _make_metrics_writer(settings)
        self._notifier = None if output.dry_run else _make_notifier(settings, process.stop)

    def run(self) -> list[ListResult]:
        """Raises whatever keeps the work from being begun; what becomes of each list is in its result."""
        output, settings, notifier = self._output, self._settings, self._notifier
        if notifier is not None and not self._is_idle:
            notifier.start()
        if not (output.quiet or output.json):
            for words in world_readable_files(settings):
                say(f"mcimport: {words}")
        reporting = make_reporter(
            json=output.json,
            in_rounds=output.plain,
            quiet=output.quiet,
            dry_run=output.dry_run,
            verbose=output.verbose,
            log=output.log,
            is_stopping=self._process.stop.requested.is_set,
        )
        with reporting as reporter:
            results = self._work(self._session(reporter))
        if not results and self._nothing and not (output.json or output.quiet):
            say(self._nothing)
        if not output.dry_run:
            with self._process.finishing:
                self._finish(results)
        return results

    def _session(self, reporter: Reporter) -> SyncSession:
        settings, process = self._settings, self._process
        clients = tuple(settings.clients.values())
        take_result = print_json_line if self._output.json else None
        return SyncSession(
            *(settings.db_path, process.accounts, process.stop, reporter, self._notifier, self._output.engine),
            clients,
            take_result,
        )

    def _finish(self, results: Sequence[ListResult]) -> None:
        """Does everything that follows the work; an error in one step is printed, and does not stop the next."""
        close = None if self._notifier is None else partial(_close, self._notifier, results)
        tidy = partial(_tidy, self._settings, self._note)
        steps: tuple[Callable[[], None] | None, ...] = (close, self._write_metrics, tidy)
        for step in filter(None, steps):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - no error here changes what became of the lists
                print_error(as_ours(error))


_printing = threading.Lock()


def print_json_line(result: ListResult) -> None:
    """Prints a result as a line of JSON; those of several clients do not mix."""
    with suppress(BrokenPipeError), _printing:  # a reader that is gone does not change the exit code
        print(json_line(result), flush=True)  # noqa: T201 - standard output is where results go


def make_event_sink(log: EventLog | None) -> EventSink:
    """Returns what writes the events of `RequestLog`: to the log, or as lines for people."""
    if log is not None:
        return lambda event, what: log.info(event, **what)
    return lambda event, what: say(request_line(event, what))


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
