"""A small message over the wire: over within seconds whatever comes back, of which only the status is read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from mcimport.services.http.environment import client
from mcimport.version import __version__

WITHIN = 5.0  # seconds for one message and its answer, however it trickles


class HttpPoster:
    """Posts for one call. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lines: set[socket.socket] = set()
        self._is_cut = False
        self._lock = threading.Lock()

    def post(self, url: str, **what: Any) -> int:
        """The status of the answer. `what`: `content` or `json`, as httpx has them.

        Redirects are not followed, for the address may be a secret, and so may be what is sent there. Raises
        httpx.TimeoutException when it took too long, httpx.HTTPError or httpx.InvalidURL for all else; ConfigError for
        a proxy, or certificates, that cannot be used.
        """
        watch = _Watch(self)
        headers = {"User-Agent": f"mcimport/{__version__}"}
        try:
            with (
                watch.within(WITHIN),
                client(url, timeout=WITHIN, headers=headers) as line,
                line.stream("POST", url, extensions={"trace": watch.trace}, **what) as answer,
            ):
                return answer.status_code  # leaving closes the connection: nobody waits for the rest of the answer
        except httpx.TransportError:
            if watch.is_over:
                raise httpx.ReadTimeout("took too long") from None
            raise

    def cancel(self) -> None:
        """Ends what is under way, and all that comes after it: somebody leaves."""
        with self._lock:
            self._is_cut = True
            for line in self._lines:
                _shut(line)

    def add(self, line: socket.socket) -> None:
        with self._lock:
            self._lines.add(line)
            if self._is_cut:
                _shut(line)

    def drop(self, line: socket.socket) -> None:
        with self._lock:
            self._lines.discard(line)
        line.close()


class _Watch:
    """Of one message. A time-out of httpx is one for each read: an answer that comes in drops would never meet it."""

    def __init__(self, mail: HttpPoster) -> None:
        self.is_over = False
        self._mail = mail
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        timer = threading.Timer(seconds, self._time_is_over)
        timer.daemon = True
        with suppress(RuntimeError):  # no thread is to be had: then the time is for each read alone
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                for line in self._lines:
                    self._mail.drop(line)
                self._lines.clear()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Told by httpx. A copy of the socket is kept, for TLS hides the first one while it greets."""
        if event == "connection.connect_tcp.complete":
            line: socket.socket = info["return_value"].get_extra_info("socket").dup()
            with self._lock:
                self._lines.append(line)
                if self.is_over:
                    _shut(line)
            self._mail.add(line)

    def _time_is_over(self) -> None:
        with self._lock:
            self.is_over = True
            for line in self._lines:
                _shut(line)


def _shut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
