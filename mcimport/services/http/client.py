"""One request over the wire: sent once, read within bounds, and its answer named.

`HttpClient.send` turns whatever happens on the way into the tree of `errors`; `raise_for_status` does the same for what
the server says. Retries and limits are the business of the caller (see `retry`).
"""

from __future__ import annotations

import codecs
import contextlib
import encodings.idna  # noqa: F401 - by which sockets read names: loaded late, it needs a file that may not be there
import html
import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec

from mcimport.errors import (
    FatalError,
    InterruptedRunError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceError,
    ServiceTimeoutError,
    ThrottledError,
    UnreachableError,
)
from mcimport.errors.machine import check_files_left
from mcimport.services.http.environment import transport
from mcimport.services.http.request_log import RequestLog

MAX_BODY = 64 * 1024 * 1024  # bytes; a page of 1000 whole members is some 5 MB
LONGEST_RETRY_AFTER = 600.0  # seconds; a server that asks for a day would hang the job
CONNECT_TIMEOUT = 10.0  # seconds
_PLAIN_TITLE = re.compile(r"[A-Za-z0-9 ,.'_-]{1,80}")
_EDGE_REFERENCE = re.compile(r"Reference\W{0,3}\s*#?\s*([0-9a-f]{1,12}(?:\.[0-9a-f]{1,16}){1,5})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back.

    Attributes:
        date: the server's clock (epoch seconds, UTC) from its `Date` header; None where it sent none.
        took: seconds from the moment before sending to the arrival of the headers.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    date: int | None
    took: float

    @property
    def is_json(self) -> bool:
        return "json" in self.headers.get("content-type", "")


class HttpClient:
    """Connections to one base address, kept open and shared by threads. Redirects are never followed with a key.

    Requests go to httpx's transport itself, below its `Client`: redirects, cookies and authentication are not wanted
    here, and with a `httpx.URL` put together for each request they cost as much as the sending.

    Args:
        service: "Mailchimp" or "Ometria", for messages.
        url: base address, up to and including `/3.0` or `/v2`.
        headers: sent with each request; hold the key.
        timeout: seconds for one whole answer.
        connections: sockets kept at most.
        trace: hears of each request, and says under which name it is made.
        may_send: is called right before each request; raises where this process must not speak any more.
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
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._url = httpx.URL(url)
        self._base = self._url.raw_path.decode().rstrip("/")
        self._timeouts = {
            "connect": min(CONNECT_TIMEOUT, timeout),
            "read": timeout,
            "write": timeout,
            "pool": None,
        }
        self._given = {
            "Host": self._url.netloc.decode(),
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._transport = transport(url, limits)
        self._is_accepted = False  # the key was, in the last answer that spoke of it

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> Response:
        """Raises RetriableError or a kind of it when no whole answer came; InterruptedRunError once closed.

        `on_sent` is called when the last byte of the request has left.
        """
        began, status = time.monotonic(), 0
        try:
            answer = self._answer(method, path, params, body, on_sent)
            status = answer.status
        finally:
            self.trace.request(method, self.service, path, params, status, time.monotonic() - began)
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        on_sent: Callable[[], None] | None,
    ) -> Response:
        request = httpx.Request(
            method,
            self._url,
            content=body,
            headers=self._headers(has_body=body is not None),
            extensions={
                "target": self._target(path, params),
                "timeout": self._timeouts,
                "trace": self._tracer(on_sent),
            },
        )
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
        """The answer, if it is a success; else raises what to do about it, as `raise_for_status`.

        A key that was accepted a moment ago and is not now is tried once more: single refusals in passing were seen.
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
        """Breaks the connections, under the feet of requests in flight if need be.

        Those end at once, and the last of them gives the sockets back: the number of one that is given back while a
        thread waits on it may be another socket's a moment later, and the thread would wait on that one instead.
        """
        with self._lock:
            self._closed = True
            connections = list(self._sockets)
            is_idle = not self._in_flight
        for connection in connections:
            _shut(connection)
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

    def _connected(self, connection: socket.socket) -> None:
        """One that comes to be while the others are closed is not closed with them: its request would hang."""
        with self._lock:
            self._sockets.add(connection)
            is_late = self._closed
        if is_late:
            _shut(connection)

    def _headers(self, *, has_body: bool) -> dict[str, str]:
        """Those of every request, and under which name it is made."""
        kind = {"Content-Type": "application/json"} if has_body else {}
        return {**self._given, "User-Agent": self.trace.agent, **kind}

    def _target(self, path: str, params: Mapping[str, str] | None) -> bytes:
        """What stands in the request's first line; an escaped part of the path stays as it is."""
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        return f"{self._base}/{quote(path, safe='/%')}{query}".encode()

    def _tracer(self, on_sent: Callable[[], None] | None) -> Callable[[str, Mapping[str, Any]], None]:
        """Listens to what happens below: which sockets there are, and when a request has left."""

        def trace(event: str, info: Mapping[str, Any]) -> None:
            if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
                self._connected(info["return_value"].get_extra_info("socket"))
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
            body=_in_utf8(content, response.charset_encoding),
            date=_http_date(response.headers.get("date")),
            took=took,
        )

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        """The whole body; a server that dribbles for ever, or for gigabytes, is cut off."""
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


