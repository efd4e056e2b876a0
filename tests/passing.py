"""Time that passes at once, for the sandbox and the importer alike: an hour in a test takes no hour.

This process's `time.time` goes ahead, by which both tell the time; a command that is started from now on begins there.
A clock that differs from the others is another thing: see the sandbox's `clock_skew` and `edge_skew`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

_AS_A_COMMAND = """\
import runpy, sys, time
_true = time.time
time.time = lambda: _true() + {ahead}
sys.argv[0] = "mcimport"
runpy.run_module("mcimport", run_name="__main__")
"""


class _Clock:
    """`time.time`, so far ahead of the true one."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._true = time.time

    def __call__(self) -> float:
        return self._true() + self.ahead


_clock = _Clock()


def install() -> None:
    time.time = _clock


def time_passes(seconds: float) -> None:
    _clock.ahead += seconds


def reset() -> None:
    _clock.ahead = 0.0


def program(arguments: Sequence[str]) -> list[str]:
    """`mcimport ARGUMENTS`, as a shell would start it at the time that it is now."""
    if not _clock.ahead:
        return [sys.executable, "-m", "mcimport", *arguments]
    return [sys.executable, "-c", _AS_A_COMMAND.format(ahead=_clock.ahead), *arguments]
