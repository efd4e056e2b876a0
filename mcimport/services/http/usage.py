"""Counts one client's requests and the seconds they took, in all threads and in each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from mcimport.models import Usage

Wait = Literal["waited_mailchimp", "waited_ometria", "waited_limiter", "converting"]
Side = Literal["mailchimp", "ometria"]

_WAITS: Mapping[Side, Wait] = {"mailchimp": "waited_mailchimp", "ometria": "waited_ometria"}
_NAMES = Usage.__struct_fields__


class UsageMeter:
    """Counts the requests of one client and times its waits. Safe to share; seconds are summed over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untaken: dict[str, float] = dict.fromkeys(_NAMES, 0)
        self._thread = threading.local()

    def requested(self, side: Side) -> None:
        self._add(f"{side}_requests", 1)

    def throttled(self, side: Side) -> None:
        self._add(f"{side}_throttled", 1)

    def waiting(self, side: Side) -> AbstractContextManager[None]:
        """Counts the seconds that the block waits for an answer of this service."""
        return self.timed(_WAITS[side])

    @contextmanager
    def timed(self, name: Wait) -> Iterator[None]:
        """Counts the block's seconds as `name`, also when it raises, less what this thread waited for inside it."""
        began, before = time.monotonic(), self._waited()
        try:
            yield
        finally:
            self._add(name, time.monotonic() - began - (self._waited() - before))

    def retried(self, side: Side, seconds: float) -> None:
        """Counts another try of a request, and the seconds of the pause before it."""
        self._add(f"{side}_retries", 1)
        self._add(_WAITS[side], seconds)

    def add(self, costs: Usage) -> None:
        """Adds what another process spent for the same client."""
        with self._lock:
            for name in _NAMES:
                self._untaken[name] += getattr(costs, name)

    @contextmanager
    def apart(self) -> Iterator[Callable[[], dict[str, float]]]:
        """Counts what this thread does in the block neither as its own nor in all: it is for another thread to `book`.

        What is yielded returns the requests since its last call, without the waits: pages wait for several at once.
        """
        self._thread.apart = {}

        def spent() -> dict[str, float]:
            counted, self._thread.apart = self._thread.apart, {}
            return {name: amount for name, amount in counted.items() if not name.startswith("waited_")}

        try:
            yield spent
        finally:
            self._thread.apart = None

    def book(self, amounts: Mapping[str, float]) -> None:
        """Counts in this thread what others did for it; by the names of `Usage`."""
        for name, amount in amounts.items():
            self._add(name, amount)

    def drain(self) -> Usage:
        """Returns what was counted since the last call, in all threads."""
        with self._lock:
            taken, self._untaken = self._untaken, dict.fromkeys(_NAMES, 0)
        return Usage(**taken)  # type: ignore[arg-type] # whole numbers stay whole: 1 is added to them

    def of_this_thread(self) -> Usage:
        """Returns all that was counted in this thread."""
        return Usage(**getattr(self._thread, "costs", {}))

    def _waited(self) -> float:
        own: dict[str, float] = getattr(self._thread, "costs", {})
        return sum(seconds for name, seconds in own.items() if name.startswith("waited_"))

    def _add(self, name: str, amount: float) -> None:
        apart: dict[str, float] | None = getattr(self._thread, "apart", None)
        if apart is not None:
            apart[name] = apart.get(name, 0) + amount
            return
        with self._lock:
            self._untaken[name] += amount
        own: dict[str, float] = self._thread.__dict__.setdefault("costs", {})
        own[name] = own.get(name, 0) + amount
