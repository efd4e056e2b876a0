"""Handles every request: authorizes it, applies a fault or responds, dates the response, and logs it."""

from __future__ import annotations

import gzip
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
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
    first_half,
    with_body,
)
from mcimport.sandbox.ometria_account import OmetriaAccount
from mcimport.sandbox.request_log import Request, Service
from mcimport.sandbox.shared_state import MailchimpAccount, SharedState


@dataclass
class Call:
    """Holds one request while it is handled.

    Attributes:
        log: its entry in the request log.
        latency: seconds that its response takes in all; `waited` are those so far.
        account: whose request it is, once it is authorized.
    """

    shared: SharedState
    http: HttpRequest
    log: Request
    latency: float
    waited: float = 0.0
    account: MailchimpAccount | OmetriaAccount | None = None

    def admit(self, account: MailchimpAccount | OmetriaAccount) -> None:
        """Counts the request as open, until its response is sent, and as the account's."""
        self.account, self.log.key = account, account.key
        account.open += 1
        self.log.open = account.open

    async def wait(self, seconds: float) -> None:
        """Waits for a part of the latency."""
        self.waited += seconds
        await self.shared.wait(seconds)


class RefusedError(Exception):
    """Raised to respond to an authorized request with an error."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


Respond = Callable[[Call], Awaitable[Response]]


def json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json; charset=utf-8")


class RequestHandler(Struct, frozen=True):
    """Handles one kind of request, as an ASGI application.

    `authorize` checks keys and limits, and returns an error, or admits the call to its account.
    """

    shared: SharedState
    service: Service
    authorize: Callable[[Call], Response | None]
    respond: Respond
    method: str = "GET"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._received(HttpRequest(scope, receive))
        connection = FaultyConnection(self.shared, scope, receive, self._recording(call, send))
        try:
            response = self._rejection(call) or await self._response(call, connection)
            if response is not None:
                await response(connection.scope, connection.receive, connection.send)
        except Exception as error:
            self.shared.internal_errors.append(error)
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
        self.shared.requests.append(log)
        settings = self.shared.settings
        more = self.shared.rng.random() * settings.latency_spread if settings.latency_spread else 0.0
        return Call(self.shared, http, log, settings.latency + more)

    def _rejection(self, call: Call) -> Response | None:
        rejection = self.authorize(call)
        if rejection is not None or call.log.method == self.method:
            return rejection
        return error_response(self.service, 405, "Method Not Allowed", "This address does not take that method.")

    async def _response(self, call: Call, connection: FaultyConnection) -> Response | None:
        call.log.fault = fault = choose_fault(self.shared.settings, call.log)
        if fault is not None:
            with suppress(ClientDisconnect):  # a client that is still sending would see the break in another way
                await call.http.body()
        if fault in ERROR_RESPONSES:
            await call.wait(call.latency)
            return ERROR_RESPONSES[fault](self.service)
        if fault in NO_RESPONSE:
            if fault == "silent":
                await connection.wait_for_disconnect(self.shared.settings.silence)
            await connection.reset()
            return None
        try:
            response = await self.respond(call)
        except RefusedError as refused:
            response = refused.response
        if call.latency > call.waited:
            await call.wait(call.latency - call.waited)
        is_accepted = "gzip" in call.http.headers.get("accept-encoding", "")
        if self.service == "mailchimp" and self.shared.settings.gzip and is_accepted:
            response = with_body(response, gzip.compress(bytes(response.body), compresslevel=1))
            response.headers["content-encoding"] = "gzip"
        return response if fault is None else await self._broken_response(fault, response, connection)

    async def _broken_response(self, fault: str, response: Response, connection: FaultyConnection) -> Response | None:
        if fault == "truncated":
            return with_body(response, first_half(response))
        if fault == "reset-body":
            await connection.send_half(response)
        elif fault == "endless":
            await connection.send_endlessly(response)
        await connection.reset()
        return None

    def _recording(self, call: Call, send: Send) -> Send:
        """Returns a `send` that logs what it sends, and dates a response when it begins, as servers do."""

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.log.status = message["status"]
                if not self.shared.settings.no_date:
                    message["headers"] = [*message["headers"], (b"date", self.shared.clock.http_date().encode())]
            else:
                call.log.bytes += len(message.get("body", b"")) if self.service == "mailchimp" else 0
                call.log.finished = 0.0 if message.get("more_body") else time.monotonic()
            await send(message)  # the log is complete before the client has the response

        return note_and_send
