"""Serves the Mailchimp Marketing API v3, as far as an importer uses it, with the oddities that it is known for.

It follows the vendor's reference and what users of the API reported; what neither tells (bounds, the order of equals)
is a setting. Nothing redirects.
"""

from __future__ import annotations

import base64
import binascii

from starlette.responses import Response
from starlette.routing import Route

from mcimport.sandbox import mailchimp_lists, mailchimp_members
from mcimport.sandbox.faults import ERROR_RESPONSES, problem
from mcimport.sandbox.mailchimp_requests import NotFoundError, fields_of
from mcimport.sandbox.request_handling import Call, RequestHandler, Respond, json
from mcimport.sandbox.shared_state import MailchimpAccount, SharedState


def routes(shared: SharedState) -> list[Route]:
    """Returns the routes, relative to the base address `/3.0`."""
    answers: dict[str, Respond] = {
        "/ping": _ping,
        "/lists": mailchimp_lists.lists,
        "/lists/{list_key}": mailchimp_lists.one_list,
        "/lists/{list_key}/members": mailchimp_members.members,
        "/lists/{list_key}/members/{who}": mailchimp_members.member,
        "/lists/{list_key}/members/{who}/tags": mailchimp_members.tags,
        "/lists/{list_key}/merge-fields": mailchimp_lists.merge_fields,
        "/lists/{list_key}/interest-categories": mailchimp_lists.categories,
        "/lists/{list_key}/interest-categories/{category}/interests": mailchimp_lists.interests,
        "/{anything:path}": _not_found,
    }
    return [
        Route(path, RequestHandler(shared, "mailchimp", _authorize, _with_errors(answer)))
        for path, answer in answers.items()
    ]


def _with_errors(answer: Respond) -> Respond:
    """Turns a ValueError (a bad parameter) of `respond` into a 400, and a NotFoundError into a 404."""

    async def checked(call: Call) -> Response:
        try:
            return await answer(call)
        except ValueError as error:
            return problem(400, "Invalid Resource", f"The request is not valid: {error}.")
        except NotFoundError:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")

    return checked


def _authorize(call: Call) -> Response | None:
    authorization = call.http.headers.get("authorization", "")
    account = _account(call.shared, authorization)
    if account is None:
        return _unauthorized(call.shared, _key_of(authorization))
    call.account = account
    account.open += 1
    call.log.open = account.open
    if account.open > call.shared.settings.connections:
        return ERROR_RESPONSES[call.shared.settings.over_limit]("mailchimp")
    return None


def _key_of(authorization: str) -> str:
    """Returns the key: the password of HTTP Basic with any user name, or a bearer token."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _account(shared: SharedState, authorization: str) -> MailchimpAccount | None:
    """Finds the account by its key, or by a bearer token, which is the key without its data centre."""
    key, accounts = _key_of(authorization), list(shared.mailchimp.values())
    is_bearer = authorization.lower().startswith("bearer ")
    return next((found for found in accounts if key in {found.key, found.secret if is_bearer else found.key}), None)


def _unauthorized(shared: SharedState, key: str) -> Response:
    secret, dash, dc = key.rpartition("-")
    accounts = list(shared.mailchimp.values())
    if dash and (dc not in {account.dc for account in accounts} or secret in {account.secret for account in accounts}):
        return problem(403, "WrongDatacenter", "The API key belongs to another data centre.")
    return problem(401, "API Key Invalid", "Your API key may be invalid, or it was meant for another data centre.")


async def _ping(call: Call) -> Response:
    return json(fields_of(call).apply({"health_status": "Everything's Chimpy!"}))


async def _not_found(_call: Call) -> Response:
    raise NotFoundError
