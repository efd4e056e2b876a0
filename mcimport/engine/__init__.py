"""What processes the windows of a run: a pool of threads in this process, or Celery workers.

Both implement `Engine`, and both hand each outcome to the thread that owns the state file.
"""

from mcimport.engine.interface import Engine, RunSpec
from mcimport.engine.local import LocalEngine
from mcimport.engine.threads import run_windows

__all__ = ["Engine", "LocalEngine", "RunSpec", "run_windows"]
