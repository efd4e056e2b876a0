"""The HTTP client: sends a request once, and reads its response within bounds of size and time.

What goes wrong on the way becomes one of mcimport's errors. Retries and limits are up to the caller (see `retry`).
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - by which sockets read names: loaded late, it needs a file that may not be there
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from mcimport.errors import FatalError, InterruptedRunError, RetriableError, ServiceTimeoutError, UnreachableError
from mcimport.errors.machine import check_files_left
from mcimport.services.http.environment import transport
from mcimport.services.http.request_log import RequestLog
from mcimport.services.http.response import Response, http_date, in_utf8
from mcimport.services.http.sockets import OpenSockets
from mcimport.services.http.status import raise_for_status

MAX_BODY = 64 * 1024 * 1024  # bytes; a page of 1000 whole members is some 5 MB
CONNECT_TIMEOUT = 10.0  # seconds


class HttpClient:
    """Sends requests to one base address over connections that threads share. Never follows a redirect with the key.

    Requests go to httpx's transport itself, below its `Client`: redirects, cookies and authentication are not wanted
    here, and with a `httpx.URL` put together for each request they cost as much as the sending.

    Args:
        service: "Mailchimp" or "Ometria", for messages.
        url: base address, up to and including `/3.0` or `/v2`.
        headers: sent with each request; hold the key.
        timeout: seconds for one whole answer.
        connections: sockets kept at most.
        trace: logs each request, and has its User-Agent.
        may_send: is called right before each request; raises where this process may not send any more.
    """

    def __init__(
        self,
        service: str,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: float = 120,
        connections: int = 10,
        trace: RequestLog | None = None,
        may_send: Callable[[], None] = lambda: None,
    ) -> None:
        self.service = service
        self._may_send = may_send
        self.trace = trace or RequestLog("")
        self._timeout = timeout
        self._closed = False
        self._in_flight = 0
        self._lock = threading.Lock()
        self._sockets = OpenSockets()
        self._url = httpx.URL(url)
        self._base = self._url.raw_path.decode().rstrip("/")
        self._timeouts = {"connect": min(CONNECT_TIMEOUT, timeout), "read": timeout, "write": timeout, "pool": None}
        self._given = {
            "Host": self._url.netloc.decode(),
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._transport = transport(url, limits)
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
        headers = {**self._given, "User-Agent": self.trace.agent}
        if body is not None:
            headers["Content-Type"] = "application/json"
        target, tracer = self._target(path, params), self._tracer(on_sent)
        extensions = {"target": target, "timeout": self._timeouts, "trace": tracer}
        request = httpx.Request(method, self._url, content=body, headers=headers, extensions=extensions)
        began, status = time.monotonic(), 0
        try:
            answer = self._answer(request)
            status = answer.status
        finally:
            self.trace.request(method, self.service, path, params, status, time.monotonic() - began)
        return answer

    def _answer(self, request: httpx.Request) -> Response:
        """Sends a request, and turns what goes wrong on the way into one of mcimport's errors."""
        try:
            with self._in_flight_request():
                return self._send(request)
        except httpx.ConnectTimeout:
            check_files_left()
            raise UnreachableError(f"{self.service} does not answer") from None
        except httpx.TimeoutException:
            raise ServiceTimeoutError(f"{self.service} took too long to answer") from None
        except httpx.ConnectError as error:
            check_files_left()
            if isinstance(_first_cause(error), ssl.SSLCertVerificationError):
                raise UnreachableError(
                    f"this machine does not trust {self.service}'s TLS certificate",
                    hint="Is there a proxy in between? Set SSL_CERT_FILE to the file with its certificate.",
                ) from None
            raise UnreachableError(
                f"{self.service} cannot be reached", hint="Is the network up, and is the address right?"
            ) from None
        except httpx.HTTPError as error:
            self._if_closed()
            check_files_left()
            raise RetriableError(f"the connection to {self.service} was lost ({type(error).__name__})") from None
        except RuntimeError:
            self._if_closed()
            raise

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
        """Shuts the connections, also under requests in flight: those end at once, and the last of them closes them."""
        with self._lock:
            self._closed = True
            is_idle = not self._in_flight
        self._sockets.shut()
        if is_idle:
            self._transport.close()

    @contextlib.contextmanager
    def _in_flight_request(self) -> Iterator[None]:
        with self._lock:
            self._if_closed()
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
                is_last = self._closed and not self._in_flight
            if is_last:
                self._transport.close()

    def _target(self, path: str, params: Mapping[str, str] | None) -> bytes:
        """Returns the target of the request's first line; what is escaped in the path stays as it is."""
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        return f"{self._base}/{quote(path, safe='/%')}{query}".encode()

    def _tracer(self, on_sent: Callable[[], None] | None) -> Callable[[str, Mapping[str, Any]], None]:
        """Returns the callback by which httpcore reports new sockets, and that a request has left."""

        def trace(event: str, info: Mapping[str, Any]) -> None:
            if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
                self._sockets.add(info["return_value"].get_extra_info("socket"))
            elif on_sent and event == "http11.send_request_body.complete":
                on_sent()

        return trace

    def _send(self, request: httpx.Request) -> Response:
        self._may_send()
        begun = time.monotonic()
        response = self._transport.handle_request(request)
        took = time.monotonic() - begun
        try:
            content = self._read(response, begun + self._timeout)
        finally:
            response.close()
        return Response(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=in_utf8(content, response.charset_encoding),
            date=http_date(response.headers.get("date")),
            took=took,
        )

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        """Returns the whole body. Raises RetriableError for one that is too large, or not complete by `deadline`."""
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise RetriableError(f"{self.service} sent more than {MAX_BODY // 2**20} MB in one response")
            if time.monotonic() > deadline:
                raise ServiceTimeoutError(f"{self.service} took too long to answer")
        return b"".join(parts)

    def _if_closed(self) -> None:
        if self._closed:
            raise InterruptedRunError("stopped") from None


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
