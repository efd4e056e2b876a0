"""Exit codes: what each means, and which one a call with several lists ends with."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence

from mcimport.errors import BusyError, ConfigError, InterruptedRunError, McimportError
from mcimport.models.results import ListResult

OK, FAILED, USAGE, DEAD_LETTERS, BUSY, CTRL_C, SIGTERM = 0, 1, 2, 3, 4, 130, 143
MEANINGS = {
    "0": "all imported, or nothing to do, or another mcimport is already running for the client (plain `sync`)",
    "1": "a run failed; its sync point did not move, and the next run resumes it",
    "2": "wrong usage or configuration, reported before any request, unless it took one to find out",
    "3": "finished with dead letters: new ones, or older ones that were retried and failed again; `reconcile`: both "
    "sides differ; `status`: a list needs attention, or there is no state file",
    "4": "another mcimport is running for the client, and what was asked for by name (`--full`, `--since`, a replay, "
    "`reconcile`, `probe`, `forget`, `keys accept`) was not done",
    "130, 143": "stopped by Ctrl-C or SIGTERM; the next run resumes the rest",
}
_WORST_FIRST = (CTRL_C, SIGTERM, FAILED, USAGE, BUSY, DEAD_LETTERS, OK)


def of_error(error: McimportError, *, interrupted: int = CTRL_C) -> int:
    """Returns the exit code for an error. `interrupted`: the code of the signal that requested the stop."""
    if isinstance(error, InterruptedRunError):
        return interrupted
    if isinstance(error, ConfigError):
        return USAGE
    return BUSY if isinstance(error, BusyError) else FAILED


def of_result(result: ListResult, *, by_name: bool, interrupted: int = CTRL_C) -> int:
    """Returns the exit code for one list.

    `by_name`: the work was asked for by name (`--full`, `--since`, a replay), so a busy client means that it was not
    done; a plain sync of a busy client succeeds, for the other process does the same work.
    """
    if result.error is None:
        is_differing = result.comparison is not None and result.comparison.left
        return DEAD_LETTERS if result.dead_letters or is_differing else OK
    code = of_error(result.error, interrupted=interrupted)
    return OK if code == BUSY and not by_name else code


def of_signals(caught: Sequence[int]) -> int:
    """Returns the exit code for the first of the signals; that of Ctrl-C where there is none."""
    return SIGTERM if caught[:1] in ([signal.SIGTERM], [signal.SIGHUP]) else CTRL_C


def worst(codes: Iterable[int]) -> int:
    """Returns the first that occurs of: stopped, failed, usage, busy, dead letters, OK."""
    present = set(codes)
    return next((code for code in _WORST_FIRST if code in present), OK)
