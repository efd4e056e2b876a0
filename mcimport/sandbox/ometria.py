"""Serves the Ometria Data API v2, as far as an importer uses it: pushes, their validation errors, and contacts."""

from __future__ import annotations

import uuid
from typing import Any, cast

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from mcimport.sandbox.faults import error_response, html
from mcimport.sandbox.ometria_account import Contact, OmetriaAccount
from mcimport.sandbox.request_handling import Call, RefusedError, RequestHandler, json
from mcimport.sandbox.settings import SandboxSettings
from mcimport.sandbox.shared_state import SharedState

_MAX_RECORDS = 100
_MAX_RECORD_BYTES = 60_000
_MAX_CONTACTS = 250
_TYPES = {"contact", "order", "product", "custom_event", "profile"}


def routes(shared: SharedState) -> list[Route]:
    """Returns the routes, relative to the base address `/v2`."""
    return [
        Route("/push", RequestHandler(shared, "ometria", _authorize, _push, "POST")),
        Route("/push/_errors", RequestHandler(shared, "ometria", _authorize, _errors)),
        Route("/contacts", RequestHandler(shared, "ometria", _authorize, _contacts)),
        Route("/contacts/{collection}/{contact_id}", RequestHandler(shared, "ometria", _authorize, _contact)),
        Route("/{anything:path}", RequestHandler(shared, "ometria", _authorize, _not_found)),
    ]


def _authorize(call: Call) -> Response | None:
    """Checks the key, then the rate limit for this kind of request, by when it arrived."""
    account, settings = call.shared.ometria.get(call.http.headers.get("x-ometria-auth", "")), call.shared.settings
    if account is None:
        return _error(403, "The API key may not do this.")
    call.admit(account)
    rate, limit = account.reads, settings.reads_per_second
    if call.log.path == "/push":
        rate, limit = account.pushes, settings.pushes_per_second
    return None if rate.allows(call.log.at, limit, settings.jitter) else html(429, "Too Many Requests")


def _error(status: int, message: str) -> Response:
    return error_response("ometria", status, "", message)


def _account(call: Call) -> OmetriaAccount:
    return cast("OmetriaAccount", call.account)


async def _push(call: Call) -> Response:
    try:
        body = await call.http.body()
    except ClientDisconnect:
        return _error(400, "The request did not arrive whole.")
    call.log.bytes = len(body)
    records = _records(body)
    call.log.count = len(records)
    call.log.ids = tuple(str(record["id"]) for record in records if "id" in record)
    if call.shared.settings.latency_spread:
        await call.wait(call.latency / 2)
    return _accepted(call, records)


def _records(body: bytes) -> list[dict[str, Any]]:
    try:
        raw = msgspec.json.decode(body, type=list[msgspec.Raw])
        records = [msgspec.json.decode(record, type=dict[str, Any]) for record in raw]
    except msgspec.MsgspecError:
        raise RefusedError(_error(400, "A push is a JSON array of records.")) from None
    if not 1 <= len(records) <= _MAX_RECORDS:
        raise RefusedError(_error(400, "A push holds 1 to 100 records."))
    if any(len(memoryview(record)) > _MAX_RECORD_BYTES for record in raw):
        raise RefusedError(_error(413, "A record is larger than 60 KB."))
    types = {record.get("@type") for record in records}
    if len(types) > 1 or not types <= _TYPES:
        raise RefusedError(_error(400, "The records of a push are of one known type."))
    return records


def _accepted(call: Call, records: list[dict[str, Any]]) -> Response:
    """Accepts the records, which are validated later. Which of them were refused here the response does not tell."""
    account, settings = _account(call), call.shared.settings
    if account.queue_remaining() < len(records):
        return _with_queue(html(429, "Too Many Requests"), account, settings)
    kept = [record for record in records if not _is_refused(record, settings)]
    rejected = len(records) - len(kept)
    if rejected and settings.reject_batches:
        return _error(settings.reject_status, "A record of the push is not valid.")
    account.receive(kept)
    request_id = str(uuid.UUID(int=call.shared.rng.getrandbits(128), version=4))
    answer = {"status": "OK", "request_id": request_id, "accepted": len(kept), "rejected": rejected}
    return _with_queue(json(answer, 202), account, settings)


def _is_refused(record: dict[str, Any], settings: SandboxSettings) -> bool:
    email = record.get("email")
    has_address = isinstance(email, str) and bool(email.strip())
    is_wanting = settings.without_address == "refused" and record.get("@type") == "contact" and not has_address
    is_chosen = settings.rejects_record is not None and settings.rejects_record(record)
    return is_wanting or is_chosen or record.get("id") in settings.rejects


def _with_queue(response: Response, account: OmetriaAccount, settings: SandboxSettings) -> Response:
    if settings.queue_headers != "none":
        response.headers["X-QueueSize-Limit"] = str(settings.queue_limit)
        response.headers["X-QueueSize-Remaining"] = str(max(0, account.queue_remaining()))
    return response


def _read(call: Call, value: object) -> Response:
    """Responds with something that is read."""
    response, settings = json(value), call.shared.settings
    return _with_queue(response, _account(call), settings) if settings.queue_headers == "all" else response


async def _errors(call: Call) -> Response:
    errors, answer = _account(call).latest_errors(), call.shared.settings.push_errors
    if answer == "absent":
        return await _not_found(call)
    return _read(call, {"errors": errors} if answer == "object" else errors)


async def _contacts(call: Call) -> Response:
    query, settings = call.log.query, call.shared.settings
    limit, offset, address = query.get("limit", str(_MAX_CONTACTS)), query.get("offset", "0"), query.get("email")
    if not (limit.isdecimal() and offset.isdecimal()) or not 1 <= int(limit) <= _MAX_CONTACTS:
        return _error(400, "limit is 1 to 250, offset a whole number from 0 on.")
    if address is not None and settings.address_filter == "refused":
        return _error(400, "There is no such filter.")
    sought = address if settings.address_filter == "works" else None
    page = _account(call).page(query.get("collection"), sought, int(offset), min(int(limit), settings.max_contacts))
    call.log.count = len(page)
    return _read(call, [_as_read(contact, settings) for contact in page])


def _as_read(contact: Contact, settings: SandboxSettings) -> Contact:
    shown = {name: value for name, value in contact.items() if name not in settings.unread_fields}
    if "marketing_optin" in shown:
        shown["marketing_optin"] = settings.consent_words.get(shown["marketing_optin"], shown["marketing_optin"])
    return shown


async def _contact(call: Call) -> Response:
    account, settings = _account(call), call.shared.settings
    if not settings.single_contacts:
        return await _not_found(call)
    contact = account.contact((call.http.path_params["collection"], call.http.path_params["contact_id"]))
    if contact is None:
        return _error(404, "There is no such contact.")
    return _read(call, _as_read(contact, settings))


async def _not_found(_call: Call) -> Response:
    return _error(404, "There is nothing at this address.")
