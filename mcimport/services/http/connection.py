"""One connection to a service: httpcore's, which is httpx's own engine, with a deadline for each whole answer.

httpcore speaks HTTP, TLS and to proxies, and connects anew where a connection that was kept has ended. What is added
here is around its sockets: they can be shut from another thread, and no answer takes longer than its deadline, however
slowly its bytes come.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx
from msgspec import Struct

from mcimport.services.http.sockets import OpenSockets

CONNECT_TIMEOUT = 10.0  # seconds

BROKEN = (httpcore.NetworkError, httpcore.ProtocolError)
"""What is raised where a connection ended, or what came over it was no HTTP."""

MakePool = Callable[[httpcore.NetworkBackend], httpcore.ConnectionPool]
"""Makes httpcore's pool of one connection to an address, directly or by a proxy: see `environment.connector`."""


class Answer(Struct, frozen=True):
    """Holds status and headers of an answer, as they came, and its body in parts, which is received as it is read."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: Iterable[bytes]


class Connection:
    """Sends one request after another to one address. For one thread at a time.

    Attributes:
        is_new: the socket was opened for the latest request.
        has_answered: something came over it for the latest request.
        idle_since: when that was over (monotonic seconds).
    """

    def __init__(self, make: MakePool, sockets: OpenSockets) -> None:
        self.is_new = False
        self.has_answered = False
        self.deadline = 0.0
        self.idle_since = 0.0
        self._sockets = sockets
        self._pool = make(_Backend(self))

    @contextmanager
    def answer(
        self,
        method: str,
        url: httpcore.URL,
        headers: list[tuple[bytes, bytes]],
        body: bytes | None,
        deadline: float,
        on_sent: Callable[[], None] | None,
    ) -> Iterator[Answer]:
        """Sends a request and yields its answer; `deadline`: monotonic seconds by which all of it must be there.

        Raises httpcore's errors, also while the body is read.
        """
        self.is_new, self.has_answered, self.deadline = False, False, deadline
        extensions = {} if on_sent is None else {"trace": _tracer(on_sent)}
        request = httpcore.Request(method, url, headers=headers, content=body, extensions=extensions)
        response = self._pool.handle_request(request)
        try:
            yield Answer(response.status, response.headers, _parts(response))
        finally:
            response.close()

    def close(self) -> None:
        self._pool.close()

    def opened(self, stream: httpcore.NetworkStream) -> _Stream:
        """Notes a new socket, and returns the stream that keeps to the deadline."""
        self.is_new = True
        self._sockets.add(stream.get_extra_info("socket"))
        return _Stream(stream, self)

    def left(self) -> float:
        """Returns the seconds that are left. Raises ReadTimeout where there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline is over")
        return left


def _parts(response: httpcore.Response) -> Iterable[bytes]:
    assert isinstance(response.stream, Iterable)  # noqa: S101 - the other kind is that of asynchronous pools
    return response.stream


def headers_of(answer: Answer) -> dict[str, str]:
    """Returns the headers by their names in lower case; the values of several with one name, joined by commas."""
    found: dict[str, str] = {}
    for raw_name, raw_value in answer.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def unpacked(answer: Answer, headers: Mapping[str, str]) -> Iterable[bytes]:
    """Returns the body in parts, as it was before it was compressed; `headers`: with names in lower case.

    Raises httpx.DecodingError where it is no such body.
    """
    if headers.get("content-encoding", "identity") == "identity":
        return answer.body
    return httpx.Response(answer.status, headers=answer.headers, stream=_Packed(answer.body)).iter_bytes()


class _Packed(httpx.SyncByteStream):
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts


def _tracer(on_sent: Callable[[], None]) -> Callable[[str, Mapping[str, Any]], None]:
    """Returns the callback by which httpcore reports that a request has left."""

    def trace(event: str, _: Mapping[str, Any]) -> None:
        if event == "http11.send_request_body.complete":
            on_sent()

    return trace


class _Backend(httpcore.NetworkBackend):
    """Opens sockets for one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline takes its place
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        within = min(CONNECT_TIMEOUT, self._connection.left())
        stream = self._backend.connect_tcp(host, port, within, local_address, socket_options)
        return self._connection.opened(stream)


class _Stream(httpcore.NetworkStream):
    """A socket that keeps to the deadline of its connection's present request."""

    def __init__(self, stream: httpcore.NetworkStream, connection: Connection) -> None:
        self._stream = stream
        self._connection = connection

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as in `connect_tcp`
        data = self._stream.read(max_bytes, self._connection.left())
        self._connection.has_answered = self._connection.has_answered or bool(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as in `connect_tcp`
        self._stream.write(buffer, self._connection.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as in `connect_tcp`
    ) -> httpcore.NetworkStream:
        within = min(CONNECT_TIMEOUT, self._connection.left())
        return self._connection.opened(self._stream.start_tls(ssl_context, server_hostname, within))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
