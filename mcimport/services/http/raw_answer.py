"""Reads an answer as it is, also one that refuses: for a probe, to which both are worth knowing."""

from __future__ import annotations

from typing import Any

import msgspec

from mcimport.services.http.response import UNDECODABLE, Response

_ANYTHING = msgspec.json.Decoder()  # before any thread begins: see `mailchimp.responses`


def decoded(answer: Response) -> Any:
    """Returns the JSON of an answer; None where it is a refusal, or no JSON."""
    return _json(answer) if answer.status < 300 else None  # noqa: PLR2004 - a success


def is_problem(answer: Response) -> bool:
    """Says whether an answer is a problem document (RFC 9457) about its own status."""
    if "problem+json" not in answer.headers.get("content-type", ""):
        return False
    found = _json(answer)
    return isinstance(found, dict) and found.get("status") == answer.status


def _json(answer: Response) -> Any:
    try:
        return _ANYTHING.decode(answer.body)
    except UNDECODABLE:
        return None
