"""The limit of open connections to one Mailchimp account (fact mailchimp-connections)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mcimport.errors import InterruptedRunError, ThrottledError
from mcimport.services.http.shutdown import StopSignal

CALM = 40  # answered requests after which one more connection is tried


class ConnectionLimit:
    """Limits how many requests of one account are open at once, and lowers the limit for a while after a refusal.

    A refusal (ThrottledError) lowers it by one, many refusals of the same moment count once; after CALM answers in a
    row it rises by one again, up to `places`. So an account that other programs use as well finds its own number.
    """

    def __init__(self, places: int) -> None:
        self._most = places
        self._places = places
        self._open = 0
        self._calm = 0
        self._closed_at = 0.0
        self._change = threading.Condition()

    def set(self, places: int) -> None:
        """Changes the limit; requests that are open stay so."""
        with self._change:
            if places != self._most:
                self._most = self._places = places
                self._change.notify_all()

    @contextmanager
    def slot(self, stop: StopSignal) -> Iterator[None]:
        """Holds one connection, and waits for it before. Raises InterruptedRunError once `stop` is aborted."""
        with self._change:
            while self._open >= self._places:
                if stop.aborted.is_set():
                    raise InterruptedRunError("stopped")
                self._change.wait(0.25)
            self._open += 1
            entered = time.monotonic()
        try:
            yield
        except ThrottledError:
            self._refused(entered)
            raise
        else:
            self._served()
        finally:
            with self._change:
                self._open -= 1
                self._change.notify()

    def _refused(self, entered: float) -> None:
        with self._change:
            self._calm = 0
            if entered >= self._closed_at:
                self._closed_at = time.monotonic()
                self._places = max(1, self._places - 1)

    def _served(self) -> None:
        with self._change:
            self._calm += 1
            if self._calm >= CALM and self._places < self._most:
                self._calm = 0
                self._places += 1
                self._change.notify()
