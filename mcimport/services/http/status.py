"""Turns the status of a response into the error that says what to do, and repeats of the response what may be."""

from __future__ import annotations

import html
import re
import time
from contextlib import suppress

import msgspec

from mcimport.errors import (
    FatalError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceError,
    ServiceTimeoutError,
    ThrottledError,
)
from mcimport.services.http.response import UNDECODABLE, Response, http_date

CHECK_TESTS_IT = "`mcimport check` tests it."
"""How the hint about a refused key ends; pointless in the check itself."""

LONGEST_RETRY_AFTER = 600.0  # seconds; a server that asks for a day would hang the job
_PROBLEM = msgspec.json.Decoder(dict[str, object])  # RFC 9457; before any thread begins: see `mailchimp.responses`
_PLAIN_TITLE = re.compile(r"[A-Za-z0-9 ,.'_-]{1,80}")
_EDGE_REFERENCE = re.compile(r"Reference\W{0,3}\s*#?\s*([0-9a-f]{1,12}(?:\.[0-9a-f]{1,16}){1,5})", re.IGNORECASE)


def raise_for_status(service: str, answer: Response) -> Response:
    """Returns a response that is a success (any 2xx); raises a kind of ServiceError for every other."""
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
    if status == 401:  # noqa: PLR2004 - unauthorized (fact mailchimp-wrong-key)
        return FatalError(f"{said}: it does not accept the API key", hint=_key_hint(service), status=status)
    return FatalError(said, status=status)


def _forbidden(service: str, answer: Response, said: str) -> ServiceError:
    """Returns the error for a 403: no right (with a reason), blocked (a page of HTML), too many connections (empty).

    The first is in the vendors' documentation, the other two in reports of Mailchimp's users. An empty 403 of Ometria
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
    return f"Check the {service} API key: complete, still active, right account? {CHECK_TESTS_IT}"


def _title(answer: Response) -> str:
    """Returns the title of a problem document in brackets, if it is plain words: all that is repeated of a body."""
    with suppress(*UNDECODABLE):
        title = _PROBLEM.decode(answer.body).get("title") if answer.is_json else None
        return f" ({title})" if isinstance(title, str) and _PLAIN_TITLE.fullmatch(title) else ""
    return ""


def _retry_after(answer: Response) -> float | None:
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdecimal():
        return min(LONGEST_RETRY_AFTER, float(text))
    moment, now = http_date(text), answer.date or int(time.time())
    return None if moment is None else min(LONGEST_RETRY_AFTER, max(0.0, float(moment - now)))
