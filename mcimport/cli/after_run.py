"""What follows the work of a call: notifications, metrics, and pruning of the log. Nothing here can fail the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from mcimport.cli.output import print_error, say
from mcimport.config import Settings
from mcimport.errors import StateError
from mcimport.errors.machine import as_ours, require_extra
from mcimport.models.results import ListResult
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import open_state, retention

if TYPE_CHECKING:  # only loaded where an address to notify is configured
    from mcimport.monitoring.notify import Notifier


class AfterRun:
    """Sends the notifications of one call, writes its metrics and prunes the log; does nothing after a dry run.

    Attributes:
        observer: is notified of each client; None where no address is configured.

    Args:
        stop: once a stop is requested, no notification is waited for.

    Raises ConfigError, before any work, where metrics are configured and their extra is not installed.
    """

    def __init__(self, settings: Settings, stop: StopSignal, *, dry_run: bool) -> None:
        self._settings = settings
        self._is_dry = dry_run
        self._write_metrics = (lambda: None) if dry_run else _make_metrics_writer(settings)
        self.observer = None if dry_run else _make_notifier(settings, stop)

    def start(self) -> None:
        """Notifies the health check that the call begins."""
        if self.observer is not None:
            self.observer.start()

    def finish(self, results: Sequence[ListResult]) -> None:
        """Does everything that follows the work; an error in one step is printed, and does not stop the next."""
        steps: tuple[Callable[[], None], ...] = (
            partial(self._close_notifier, results),
            self._write_metrics,
            self._prune,
        )
        for step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - no error here changes what became of the lists
                print_error(as_ours(error))

    def _close_notifier(self, results: Sequence[ListResult]) -> None:
        if self.observer is not None:
            for line in self.observer.close(results):
                say(f"mcimport: {line}")

    def _prune(self) -> None:
        if not self._is_dry:
            with suppress(StateError), open_state(self._settings.db_path) as state:
                retention.prune(state, self._settings.keep)


def _make_notifier(settings: Settings, stop: StopSignal) -> Notifier | None:
    clients = settings.clients.values()
    has_url = any(client.healthcheck_source or client.webhook_source for client in clients)
    if not (settings.healthcheck_source or has_url):
        return None
    from mcimport.monitoring.notify import Notifier  # noqa: PLC0415 - loads the HTTP client

    return Notifier(settings, stop)


def _make_metrics_writer(settings: Settings) -> Callable[[], None]:
    path = settings.metrics_path
    if path is None:
        return lambda: None
    require_extra("[metrics] textfile", "metrics", "prometheus_client")
    from mcimport.monitoring import metrics  # noqa: PLC0415 - an extra

    return partial(metrics.write, settings, path)
