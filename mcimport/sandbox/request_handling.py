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

from mcimport.sandbox.faults import INSTEAD, UNANSWERED, FaultyConnection, decide, refusal, truncated
from mcimport.sandbox.ometria_store import Store
from mcimport.sandbox.request_log import Request, Side
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
    spent: float = 0.0
    account: MailchimpAccount | Store | None = None

    @property
    def query(self) -> dict[str, str]:
        return self.log.query

    def part(self, name: str) -> str:
        """A part of the path, decoded."""
        return str(self.http.path_params[name])

    async def pass_time(self, seconds: float) -> None:
        """A part of the latency."""
        self.spent += seconds
        await self.shared.wait(seconds)


Admit = Callable[[Call], Response | None]
Answer = Callable[[Call], Awaitable[Response]]


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
    side: Side
    admit: Admit
    answer: Answer
    method: str = "GET"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._arrive(HttpRequest(scope, receive))
        wire = FaultyConnection(self.shared, scope, receive, self._noting(call, send))
        try:
            response = self._refused(call) or await self._answered(call, wire)
            if response is not None:
                await response(wire.scope, wire.receive, wire.send)
        except Exception as mistake:
            self.shared.mistakes.append(mistake)
            raise
        finally:
            call.log.finished = call.log.finished or time.monotonic()
            if call.account is not None:
                call.account.open -= 1

    def _arrive(self, http: HttpRequest) -> Call:
        path = http.scope["raw_path"].decode().removeprefix(http.scope["root_path"])
        query = dict(parse_qsl(http.scope["query_string"].decode(), keep_blank_values=True))
        log = Request(self.side, http.method, path, query, time.monotonic())
        log.agent = http.headers.get("user-agent", "")
        log.nth = self.shared.asked[self.side, log.method, path]
        self.shared.asked[self.side, log.method, path] += 1
        self.shared.request_log.write(log)
        return Call(self.shared, http, log, self.shared.knobs.latency)

    def _refused(self, call: Call) -> Response | None:
        refused = self.admit(call)
        if call.account is not None:
            call.log.key = call.account.key
        if refused is None and call.log.method != self.method:
            refused = refusal(self.side, 405, "Method Not Allowed", "This address does not take that method.")
        return refused

    async def _answered(self, call: Call, wire: FaultyConnection) -> Response | None:
        call.log.fault = fault = decide(self.shared.knobs, call.log)
        if fault is not None:
            with suppress(ClientDisconnect):  # a client that is still sending would see the break in another way
                await call.http.body()
        if fault in INSTEAD:
            await call.pass_time(call.latency)
            return INSTEAD[fault](self.side)
        if fault in UNANSWERED:
            await (wire.silence() if fault == "silent" else wire.reset())
            return None
        response = await self.answer(call)
        if call.latency > call.spent:
            await call.pass_time(call.latency - call.spent)
        if self.side == "mailchimp" and self.shared.knobs.gzip:
            response = _compressed(response, call.http.headers.get("accept-encoding", ""))
        return response if fault is None else await self._spoilt(fault, response, wire)

    async def _spoilt(self, fault: str, response: Response, wire: FaultyConnection) -> Response | None:
        if fault == "truncated":
            return truncated(response)
        if fault == "lost":
            await wire.reset()
        elif fault == "reset-body":
            await wire.reset_body(response)
        else:
            await wire.endless(response)
        return None

    def _noting(self, call: Call, send: Send) -> Send:
        """Sends, and writes down what is sent; dates an answer when it begins, as servers do."""

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.log.status = message["status"]
                if not self.shared.knobs.no_date:
                    message["headers"] = [*message["headers"], (b"date", self.shared.clock.http_date().encode())]
            else:
                call.log.bytes += len(message.get("body", b"")) if self.side == "mailchimp" else 0
                call.log.finished = 0.0 if message.get("more_body") else time.monotonic()
            await send(message)  # the ledger is complete before the client can know

        return note_and_send
