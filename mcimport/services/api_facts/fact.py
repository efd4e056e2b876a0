"""A fact about an API that the importer assumes, and what depends on it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Service = Literal["Mailchimp", "Ometria"]


class ApiFact(Struct, frozen=True):
    """Holds one assumption.

    Attributes:
        id: begins with the service's name; messages, code and reports name the fact by it.
        assumed: what is assumed, as a sentence.
        asked: how a probe finds out.
        if_not: what the importer does where it is otherwise, and what the operator can do.
        why: why it matters, and what was known of it before any probe.
        source: of what was known.
        is_needed: members may be missing, or consent may be wrong, where it does not hold.
        needs_write: only a probe that writes can tell.
    """

    id: str
    service: Service
    assumed: str
    asked: str
    if_not: str
    why: str
    source: str
    is_needed: bool = False
    needs_write: bool = False
