"""The way of every request: let in or refused, struck by a fault or answered, dated, and written down."""

from __future__ import annotations

import gzip
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from mcimport.sandbox.faults import (
    ERROR_RESPONSES,
    NO_RESPONSE,
    FaultyConnection,
    choose_fault,
    error_response,
    truncated,
)
from mcimport.sandbox.ometria_account import OmetriaAccount
from mcimport.sandbox.request_log import Request, Service
from mcimport.sandbox.shared_state import MailchimpAccount, SharedState

_JSON = "application/json; charset=utf-8"


@dataclass
class Call:
    """One request on its way.

    Attributes:
        log: its line in the ledger.
        latency: seconds that its answer takes in all; `spent` is what it has waited for so far.
        account: whose it is, once it has been let in.
    """

    shared: SharedState
    http: HttpRequest
    log: Request
    latency: float
    waited: float = 0.0
    account: MailchimpAccount | OmetriaAccount | None = None

    @property
    def query(self) -> dict[str, str]:
        return self.log.query

    def path_param(self, name: str) -> str:
        """A part of the path, decoded."""
        return str(self.http.path_params[name])

    async def wait(self, seconds: float) -> None:
        """A part of the latency."""
        self.waited += seconds
        await self.shared.wait(seconds)


Authorize = Callable[[Call], Response | None]
Respond = Callable[[Call], Awaitable[Response]]


def json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=_JSON)


def raw_json(body: bytes) -> Response:
    return Response(body, 200, media_type=_JSON)


def _compressed(response: Response, accepted: str) -> Response:
    if "gzip" not in accepted:
        return response
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    body = gzip.compress(bytes(response.body), compresslevel=1)
    return Response(body, response.status_code, {**headers, "content-encoding": "gzip"})


@dataclass(frozen=True)
class RequestHandler:
    """An ASGI application for one kind of request.

    Attributes:
        admit: looks at keys and limits; returns why not, or sets `account`, whose `open` counts the request until it
            has been answered.
        answer: what the service does.
    """

    shared: SharedState
    service: Service
    authorize: Authorize
    respond: Respond
    method: str = "GET"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._received(HttpRequest(scope, receive))
        wire = FaultyConnection(self.shared, scope, receive, self._recording(call, send))
        try:
            response = self._rejection(call) or await self._response(call, wire)
            if response is not None:
                await response(wire.scope, wire.receive, wire.send)
        except Exception as mistake:
            self.shared.internal_errors.append(mistake)
            raise
        finally:
            call.log.finished = call.log.finished or time.monotonic()
            if call.account is not None:
                call.account.open -= 1

    def _received(self, http: HttpRequest) -> Call:
        path = http.scope["raw_path"].decode().removeprefix(http.scope["root_path"])
        query = dict(parse_qsl(http.scope["query_string"].decode(), keep_blank_values=True))
        log = Request(self.service, http.method, path, query, time.monotonic())
        log.agent = http.headers.get("user-agent", "")
        log.nth = self.shared.request_counts[self.service, log.method, path]
        self.shared.request_counts[self.service, log.method, path] += 1
        self.shared.request_log.write(log)
        return Call(self.shared, http, log, self.shared.settings.latency)

    def _rejection(self, call: Call) -> Response | None:
        refused = self.authorize(call)
        if call.account is not None:
            call.log.key = call.account.key
        if refused is None and call.log.method != self.method:
            refused = error_response(self.service, 405, "Method Not Allowed", "This address does not take that method.")
        return refused

    async def _response(self, call: Call, wire: FaultyConnection) -> Response | None:
        call.log.fault = fault = choose_fault(self.shared.settings, call.log)
        if fault is not None:
            with suppress(ClientDisconnect):  # a client that is still sending would see the break in another way
                await call.http.body()
        if fault in ERROR_RESPONSES:
            await call.wait(call.latency)
            return ERROR_RESPONSES[fault](self.service)
        if fault in NO_RESPONSE:
            await (wire.never_respond() if fault == "silent" else wire.reset())
            return None
        response = await self.respond(call)
        if call.latency > call.waited:
            await call.wait(call.latency - call.waited)
        if self.service == "mailchimp" and self.shared.settings.gzip:
            response = _compressed(response, call.http.headers.get("accept-encoding", ""))
        return response if fault is None else await self._broken_response(fault, response, wire)

    async def _broken_response(self, fault: str, response: Response, wire: FaultyConnection) -> Response | None:
        if fault == "truncated":
            return truncated(response)
        if fault == "lost":
            await wire.reset()
        elif fault == "reset-body":
            await wire.reset_body(response)
        else:
            await wire.endless_body(response)
        return None

    def _recording(self, call: Call, send: Send) -> Send:
        """Sends, and writes down what is sent; dates an answer when it begins, as servers do."""

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.log.status = message["status"]
                if not self.shared.settings.no_date:
                    message["headers"] = [*message["headers"], (b"date", self.shared.clock.http_date().encode())]
            else:
                call.log.bytes += len(message.get("body", b"")) if self.service == "mailchimp" else 0
                call.log.finished = 0.0 if message.get("more_body") else time.monotonic()
            await send(message)  # the ledger is complete before the client can know

        return note_and_send
