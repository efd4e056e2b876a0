"""Sockets that can be shut all at once, under requests in flight."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref


class OpenSockets:
    """Knows the sockets of a client or of a message, and shuts them; one that is added later is shut at once.

    A socket that is shut wakes the thread that waits on it; to close it is its owner's business: the number of one
    that is closed while a thread waits on it may be another socket's a moment later, and the thread would wait on that.
    Safe to share between threads.
    """

    def __init__(self) -> None:
        self.is_shut = False
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.add(connection)
            if self.is_shut:
                _shut(connection)

    def discard(self, connection: socket.socket) -> None:
        """Forgets a socket that is about to be closed."""
        with self._lock:
            self._sockets.discard(connection)

    def shut(self) -> None:
        with self._lock:
            self.is_shut = True
            for connection in self._sockets:
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
