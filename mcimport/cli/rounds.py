"""`--every`: round after round until SIGTERM or Ctrl-C. A client that is still in an earlier round skips the next."""

from __future__ import annotations

import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice

from mcimport.cli import exits
from mcimport.cli.call import Call, Output, prepare_process
from mcimport.cli.one_core import on_one_core
from mcimport.cli.output import print_error, say
from mcimport.cli.process import handle_signals, leave_at_once
from mcimport.cli.schedule import Schedule
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError, McimportError, StateError
from mcimport.errors.machine import affordable, as_ours
from mcimport.models.results import ListResult
from mcimport.state import open_state, rhythm
from mcimport.sync.clients import SyncSession
from mcimport.sync.sync_list import SyncOptions, sync_all
from mcimport.sync.turns import RoundTurns, Turns, never_synced

LOOK_UP = 0.25  # seconds between two looks at whether a round has ended
NAMES_SHOWN = 10

Pairs = Sequence[tuple[Client, str]]
Load = Callable[[], tuple[Settings, Pairs, Output]]
"""Reads the settings, and returns them with the lists to sync and the options on output. Raises as `load_settings`."""


class Rounds:
    """Begins each round as a call of its own, in a thread, however many clients earlier rounds still work on.

    All rounds share the limits of accounts, the number of clients at a time, and the signals.

    Args:
        is_all: the rounds are about every list in the settings, so a list that misses them is overdue.
    """

    def __init__(self, schedule: Schedule, load: Load, output: Output, jobs: int, *, is_all: bool) -> None:
        self._schedule = schedule
        self._load = load
        self._process = prepare_process(output)
        self._jobs = affordable(jobs)
        self._turns = Turns(self._jobs)
        self._is_all = is_all
        self._under_way: list[threading.Thread] = []

    def run(self) -> int:
        """Returns the exit code of the signal that ended the rounds.

        An error of a round is printed, and the next round may do better; but a ConfigError with which the first could
        not be begun is raised, for somebody sees it.
        """
        process, caught = self._process, list[int]()
        handled = handle_signals(process.stop, process.accounts, caught)
        with _signal_wait() as signal_came, handled, on_one_core():
            self._begin(is_first=True)
            while not signal_came(self._schedule.seconds_left()):
                self._begin()
            for thread in self._under_way:
                while thread.is_alive():  # a second signal is handled between two looks
                    thread.join(LOOK_UP)
        if self._is_all:
            self._forget_rhythm()
        code = exits.of_signals(caught)
        if process.stop.aborted.is_set():
            leave_at_once(code)
        return code

    def _begin(self, *, is_first: bool = False) -> None:
        """Begins a round, unless an earlier one is still at its end: a webhook that is slow must not pile them up."""
        self._under_way = [thread for thread in self._under_way if thread.is_alive()]
        if self._process.finishing.locked():
            return
        try:
            self._begin_round()
        except Exception as error:
            if is_first and isinstance(error, ConfigError):
                raise
            print_error(as_ours(error))

    def _begin_round(self) -> None:
        settings, pairs, output = self._load()
        self._process.accounts.begin_round()
        firsts = never_synced(pairs, settings.db_path)
        turns = self._turns.begin_round({client.name for client, _ in pairs}, firsts)
        try:
            free = [pair for pair in pairs if pair[0].name in turns.names]
            free.sort(key=lambda pair: pair[0].name in firsts)  # what is quick does not queue behind what is not
            if not (output.quiet or output.json):
                _say_who_skips(pairs, turns)
            work = partial(self._work, settings, free, turns)
            call = Call(work, settings, output, self._process, is_idle=not free)
            thread = threading.Thread(target=_run, args=(call, turns), name="round", daemon=True)
            thread.start()
        except BaseException:
            turns.end()
            raise
        self._under_way.append(thread)

    def _work(self, settings: Settings, pairs: Pairs, turns: RoundTurns, session: SyncSession) -> list[ListResult]:
        if self._is_all:
            with suppress(StateError), open_state(settings.db_path) as state:  # each list says what is wrong with it
                rhythm.note(state, self._schedule.interval)
        return sync_all(pairs, SyncOptions(), session, self._jobs, turns)

    def _forget_rhythm(self) -> None:
        """Whoever stops the rounds knows that no other will come, so no list is overdue for their sake."""
        with suppress(McimportError):
            settings, _, _ = self._load()
            with open_state(settings.db_path, create=False) as state:
                rhythm.forget(state, is_over=True)


@contextmanager
def _signal_wait() -> Iterator[Callable[[float], bool]]:
    """Yields a wait of so many seconds, which ends at once, and returns True, when a signal has come.

    Python writes a byte to the socket for each signal, whichever thread gets it, and also for one that came before.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)  # noqa: FBT003 - it takes no keyword
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield lambda seconds: bool(select.select([reader], [], [], seconds)[0])
        finally:
            signal.set_wakeup_fd(before)


def _run(call: Call, turns: RoundTurns) -> None:
    try:
        call.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this round alone
        print_error(as_ours(error))
    finally:
        turns.end()


def _say_who_skips(pairs: Pairs, turns: RoundTurns) -> None:
    names = [name for name in dict.fromkeys(client.name for client, _ in pairs) if name not in turns.names]
    if names:
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        shown = ", ".join(islice(names, NAMES_SHOWN))
        say(f"mcimport: still in an earlier round, so this one skips them: {shown}{more}")
