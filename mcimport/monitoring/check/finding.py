"""A finding of a check, and what fixes it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from mcimport.errors import McimportError, RetriableError
from mcimport.services.http.status import CHECK_TESTS_IT

TRY_AGAIN = "This may pass: run `mcimport check` again in a minute. A sync would retry by itself."

Verdict = Literal["good", "note", "bad"]


class Finding(Struct, frozen=True):
    """Holds what one check found.

    Attributes:
        client: empty for what all clients share.
        verdict: "good", "bad" (a sync would not work, or not as meant), "note" (worth knowing).
        words: what was found. No key, no address.
        fix: what to do about it; empty where nothing is to be done.
    """

    client: str
    subject: str
    verdict: Verdict
    words: str
    fix: str = ""


def error_finding(client: str, subject: str, error: McimportError) -> Finding:
    mend = error.hint.removesuffix(f" {CHECK_TESTS_IT}") or (TRY_AGAIN if isinstance(error, RetriableError) else "")
    return Finding(client, subject, "bad", str(error).removeprefix(f"client {client}: "), mend)
