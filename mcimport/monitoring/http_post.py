"""Posts small messages, each within a few seconds, and reads nothing of the answer except its status."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from mcimport.services.http.environment import client
from mcimport.services.http.sockets import OpenSockets
from mcimport.version import __version__

TIMEOUT = 5.0  # seconds for one message and its whole answer


class HttpPoster:
    """Posts the messages of one call. Safe to use from many threads."""

    def __init__(self) -> None:
        self._sockets = OpenSockets()

    def post(self, url: str, **what: Any) -> int:
        """Posts a message and returns the status of the answer. `what`: `content` or `json`, as httpx has them.

        Redirects are not followed, for the address may be a secret, and so may be what is sent there. Raises
        httpx.TimeoutException when it took too long, httpx.HTTPError or httpx.InvalidURL for all else; ConfigError for
        a proxy, or certificates, that cannot be used.
        """
        sockets, copies = OpenSockets(), list[socket.socket]()

        def trace(event: str, info: Mapping[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":  # a copy, for TLS hides the original during its handshake
                copies.append(info["return_value"].get_extra_info("socket").dup())
                sockets.add(copies[-1])
                self._sockets.add(copies[-1])

        headers = {"User-Agent": f"mcimport/{__version__}"}
        try:
            with (
                _time_limit(sockets),
                client(url, timeout=TIMEOUT, headers=headers) as http,
                http.stream("POST", url, extensions={"trace": trace}, **what) as answer,
            ):
                return answer.status_code  # leaving closes the connection: the rest of the answer is not waited for
        except httpx.TransportError:
            if sockets.is_shut:
                raise httpx.ReadTimeout("took too long") from None
            raise
        finally:
            for copy in copies:
                sockets.discard(copy)
                self._sockets.discard(copy)
                copy.close()

    def cancel(self) -> None:
        """Ends the messages under way, and all that come after them: the process is about to end."""
        self._sockets.shut()


@contextmanager
def _time_limit(sockets: OpenSockets) -> Iterator[None]:
    """Shuts the sockets of a message once its time is over.

    A time-out of httpx applies to each read: an answer that comes byte by byte would never meet it.
    """
    timer = threading.Timer(TIMEOUT, sockets.shut)
    timer.daemon = True
    with suppress(RuntimeError):  # no thread can be started: then only httpx's time-outs apply
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