def _shut(connection: socket.socket) -> None:
    """Whoever waits there is woken."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _in_utf8(body: bytes, charset: str | None) -> bytes:
    """Without a byte order mark, which JSON may begin with (RFC 8259); from the charset that the answer names.

    One that nobody knows, or that the body is not in, leaves the body as it is: what reads it says what is wrong.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if charset is None or charset.lower().replace("_", "-") in ("utf-8", "utf8", "us-ascii", "ascii"):
        return body
    try:
        return body.decode(charset).encode()
    except (LookupError, ValueError):
        return body


def _http_date(text: str | None) -> int | None:
    """Epoch seconds; a date without a zone is UTC, as HTTP says. None for what is none."""
    try:
        if not text:
            return None
        moment = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def raise_for_status(service: str, answer: Response) -> Response:
    """The answer, if it is a success (any 2xx); else raises the error that says what to do about it."""
    if 200 <= answer.status < 300:  # noqa: PLR2004 - the range that HTTP calls success
        return answer
    raise _named(service, answer)


def _named(service: str, answer: Response) -> ServiceError:  # noqa: PLR0911 - one line a status is the plainest table
    status = answer.status
    said = f"{service} answered {status}{_title(answer)}"
    if status in (408, 504, 524):
        return ServiceTimeoutError(said, status=status, retry_after=_retry_after(answer))
    if status == 429:  # noqa: PLR2004 - too many requests
        return ThrottledError(said, status=status, retry_after=_retry_after(answer))
    if status >= 500:  # noqa: PLR2004 - the range that HTTP calls a server error
        return RetriableError(said, status=status, retry_after=_retry_after(answer))
    if status == 403:  # noqa: PLR2004 - forbidden, or busy, or blocked
        return _forbidden(service, answer, said)
    if status == 404:  # noqa: PLR2004 - not found
        return NotFoundError(said, status=status)
    if status in (400, 413, 422):
        return RejectedError(said, status=status)
    if status == 401:  # noqa: PLR2004 - unauthorized
        return FatalError(f"{said}: it does not accept the API key", hint=_key_hint(service), status=status)
    return FatalError(said, status=status)


def _forbidden(service: str, answer: Response, said: str) -> ServiceError:
    """403 has three meanings: no right (says why), blocked at the edge (a page of HTML), too many connections (bare).

    The first from the vendors' documentation, the other two from reports of Mailchimp's users. A bare one of Ometria's
    was not reported; it may be either, so it is tried again, but not for as long as an account may be busy.
    """
    if answer.is_json:
        return FatalError(f"{said}: the API key has no right to do this", hint=_key_hint(service), status=403)
    if not answer.body.strip():
        if service == "Mailchimp":
            return ThrottledError(f"{said} without a reason: too many connections", status=403)
        return RetriableError(f"{said} without a reason", hint=_key_hint(service), status=403)
    found = _EDGE_REFERENCE.search(html.unescape(answer.body[:4096].decode("utf-8", "replace")))
    reference = f", reference {found[1]}" if found else ""
    return RetriableError(
        f"{said}: {service}'s firewall is blocking this machine's IP address{reference}",
        hint=f"The API key is not the problem. Give {service}'s support the reference, or try from another IP address.",
        status=403,
    )


def _key_hint(service: str) -> str:
    return f"Check the {service} API key: complete, still active, right account? `mcimport check` tests it."


def _title(answer: Response) -> str:
    """The title of a problem document, if it is plain words; nothing else of an answer is ever repeated."""
    if not answer.is_json:
        return ""
    try:
        title = _PROBLEM.decode(answer.body).title
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return f" ({title})" if isinstance(title, str) and _PLAIN_TITLE.fullmatch(title) else ""


class _Problem(msgspec.Struct):
    """RFC 9457, as far as it is repeated."""

    title: object = None


_PROBLEM = msgspec.json.Decoder(_Problem)  # before any thread begins: see `mailchimp`


def _retry_after(answer: Response) -> float | None:
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdecimal():
        return min(LONGEST_RETRY_AFTER, float(text))
    moment, now = _http_date(text), answer.date or int(time.time())
    return None if moment is None else min(LONGEST_RETRY_AFTER, max(0.0, float(moment - now)))
