"""The limits of accounts, which all clients of one account share, over all rounds of a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary


class Limit(Protocol):
    """Can be set to another number while it is used."""

    def set(self, most: Any, /) -> None: ...


L = TypeVar("L", bound=Limit)


class AccountLimits(Generic[L]):
    """Holds one limit for each account. Belongs to whoever holds the lock of its `ConnectionPool`.

    A limit stays the same object as long as a client of any round uses it, and until the end of the round after the
    one in which it was used last; so rounds that overlap keep it together. Each round sets it to what the settings say
    then. Other accounts, and keys that were renewed, are forgotten.

    Args:
        make: makes a limit of so many requests.
    """

    def __init__(self, make: Callable[[Any], L]) -> None:
        self._make = make
        self._of_round: dict[str, L] = {}
        self._ended: dict[int, L] = {}  # by identity: whose clients ended in this round, and may have begun before it
        self._of_round_before: list[L] = []
        self._used: WeakValueDictionary[str, L] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._used)

    def begin_round(self) -> None:
        self._of_round_before = [*self._of_round.values(), *self._ended.values()]
        self._of_round, self._ended = {}, {}

    def note_end(self, limit: L) -> None:
        """Notes that a client has ended, which used the limit until now, in whichever round it began."""
        self._ended[id(limit)] = limit

    def get(self, account: str, most: float) -> L:
        """Returns the account's limit; of several numbers that clients of one round have for it, the first holds."""
        limit = self._of_round.get(account)
        if limit is None:
            limit = self._used.get(account)
            if limit is None:
                limit = self._used[account] = self._make(most)
            else:
                limit.set(most)
            self._of_round[account] = limit
        return limit
