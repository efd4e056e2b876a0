"""The HTTP client: sends a request once, and reads its response within bounds of size and time.

What goes wrong on the way becomes one of mcimport's errors. Retries and limits are up to the caller (see `retry`).
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - by which sockets read names: loaded late, it needs a file that may not be there
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote

import httpcore
import httpx

from mcimport.errors import FatalError, InterruptedRunError, RetriableError, ServiceTimeoutError, UnreachableError
from mcimport.errors.machine import check_files_left
from mcimport.services.http.connection import BROKEN, Connection, headers_of, unpacked
from mcimport.services.http.environment import KEPT_FOR, connector
from mcimport.services.http.request_log import RequestLog
from mcimport.services.http.response import Response, charset, http_date, in_utf8
from mcimport.services.http.sockets import OpenSockets
from mcimport.services.http.status import raise_for_status

MAX_BODY = 64 * 1024 * 1024  # bytes; a page of 1000 whole members is some 5 MB


class HttpClient:
    """Sends requests to one base address over connections that threads share. Never follows a redirect with the key.

    A thread takes the connection that was used last, or opens one: there are as many as there were requests at once.

    Args:
        service: "Mailchimp" or "Ometria", for messages.
        url: base address, up to and including `/3.0` or `/v2`.
        headers: sent with each request; hold the key.
        timeout: seconds for one whole answer.
        trace: logs each request, and has its User-Agent.
        may_send: is called right before each request; raises where this process may not send any more.
        setting: where the address is set, for messages; empty: nowhere, it is the default.

    Raises ConfigError where the environment names a proxy or certificates that cannot be used.
    """

    def __init__(
        self,
        service: str,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: float = 120,
        trace: RequestLog | None = None,
        may_send: Callable[[], None] = lambda: None,
        setting: str = "",
    ) -> None:
        self.service = service
        self._may_send = may_send
        self.trace = trace or RequestLog("")
        self._timeout = timeout
        self._closed = False
        self._lock = threading.Lock()
        self._sockets = OpenSockets()
        self._idle: list[Connection] = []
        self._make = connector(url)
        address = _address(url)
        self._base = address.raw_path.decode().rstrip("/")
        # For messages: without the path, in which a gateway may want a token.
        self.address = f"{address.scheme}://{address.netloc.decode()}"
        self._is_default = not setting
        self._named = f"{self.address} (from {setting})" if setting else self.address
        self.setting = setting or f"`url` in [{service.lower()}]"
        self._scheme, self._host, self._port = address.raw_scheme, address.raw_host, address.port
        given = {
            "Host": address.netloc.decode(),
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        self._given = [(name.encode(), value.encode()) for name, value in given.items()]
        self._is_accepted = False  # the key was, by the last response that depended on it

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> Response:
        """Sends a request and returns the response, whatever its status.

        Raises RetriableError, or a kind of it, when no whole response came; InterruptedRunError once closed.
        `on_sent` is called when the last byte of the request has left.
        """
        began, status = time.monotonic(), 0
        try:
            with self.trace.sending(self.service):
                answer = self._answer(method, self._target(path, params), body, on_sent)
            status = answer.status
        finally:
            self.trace.request(method, self.service, path, params, status, time.monotonic() - began)
        return answer

    def _answer(self, method: str, target: bytes, body: bytes | None, on_sent: Callable[[], None] | None) -> Response:
        """Sends a request, and turns what goes wrong on the way into one of mcimport's errors."""
        try:
            with self._connection() as connection:
                try:
                    return self._exchange(connection, method, target, body, on_sent)
                except BROKEN:
                    # The server may close an idle connection in the moment in which it is used again.
                    if method != "GET" or connection.is_new or connection.has_answered:
                        raise
                    return self._exchange(connection, method, target, body, on_sent)
        except httpcore.ConnectTimeout:
            check_files_left()
            raise UnreachableError(f"{self.service} does not answer", hint=self._is_right()) from None
        except httpcore.TimeoutException:
            raise ServiceTimeoutError(f"{self.service} took too long to answer") from None
        except httpcore.ConnectError as error:
            check_files_left()
            if isinstance(_first_cause(error), ssl.SSLCertVerificationError):
                raise UnreachableError(
                    f"this machine does not trust {self.service}'s TLS certificate",
                    hint="Is there a proxy in between? Set SSL_CERT_FILE to the file with its certificate.",
                ) from None
            raise self._unreachable(error) from None
        except (*BROKEN, httpcore.ProxyError, httpx.DecodingError) as error:
            self._if_closed()
            check_files_left()
            raise RetriableError(f"the connection to {self.service} was lost ({type(error).__name__})") from None
        except RuntimeError:
            self._if_closed()
            raise

    def _unreachable(self, error: BaseException) -> UnreachableError:
        """Returns why there is no connection: no host has that name, or none answers at the address."""
        cause = _first_cause(error)
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            return UnreachableError(f"{self.service}: no host is called {self._host.decode()}", hint=self._is_spelt())
        return UnreachableError(f"{self.service} cannot be reached", hint=self._is_right())

    def _is_spelt(self) -> str:
        if not self._is_default:
            return f"Is {self._named} spelt right?"
        centre = ", unless the API key ends in a wrong data centre (as -us6)" if self.service == "Mailchimp" else ""
        return f"{self.address} is the default address: this machine's network or DNS does not answer{centre}."

    def _is_right(self) -> str:
        return f"Is the network up, and is {self._named} right?"

    def not_there(self, path: str, end: str) -> FatalError:
        """Returns what a 404 means at a path that every account has: the address is wrong. `end`: its last part."""
        return FatalError(
            f"nothing answers to /{path} at {self.address} (404)", hint=f"Does {self.setting} end in {end}?", status=404
        )

    def checked(self, answer: Response) -> Response:
        """Returns a response that is a success; raises as `raise_for_status` for every other.

        A key that is refused after it was accepted is tried once more: single refusals in passing were seen.
        """
        try:
            raise_for_status(self.service, answer)
        except FatalError as error:
            if answer.status == 401 and self._is_accepted:  # noqa: PLR2004 - unauthorized
                self._is_accepted = False
                raise RetriableError(
                    f"{error}, although it was accepted before", hint=error.hint, status=answer.status
                ) from None
            raise
        self._is_accepted = True
        return answer

    def close(self) -> None:
        """Shuts the sockets, also under requests in flight: those end at once, each by its own thread."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        self._sockets.shut()
        for connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Lends a connection that nobody else uses; its thread alone closes it, and no other may take its socket."""
        with self._lock:
            self._if_closed()
            connection = self._idle.pop() if self._idle else None
        connection = connection or Connection(self._make, self._sockets)
        try:
            yield connection
        finally:
            connection.idle_since = time.monotonic()
            with self._lock:
                self._idle.append(connection)
                over = [one for one in self._idle if self._closed or one.idle_since < connection.idle_since - KEPT_FOR]
                self._idle = [one for one in self._idle if one not in over]
            for one in over:
                one.close()

    def _target(self, path: str, params: Mapping[str, str] | None) -> bytes:
        """Returns the target of the request's first line; what is escaped in the path stays as it is."""
        query = "?" + "&".join(f"{name}={_quoted(value)}" for name, value in params.items()) if params else ""
        return f"{self._base}/{quote(path, safe='/%')}{query}".encode()

    def _exchange(
        self,
        connection: Connection,
        method: str,
        target: bytes,
        body: bytes | None,
        on_sent: Callable[[], None] | None,
    ) -> Response:
        headers = [*self._given, (b"User-Agent", self.trace.agent.encode())]
        if body is not None:
            headers += [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(body)).encode())]
        url = httpcore.URL(scheme=self._scheme, host=self._host, port=self._port, target=target)
        self._may_send()
        begun = time.monotonic()
        with connection.answer(method, url, headers, body, begun + self._timeout, on_sent) as answer:
            took = time.monotonic() - begun
            found = headers_of(answer)
            content = self._read(unpacked(answer, found))
        return Response(
            status=answer.status,
            headers=found,
            body=in_utf8(content, charset(found)),
            date=http_date(found.get("date")),
            took=took,
        )

    def _read(self, parts: Iterable[bytes]) -> bytes:
        """Returns the whole body. Raises RetriableError for one that is too large."""
        found: list[bytes] = []
        size = 0
        for part in parts:
            found.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise RetriableError(f"{self.service} sent more than {MAX_BODY // 2**20} MB in one response")
        return b"".join(found)

    def _if_closed(self) -> None:
        if self._closed:
            raise InterruptedRunError("stopped") from None


_address = functools.lru_cache(maxsize=64)(httpx.URL)  # most clients have the same


@functools.lru_cache(maxsize=512)  # the names of the fields that are asked for are long, and always the same
def _quoted(value: str) -> str:
    return quote(value, safe="")


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
