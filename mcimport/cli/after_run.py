"""What stands around a call's work: who is told of it, and the numbers that it leaves. Nothing here can fail it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mcimport.cli.options import complain, say
from mcimport.config import Settings
from mcimport.errors import ConfigError, StateError
from mcimport.errors.machine import as_ours
from mcimport.models.results import ListResult
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import open_state, retention

if TYPE_CHECKING:  # loaded by those alone who want to be told
    from mcimport.monitoring.notify import Notifier


class AfterRun:
    """Of one call. A dry run did nothing, so there is nothing around it.

    `observer`: is told of each client; None where nobody wants to be.

    `stop`: whoever is told then is not waited for.

    Raises ConfigError, before any work, for what is wanted and cannot be had.
    """

    def __init__(self, settings: Settings, stop: StopSignal, *, dry_run: bool) -> None:
        self._settings = settings
        self._is_dry = dry_run
        self._write_metrics = (lambda: None) if dry_run else _metrics_writer(settings)
        self.observer = None if dry_run else _notifier(settings, stop)

    def after(self, results: Sequence[ListResult]) -> None:
        steps: tuple[Callable[[], None], ...] = (partial(self._close, results), self._write_metrics, self._prune)
        for step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it is, the lists are done
                complain(as_ours(error))

    def _close(self, results: Sequence[ListResult]) -> None:
        if self.observer is not None:
            for line in self.observer.close(results):
                say(f"mcimport: {line}")

    def _prune(self) -> None:
        if not self._is_dry:
            with suppress(StateError), open_state(self._settings.db_path) as state:
                retention.prune(state, self._settings.keep)


def _notifier(settings: Settings, stop: StopSignal) -> Notifier | None:
    clients = settings.clients.values()
    if not settings.healthcheck_source and not any(one.healthcheck_source or one.webhook_source for one in clients):
        return None
    from mcimport.monitoring.notify import Notifier  # noqa: PLC0415 - see above

    return Notifier(settings, stop)


def _metrics_writer(settings: Settings) -> Callable[[], None]:
    path = settings.metrics_path
    if path is None:
        return lambda: None
    if find_spec("prometheus_client") is None:
        raise ConfigError(
            "[metrics] textfile needs the metrics extra, which is not installed",
            hint="Install it with: pip install 'mcimport[metrics]'",
        )
    from mcimport.monitoring import metrics  # noqa: PLC0415 - see above

    return partial(metrics.write, settings, path)
