"""The signal to leave."""

from __future__ import annotations

import threading

LEAVE_WITHIN = 25.0  # seconds that pages in flight may take once a stop was asked for


class StopSignal:
    """A request to leave. `asked`: begin nothing new, wake every pause. `now`: give up what is under way, too.

    A follower hears what its leader hears, and may be stopped alone: one client that has to be given up.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.aborted = threading.Event()
        self._children: list[StopSignal] = []
        self._lock = threading.Lock()

    def child(self) -> StopSignal:
        child = StopSignal()
        with self._lock:
            self._children.append(child)
        if self.requested.is_set():
            child.request()
        if self.aborted.is_set():
            child.abort()
        return child

    def dismiss(self, child: StopSignal) -> None:
        with self._lock:
            self._children.remove(child)

    def request(self) -> None:
        self.requested.set()
        for child in self._all():
            child.request()

    def abort(self) -> None:
        self.requested.set()
        self.aborted.set()
        for child in self._all():
            child.abort()

    def _all(self) -> list[StopSignal]:
        with self._lock:
            return list(self._children)
