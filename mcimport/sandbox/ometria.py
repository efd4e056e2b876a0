"""The Ometria Data API v2, as far as an importer meets it: pushes, the errors they led to, contacts read back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from mcimport.sandbox.faults import html, refusal
from mcimport.sandbox.ometria_store import Rate, Store
from mcimport.sandbox.request_handling import Admit, Call, RequestHandler, json
from mcimport.sandbox.settings import SandboxSettings
from mcimport.sandbox.shared_state import SharedState
from mcimport.sandbox.validation import has_address

_RECORDS = 100
_RECORD_BYTES = 60_000
_READ = 250
_TYPES = {"contact", "order", "product", "custom_event", "profile"}


def routes(shared: SharedState) -> list[Route]:
    """Relative to the base address `/v2`."""
    reading = _admitting(lambda store: store.reads, lambda call: call.shared.knobs.reads_per_second)
    pushing = _admitting(lambda store: store.pushes, lambda call: call.shared.knobs.pushes_per_second)
    return [
        Route("/push", RequestHandler(shared, "ometria", pushing, _push, "POST")),
        Route("/push/_errors", RequestHandler(shared, "ometria", reading, _errors)),
        Route("/contacts", RequestHandler(shared, "ometria", reading, _contacts)),
        Route("/contacts/{collection}/{contact_id}", RequestHandler(shared, "ometria", reading, _contact)),
        Route("/{anything:path}", RequestHandler(shared, "ometria", reading, _nothing)),
    ]


def _admitting(rate_of: Callable[[Store], Rate], limit_of: Callable[[Call], int]) -> Admit:
    """Looks at the key, then at the limit for this kind of request, as of when it arrived."""

    def admit(call: Call) -> Response | None:
        store = call.shared.ometria.get(call.http.headers.get("x-ometria-auth", ""))
        if store is None:
            return _refuse(403, "The API key may not do this.")
        call.account = store
        store.open += 1
        call.log.open = store.open
        if not rate_of(store).allows(call.log.at, limit_of(call), call.shared.knobs.jitter):
            return html(429, "Too Many Requests")
        return None

    return admit


def _refuse(status: int, message: str) -> Response:
    return refusal("ometria", status, "", message)


def _store(call: Call) -> Store:
    if not isinstance(call.account, Store):
        raise TypeError("let in without an account")
    return call.account


class _RefusedError(Exception):
    """The whole push is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def _push(call: Call) -> Response:
    try:
        body = await call.http.body()
        call.log.bytes = len(body)
        records = _records(body)
    except ClientDisconnect:
        return _refuse(400, "The request did not arrive whole.")
    except _RefusedError as refused:
        return _refuse(refused.status, str(refused))
    call.log.count = len(records)
    call.log.ids = tuple(str(record["id"]) for record in records if "id" in record)
    return _taken(call, records)


def _records(body: bytes) -> list[dict[str, Any]]:
    try:
        raw = msgspec.json.decode(body, type=list[msgspec.Raw])
        records = [msgspec.json.decode(one, type=dict[str, Any]) for one in raw]
    except msgspec.MsgspecError:
        raise _RefusedError(400, "A push is a JSON array of records.") from None
    if not 1 <= len(records) <= _RECORDS:
        raise _RefusedError(400, "A push holds 1 to 100 records.")
    if any(len(memoryview(one)) > _RECORD_BYTES for one in raw):
        raise _RefusedError(413, "A record is larger than 60 KB.")
    types = {record.get("@type") for record in records}
    if len(types) > 1 or not types <= _TYPES:
        raise _RefusedError(400, "The records of a push are of one known type.")
    return records


def _taken(call: Call, records: list[dict[str, Any]]) -> Response:
    """Received and authenticated, not validated: which records were refused here, nobody is told."""
    store, knobs = _store(call), call.shared.knobs
    if store.queue_room() < len(records):
        return _with_queue(html(429, "Too Many Requests"), store, knobs.queue_limit)
    kept = [record for record in records if not _is_refused(record, knobs)]
    rejected = len(records) - len(kept)
    if rejected and knobs.reject_batches:
        return _refuse(knobs.reject_status, "A record of the push is not valid.")
    store.take(kept)
    request_id = str(uuid.UUID(int=call.shared.chance.getrandbits(128), version=4))
    answer = {"status": "OK", "request_id": request_id, "accepted": len(kept), "rejected": rejected}
    return _with_queue(json(answer, 202), store, knobs.queue_limit)


def _is_refused(record: dict[str, Any], knobs: SandboxSettings) -> bool:
    is_wanting = knobs.without_address == "refused" and record.get("@type") == "contact" and not has_address(record)
    is_chosen = knobs.rejects_record is not None and knobs.rejects_record(record)
    return is_wanting or is_chosen or record.get("id") in knobs.rejects


def _with_queue(response: Response, store: Store, limit: int) -> Response:
    response.headers["X-QueueSize-Limit"] = str(limit)
    response.headers["X-QueueSize-Remaining"] = str(max(0, store.queue_room()))
    return response


async def _errors(call: Call) -> Response:
    return json(_store(call).latest_errors())


async def _contacts(call: Call) -> Response:
    limit, offset = call.query.get("limit", str(_READ)), call.query.get("offset", "0")
    if not (limit.isdecimal() and offset.isdecimal()) or not 1 <= int(limit) <= _READ:
        return _refuse(400, "limit is 1 to 250, offset a whole number from 0 on.")
    page = _store(call).page(call.query.get("collection"), int(offset), int(limit))
    call.log.count = len(page)
    return json(page)


async def _contact(call: Call) -> Response:
    store = _store(call)
    if not call.shared.knobs.single_contacts:
        return await _nothing(call)
    contact = store.contact((call.part("collection"), call.part("contact_id")))
    return _refuse(404, "There is no such contact.") if contact is None else json(contact)


async def _nothing(_call: Call) -> Response:
    return _refuse(404, "There is nothing at this address.")
