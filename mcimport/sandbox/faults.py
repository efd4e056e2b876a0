"""Makes everything that can go wrong with a response, and chooses which requests get which fault."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import Callable, Iterator

from msgspec import Struct
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from mcimport.sandbox.request_log import Request, Service
from mcimport.sandbox.settings import SandboxSettings
from mcimport.sandbox.shared_state import SharedState

TRANSPORT = "mcimport.transport"
_TICK = 0.05
_HTML = "text/html; charset=utf-8"

_BLOCKED_PAGE = (
    "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1>"
    "Reference&#32;&#35;18&#46;0a0b0c0d&#46;1700000000&#46;1a2b3c4</BODY></HTML>"
)


def html(status: int, title: str) -> Response:
    """Returns an error page as proxies and edge servers write it."""
    return Response(f"<html><head><title>{title}</title></head><body>{title}</body></html>", status, media_type=_HTML)


def problem(status: int, title: str, detail: str) -> Response:
    """Returns an error as Mailchimp writes it (RFC 7807)."""
    body = {
        "type": "https://mailchimp.com/developer/marketing/docs/errors/",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "00000000-0000-4000-8000-000000000001",
    }
    return JSONResponse(body, status, media_type="application/problem+json; charset=utf-8")


def error_response(service: Service, status: int, title: str, detail: str) -> Response:
    """Returns an error as that service writes it."""
    if service == "mailchimp":
        return problem(status, title, detail)
    return JSONResponse({"status": "ERROR", "message": detail}, status)


def _status(status: int, title: str, **headers: str) -> Callable[[Service], Response]:
    def answer(service: Service) -> Response:
        response = error_response(service, status, title, "The sandbox was told to answer so.")
        response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return response

    return answer


def _too_many(service: Service) -> Response:
    return html(429, "Too Many Requests") if service == "ometria" else _status(429, "TooManyRequests")(service)


def _ok(body: str, media_type: str = "application/json") -> Callable[[Service], Response]:
    return lambda _side: Response(body, 200, media_type=media_type)


ERROR_RESPONSES: dict[str, Callable[[Service], Response]] = {
    "401": _status(401, "API Key Invalid"),
    "403": _status(403, "User action not permitted"),
    "403-bare": lambda _: Response(b"", 403),
    "403-blocked": lambda _: Response(_BLOCKED_PAGE, 403, media_type="text/html"),
    "404": _status(404, "Resource Not Found"),
    "429": _too_many,
    "429-retry-after": _status(429, "TooManyRequests", retry_after="1"),
    "500": _status(500, "Internal Server Error"),
    "502": lambda _: html(502, "Bad Gateway"),
    "503": lambda _: html(503, "Service Unavailable"),
    "504": lambda _: html(504, "Gateway Time-out"),
    "empty": _ok(""),
    "html": _ok("<html><body>We will be back soon</body></html>", _HTML),
    "error-object": _ok('{"error":"Something went wrong","code":200}'),
    "nobody": _ok('{"members":[],"total_items":0}'),
    "wrong-shape": _ok('{"members":{"0":"nobody"},"total_items":"many","accepted":null}'),
}
"""Responses instead of the real one; the service has not done what was requested."""

BROKEN_RESPONSES = ("reset-body", "truncated", "endless", "lost")
"""The service has done what was requested, but its response arrives incomplete, or not at all (`lost`)."""

NO_RESPONSE = ("reset", "silent")
"""The service has done nothing and sends nothing."""

FAULTS = (*ERROR_RESPONSES, *BROKEN_RESPONSES, *NO_RESPONSE)


def choose_fault(settings: SandboxSettings, request: Request) -> str | None:
    """Returns the name of the fault that this request gets; None for none.

    It depends on the seed, the path without its query, and how often that was requested before: the third page that is
    requested fails in every run, whichever page it is, and a retry is another draw.

    Raises LookupError for an unknown fault or service: a misspelt setting must not pass for a day without faults.
    """
    if settings.fault is not None and (named := settings.fault(request)) is not None:
        return _checked_name(named)
    facts = f"{settings.seed} {request.service} {request.method} {request.path} {request.nth}"
    draw = int.from_bytes(hashlib.blake2b(facts.encode(), digest_size=7).digest()) / (1 << 56)
    for fault, share in _shares(settings, request.service):
        if draw < share:
            return fault
        draw -= share
    return None


def _shares(settings: SandboxSettings, service: Service) -> Iterator[tuple[str, float]]:
    yield "500", settings.error_rate
    yield "429", settings.throttle_rate
    for name, share in settings.faults.items():
        where, _, fault = name.rpartition(":")
        if where not in {"", "mailchimp", "ometria"}:
            raise LookupError(f"unknown service: {where}")
        if where in {"", service}:
            yield _checked_name(fault), share


def _checked_name(fault: str) -> str:
    if fault not in FAULTS:
        raise LookupError(f"unknown fault: {fault}")
    return fault


class FaultyConnection(Struct, frozen=True):
    """Sends to the client what no ordinary response does."""

    shared: SharedState
    scope: Scope
    receive: Receive
    send: Send

    async def reset(self) -> None:
        """Ends the connection at once, with a TCP reset."""
        transport: asyncio.Transport = self.scope["extensions"][TRANSPORT]["transport"]
        if transport.is_closing():  # the client has closed it already
            return
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def wait_for_disconnect(self, seconds: float) -> bool:
        """Returns whether the client disconnects within this time, or the server is to stop."""
        leaving = asyncio.ensure_future(self._disconnected())
        closing = asyncio.ensure_future(self.shared.closing.wait())
        done, pending = await asyncio.wait({leaving, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return bool(done)

    async def _disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def send_endlessly(self, response: Response) -> None:
        """Sends a blank at a time, after a beginning that looks right."""
        del response.headers["content-length"]
        await self._send_begun(response, bytes(response.body)[:-1])
        left = self.shared.settings.silence
        while left > 0 and not await self.wait_for_disconnect(_TICK):
            await self._send_body(b" ")
            left -= _TICK

    async def send_half(self, response: Response) -> None:
        """Announces the whole length and sends half of it."""
        await self._send_begun(response, first_half(response))
        await self.wait_for_disconnect(_TICK)  # so that the half arrives before a reset

    async def _send_begun(self, response: Response, body: bytes) -> None:
        status, headers = response.status_code, response.raw_headers
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send_body(body)

    async def _send_body(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})


def first_half(response: Response) -> bytes:
    return bytes(response.body)[: len(response.body) // 2]


def with_body(response: Response, body: bytes) -> Response:
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(body, response.status_code, headers)
