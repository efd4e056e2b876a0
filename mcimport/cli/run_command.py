"""Commands that work: signals set up, one function called, results printed, the exit code found."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from mcimport.cli import exits
from mcimport.cli.after_run import AfterRun
from mcimport.cli.options import LogFormat, complain, say, speak
from mcimport.config import Client, Settings, world_readable_files
from mcimport.engine import Engine, LocalEngine
from mcimport.errors import BusyError
from mcimport.errors.machine import affordable, raise_file_limit
from mcimport.models.results import ListResult
from mcimport.report import json_line, make_reporter
from mcimport.report.event_log import EventLog, event_sink, request_line
from mcimport.services.connections import ConnectionPool
from mcimport.services.http import shutdown
from mcimport.services.http.request_log import EventSink
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import state_exists
from mcimport.sync.reconcile import reconcile_list
from mcimport.sync.reconcile.reconcile_list import reconcile_all
from mcimport.sync.replay import replay_all
from mcimport.sync.session import SyncSession
from mcimport.sync.sync_list import SyncOptions, sync_all

_M_ARENA_MAX = -8  # glibc's malloc.h
GARBAGE = 5_000  # objects made and not yet dropped before cycles are sought; a page is some 10,000, and has none
SWITCH = 0.001  # seconds; at Python's own 0.005 a worker that only sends waits so long for one that converts, each time

Pairs = Sequence[tuple[Client, str]]


@dataclass(frozen=True)
class Output:
    """How much is said, and in which language, and which engine does the work.

    `plain`: without a live display, for somebody will be asked.
    """

    json: bool = False
    quiet: bool = False
    dry_run: bool = False
    verbose: bool = False
    log_format: LogFormat = LogFormat.TEXT
    plain: bool = False
    engine: Engine | None = None


def run_sync(settings: Settings, pairs: Pairs, options: SyncOptions, jobs: int, output: Output) -> int:
    """Returns the exit code."""
    if not (options.dry_run or state_exists(settings.db_path)):
        words = f"no state file at {settings.db_path}: a new one is created, and every list is imported in full."
        say(f"mcimport: {words} If there was one before, check --db and MCIMPORT_DB.")
    return _run(
        lambda session: sync_all(pairs, options, session, affordable(jobs)), settings, output, by_name=options.by_name
    )


def run_replay(settings: Settings, letter_ids: Sequence[int], output: Output) -> int:
    """Returns the exit code."""
    nothing = "no open dead letters for the current Ometria accounts; `mcimport dlq list` shows all"
    clients = list(settings.clients.values())
    return _run(
        lambda session: replay_all(clients, letter_ids, session), settings, output, by_name=True, nothing=nothing
    )


def run_reconcile(
    settings: Settings, pairs: Pairs, options: reconcile_list.ReconcileOptions, jobs: int, output: Output
) -> int:
    """Returns the exit code. 0 says that both sides agree, so a list that was not compared is never 0."""
    return _run(
        lambda session: reconcile_all(pairs, options, session, affordable(jobs)), settings, output, by_name=True
    )


def _run(
    work: Callable[[SyncSession], list[ListResult]],
    settings: Settings,
    output: Output,
    *,
    by_name: bool,
    nothing: str = "",
) -> int:
    """`nothing`: what to say where there was no list to work on."""
    prepared()
    stop = StopSignal()
    engine = output.engine or LocalEngine()
    log = speak(output.log_format)
    accounts = ConnectionPool(stop, tell=writer(log) if output.verbose else None)
    telling = make_reporter(
        json=output.json or output.plain,
        quiet=output.quiet,
        dry_run=output.dry_run,
        verbose=output.verbose,
        log=log,
    )
    after_run = AfterRun(settings, stop, dry_run=output.dry_run)
    if not (output.quiet or output.json):
        for words in world_readable_files(settings):
            say(f"mcimport: {words}")
    with _signals(stop, accounts) as caught:
        with telling as listener:
            clients = tuple(settings.clients.values())
            results = work(SyncSession(settings.db_path, accounts, stop, listener, after_run.observer, engine, clients))
        _print(results, output, nothing=nothing, by_name=by_name)
        after_run.after(results)
    signalled = exits.SIGTERM if caught[:1] == [signal.SIGTERM] else exits.CTRL_C
    code = exits.worst(exits.of_result(result, by_name=by_name, interrupted=signalled) for result in results)
    if stop.aborted.is_set():
        _leave_at_once(code)
    return code


def _print(results: Sequence[ListResult], output: Output, *, nothing: str, by_name: bool) -> None:
    if not results and nothing and not (output.json or output.quiet):
        say(nothing)
    if output.json:
        with suppress(BrokenPipeError):  # a reader that has left does not change what came of the lists
            for result in results:
                print(json_line(result), flush=True)  # noqa: T201 - standard output is where results go
    if output.quiet and by_name:
        # A plain sync that finds a client taken is no event; something asked for and not done is.
        for result in results:
            if isinstance(result.error, BusyError):
                complain(result.error)


def prepared() -> None:
    """What suits a process in which many threads work; before the first of them."""
    raise_file_limit()
    _share_memory()
    _tidy_rarely()
    sys.setswitchinterval(SWITCH)


def writer(log: EventLog | None) -> EventSink:
    """Requests as events, or as lines for a person."""
    if log is not None:
        return event_sink(log)
    return lambda event, what: say(request_line(event, what))


def _share_memory() -> None:
    """Before the first thread: glibc gives each an arena of its own, which keeps what it was filled with at most.

    Pages come and go in every thread, so that ten workers keep 15 MB that nobody uses. Two arenas are enough for
    threads of which one runs at a time. Where the C library is another, there is nothing to tell it.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@functools.cache
def _tidy_rarely() -> None:
    """Modules and settings stay: the collector need not look through them again and again while pages come and go.

    Once a process, for what is garbage at that moment stays, too.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE, 5, 10)


@contextmanager
def _signals(stop: StopSignal, accounts: ConnectionPool) -> Iterator[list[int]]:
    """The first SIGTERM or Ctrl-C asks to leave, the second leaves now; yields the first that came.

    A handler runs in the middle of whatever the main thread does, perhaps with a lock in its hand: so it takes none
    itself, but leaves the work to a thread. Where this machine gives none, the process ends as if it was killed.
    """
    caught: list[int] = []
    is_over = threading.Event()

    def ask(number: int, _: FrameType | None) -> None:
        leave = stop.abort if caught else stop.request
        caught.append(number)
        try:
            threading.Thread(target=leave, daemon=True).start()
        except RuntimeError:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def watch() -> None:
        """Pages in flight have their time; then whatever hangs or waits is woken, wherever it is."""
        stop.requested.wait()
        if not is_over.is_set() and not stop.aborted.wait(shutdown.LEAVE_WITHIN):
            stop.abort()
        if not is_over.is_set():
            accounts.abort()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    with suppress(RuntimeError):  # no thread is to be had: whoever is asked to leave takes as long as it takes
        threading.Thread(target=watch, name="leaving", daemon=True).start()
    try:
        yield caught
    finally:
        is_over.set()
        stop.requested.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_at_once(code: int) -> None:
    """Everything is on record; threads that hang in a dead connection must not keep the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
