"""The choice of the engine: the one that was asked for, else the one that the configuration names."""

from __future__ import annotations

from mcimport.config import Settings
from mcimport.engine.interface import Engine
from mcimport.engine.local import LocalEngine
from mcimport.errors.machine import require_extra


def engine_of(settings: Settings, asked: str | None = None) -> Engine:
    """Returns the engine; `asked`: its kind, as typed. Loads Celery only where that is the engine.

    Raises ConfigError, before any request, where its extra is not installed.
    """
    if (asked or settings.engine.kind) == "threads":
        return LocalEngine()
    check_extra()
    from mcimport.engine.distributed.celery_engine import RemoteEngine  # noqa: PLC0415 - an extra

    return RemoteEngine(settings.engine.broker(), settings.clients.values())


def check_extra() -> None:
    """Raises ConfigError where Celery is not installed."""
    require_extra("the engine celery", "celery", "celery")
