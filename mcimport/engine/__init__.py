"""What processes the windows of a run: a pool of threads in this process, or Celery workers.

Both implement `Engine`, and both hand each outcome to the thread that owns the state file.
"""

from __future__ import annotations

from mcimport.config import Settings
from mcimport.engine.interface import Engine, RunSpec
from mcimport.engine.threads import LocalEngine, run_windows
from mcimport.errors.machine import require_extra

__all__ = ["Engine", "LocalEngine", "RunSpec", "engine_of", "run_windows"]


def engine_of(settings: Settings, asked: str | None = None) -> Engine:
    """Returns the engine; `asked`: its kind, as typed. Loads Celery only where that is the engine.

    Raises ConfigError, before any request, where its extra is not installed.
    """
    if (asked or settings.engine.kind) == "threads":
        return LocalEngine()
    require_extra("the engine celery", "celery", "celery")
    from mcimport.engine.distributed.coordinator import RemoteEngine  # noqa: PLC0415 - an extra

    return RemoteEngine(settings.engine.broker(), settings.clients.values())
