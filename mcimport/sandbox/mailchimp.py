"""The Mailchimp Marketing API v3, as far as an importer meets it, as awkward as it is known to be.

Nothing redirects. The facts are the vendor's reference and what users of the API reported; where they are silent
(bounds, the order of equals), a knob says how it is.
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
    """Relative to the base address `/3.0`."""
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
    """Turns what an answer raises into the API's own words: ValueError is a bad parameter."""

    async def checked(call: Call) -> Response:
        try:
            return await answer(call)
        except ValueError as error:
            return problem(400, "Invalid Resource", f"The request is not valid: {error}.")
        except NotFoundError:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")

    return checked


# -- who may come in


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
    """HTTP Basic with any user name and the key as password, or a bearer token."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _account(shared: SharedState, authorization: str) -> MailchimpAccount | None:
    """By its key, or by a bearer token: that has no data centre, so the key without it is taken for one."""
    key, accounts = _key_of(authorization), list(shared.mailchimp.values())
    bearer = authorization.lower().startswith("bearer ")
    return next((one for one in accounts if key in {one.key, one.secret if bearer else one.key}), None)


def _unauthorized(shared: SharedState, key: str) -> Response:
    secret, dash, dc = key.rpartition("-")
    known = list(shared.mailchimp.values())
    if dash and (dc not in {one.dc for one in known} or secret in {one.secret for one in known}):
        return problem(403, "WrongDatacenter", "The API key belongs to another data centre.")
    return problem(401, "API Key Invalid", "Your API key may be invalid, or it was meant for another data centre.")


async def _ping(call: Call) -> Response:
    return json(fields_of(call).apply({"health_status": "Everything's Chimpy!"}))


async def _not_found(_call: Call) -> Response:
    raise NotFoundError
