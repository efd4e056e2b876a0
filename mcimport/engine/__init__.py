"""Where the windows of a run are worked off: in a pool of threads here, or by workers elsewhere.

Both stand behind `Engine`, and both hand each outcome to the thread that owns the state file.
"""

from mcimport.engine.interface import Engine, RunSpec
from mcimport.engine.local import LocalEngine
from mcimport.engine.threads import run_windows

__all__ = ["Engine", "LocalEngine", "RunSpec", "run_windows"]
