"""The stop signal: what SIGTERM, Ctrl-C or a failure tells every thread that waits."""

from __future__ import annotations

import threading

LEAVE_WITHIN = 25.0  # seconds that pages in flight may take once a stop was asked for


class StopSignal:
    """Tells threads to stop. Safe to share between them.

    Attributes:
        requested: nothing new is begun, and every pause ends; pages in flight may finish.
        aborted: what is in flight is given up, too. It implies `requested`.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.aborted = threading.Event()
        self._children: list[StopSignal] = []
        self._lock = threading.Lock()

    def child(self) -> StopSignal:
        """Returns a signal that is set with this one, and that can be set alone: to stop one client, say."""
        child = StopSignal()
        with self._lock:
            self._children.append(child)
        if self.requested.is_set():
            child.request()
        if self.aborted.is_set():
            child.abort()
        return child

    def dismiss(self, child: StopSignal) -> None:
        """Forgets a child that nothing waits for any more."""
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
