"""Checks the engine: its extra, its broker, and its workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcimport.config import Settings
from mcimport.errors import ConfigError, McimportError
from mcimport.errors.machine import require_extra
from mcimport.monitoring.check.finding import Finding, error_finding
from mcimport.report.format import pluralize

if TYPE_CHECKING:
    from mcimport.engine.distributed.broker import BrokerStatus


def engine(settings: Settings, *, offline: bool) -> Iterator[Finding]:
    """Yields the findings on Celery; nothing where the threads of this process do the work."""
    if settings.engine.kind != "celery":
        return
    try:
        require_extra("celery", "celery", "celery")
    except ConfigError as error:
        yield error_finding("", "engine", error)
        return
    try:
        address = settings.engine.broker()
        if offline:
            yield Finding("", "broker", "good", "address set (not tested, because of --offline)")
            return
        from mcimport.engine.distributed import broker  # noqa: PLC0415 - an extra

        yield from _findings(broker.inspect(address, settings.db_path, settings.clients))
    except McimportError as error:
        yield error_finding("", "broker", error)


def _findings(status: BrokerStatus) -> Iterator[Finding]:
    yield Finding("", "broker", "good", f"reachable: {status.words}")
    if not status.with_worker:
        yield Finding("", "workers", "bad", "no worker is running", "Start `mcimport worker` with this broker.")
    elif status.with_worker < status.queues:
        words = f"{status.queues - status.with_worker} of {status.queues} queues have no worker yet"
        yield Finding("", "workers", "note", words, "A worker that has just started takes them within seconds.")
    if status.dead:
        words = f"{pluralize(status.dead, 'message')} rejected by a worker"
        yield Finding("", "dead-letter queues", "note", words, "The next sync of their lists handles them.")
