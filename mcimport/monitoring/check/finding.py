"""What was checked, what was found, and what fixes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcimport.errors import McimportError, RetriableError

PASSING = "This may pass: run `mcimport check` again in a minute. A sync would retry by itself."

Verdict = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        client: empty for what all clients share.
        verdict: "good", "bad" (a sync would not work, or not as meant), "note" (worth knowing).
        words: what was seen. No key, no address.
        mend: what to do about it; empty where nothing is to be done.
    """

    client: str
    subject: str
    verdict: Verdict
    words: str
    mend: str = ""


def bad(client: str, subject: str, error: McimportError) -> Finding:
    mend = error.hint or (PASSING if isinstance(error, RetriableError) else "")
    return Finding(client, subject, "bad", str(error).removeprefix(f"client {client}: "), mend)
