"""Which engine does the work: what was asked for, else what the file says."""

from __future__ import annotations

from mcimport.config import Settings
from mcimport.engine.interface import Engine
from mcimport.engine.local import LocalEngine
from mcimport.errors.extras import require_extra


def engine_of(settings: Settings, asked: str | None = None) -> Engine:
    """Raises ConfigError, before any request, where it cannot be had. Without Celery nothing of it is loaded."""
    if (asked or settings.engine.kind) == "threads":
        return LocalEngine()
    check_extra()
    from mcimport.engine.distributed.celery_engine import RemoteEngine  # noqa: PLC0415 - an extra

    return RemoteEngine(settings.engine.broker(), settings.clients.values())


def check_extra() -> None:
    require_extra("the engine celery", "celery", "celery")
