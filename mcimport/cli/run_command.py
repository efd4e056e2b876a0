"""Runs a command that is one call that imports or compares, until it ends or is stopped; returns the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mcimport.cli import exits
from mcimport.cli.call import Call, Output, prepare_process
from mcimport.cli.one_core import on_one_core
from mcimport.cli.output import print_error
from mcimport.cli.process import handle_signals, leave_at_once
from mcimport.config import Settings
from mcimport.errors import BusyError
from mcimport.models.results import ListResult
from mcimport.state import State
from mcimport.sync.clients import SyncSession


def run_session(
    work: Callable[[SyncSession], list[ListResult]],
    settings: Settings,
    output: Output,
    *,
    by_name: bool,
    nothing: str = "",
    note: Callable[[State], None] | None = None,
) -> int:
    """Does the work of a command that is one call, and returns the exit code.

    `by_name`: see `exits.of_result`. `nothing`, `note`: see `Call`.
    """
    process, caught = prepare_process(output), list[int]()
    call = Call(work, settings, output, process, nothing=nothing, note=note)
    with handle_signals(process.stop, process.accounts, caught), on_one_core():
        results = call.run()
    if output.quiet and by_name:
        _print_busy(results)
    signalled = exits.of_signals(caught)
    code = exits.worst(exits.of_result(result, by_name=by_name, interrupted=signalled) for result in results)
    if process.stop.aborted.is_set():
        leave_at_once(code)
    return code


def _print_busy(results: Iterable[ListResult]) -> None:
    """Prints what was asked for by name, and was not done because another process works on the client.

    A plain sync says nothing of it, for that process does the same.
    """
    for result in results:
        if isinstance(result.error, BusyError):
            print_error(result.error)
