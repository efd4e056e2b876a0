"""Whose turn it is in the rounds of a process: so many clients at a time, and each client in one round at most."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mcimport.config import Client
from mcimport.errors import StateError
from mcimport.state import lists, open_state


def never_synced(pairs: Iterable[tuple[Client, str]], db_path: Path) -> set[str]:
    """Returns the names of the clients of whose lists one has no sync point yet; all where there is no state file."""
    synced: set[tuple[str, str]] = set()
    with suppress(StateError), open_state(db_path, create=False) as state:
        synced = lists.synced(state)
    return {client.name for client, key in pairs if (client.name, key) not in synced}


class Turns:
    """Gives turns to the clients of all rounds, which may overlap. Safe to share between threads.

    First syncs have half of the turns at most: they may take hours, and the other half is for the rest. (Half of the
    default are as many as one core feeds at Ometria's full speed.)

    Args:
        jobs: clients that may work at the same time, whatever their rounds; with 1, all wait for a first sync.
    """

    def __init__(self, jobs: int) -> None:
        self._all = threading.Semaphore(jobs)
        self._firsts = threading.Semaphore(max(1, jobs // 2))
        self._round_of: dict[str, RoundTurns] = {}
        self._lock = threading.Lock()

    def begin_round(self, names: Iterable[str], firsts: Collection[str] = ()) -> RoundTurns:
        """Begins a round of those clients that no earlier round still has. `firsts`: for whom a first sync is due."""
        with self._lock:
            free = [name for name in names if name not in self._round_of]
            turns = RoundTurns(self, free, firsts)
            self._round_of.update(dict.fromkeys(free, turns))
        return turns

    def release(self, name: str, turns: RoundTurns) -> None:
        """Leaves the client to the next round, if this one still has it."""
        with self._lock:
            if self._round_of.get(name) is turns:
                del self._round_of[name]

    @contextmanager
    def turn(self, *, is_first: bool) -> Iterator[None]:
        """Waits for a turn, and has it for the block."""
        with ExitStack() as held:
            if is_first:
                held.enter_context(self._firsts)
            held.enter_context(self._all)
            yield


class RoundTurns:
    """Has the clients of one round until each of them has had its turn, or the round ends.

    Attributes:
        names: the clients that this round has begun with: those that no earlier one had.
    """

    def __init__(self, turns: Turns, names: Collection[str], firsts: Collection[str]) -> None:
        self.names = names
        self._turns = turns
        self._firsts = firsts

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Waits for the client's turn; at its end, the next round may begin the client again."""
        try:
            with self._turns.turn(is_first=name in self._firsts):
                yield
        finally:
            self._turns.release(name, self)

    def end(self) -> None:
        """Gives back whom the round never came to."""
        for name in self.names:
            self._turns.release(name, self)
