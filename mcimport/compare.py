"""Pure: what is compared of a contact, as salted digests; which fields of two of them differ.

A version is six digests of eight bytes, one a field, in the order of `FIELDS`; zeros where there is nothing to compare.
The salt is drawn once for a comparison and kept nowhere, so a version tells nobody an address or a name.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from mcimport.models import Contact, HeldContact, OptIn

NAMES = ("prefix", "firstname", "middlename", "lastname")
FIELDS = ("consent", "email", *NAMES)

Kind = Literal["missing", "stale", "gone", "opted_out"]

WIDTH = 8  # bytes a field
_NOTHING = bytes(WIDTH)
_CONSENTS = {"EXPLICITLY_OPTEDIN": b"in", "EXPLICITLY_OPTEDOUT": b"out", "NOT_SPECIFIED": b"neither", "": b""}
_UNKNOWN = b"unknown"
_CONSENT_BIT = 1 << FIELDS.index("consent")

OPTED_IN = _CONSENTS["EXPLICITLY_OPTEDIN"].ljust(WIDTH, b"\0")
OPTED_OUT = _CONSENTS["EXPLICITLY_OPTEDOUT"].ljust(WIDTH, b"\0")
"""How the versions of those who are opted in, and out, begin."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A member as Mailchimp shows them. `is_whole`: they can be sent; else only their consent is compared."""

    id: str
    version: bytes
    changed: int | None
    is_whole: bool
    is_archived: bool


@dataclass(frozen=True, slots=True)
class Due:
    """Seconds between which a change is due in Ometria; `start` is None where the list is carried as a whole."""

    start: int | None
    horizon: int

    @property
    def parameters(self) -> dict[str, Any]:
        return {"start": self.start, "horizon": self.horizon, "opted_in": OPTED_IN, "opted_out": OPTED_OUT}


@dataclass(frozen=True, slots=True)
class Twin:
    """Another listing with the address of somebody who is gone, opted in; `list_key`: None for one of this list.

    `email`: the address, as a digest.
    """

    id: str
    list_key: str | None
    email: bytes


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a member stands on the list: the second of their last change, and whether among the archived."""

    id: str
    changed: int | None
    is_archived: bool


class Versions:
    """Makes versions that can be compared with each other; safe to share between threads."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)

    def of_contact(self, contact: Contact) -> bytes:
        """As it would be sent. What would not be sent is not compared: Ometria keeps what it has."""
        names = [_text(getattr(contact, name)) for name in NAMES]
        return self._version(contact.marketing_optin or "", contact.email, names)

    def of_held(self, held: HeldContact) -> bytes:
        """As Ometria holds it."""
        names = [_text(getattr(held, name)) for name in NAMES]
        return self._version(held.marketing_optin, held.email, names)

    def of_consent(self, optin: OptIn) -> bytes:
        """Of somebody who cannot be sent whole: nothing else is compared."""
        return self._version(optin, "", [""] * len(NAMES))

    def of_id(self, contact_id: Any) -> bytes:
        """Somebody else's id, which may be an address for all we know."""
        return self._digest(str(contact_id) or "-")

    def _version(self, optin: Any, email: Any, names: list[str]) -> bytes:
        consent = _CONSENTS.get(optin, _UNKNOWN) if isinstance(optin, str) else _UNKNOWN
        digests = [self._digest(_text(email).lower()), *map(self._digest, names)]
        return b"".join([consent.ljust(WIDTH, b"\0"), *digests])

    def _digest(self, text: str) -> bytes:
        if not text:
            return _NOTHING
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._salt, digest_size=WIDTH).digest()


def differing(ours: bytes, theirs: bytes) -> int:
    """Which fields differ, a bit each, the first of FIELDS the lowest; 0: they agree."""
    if ours == theirs:
        return 0
    bits = 0
    for place in range(len(FIELDS)):
        part = slice(place * WIDTH, (place + 1) * WIDTH)
        if ours[part] not in (_NOTHING, theirs[part]):
            bits |= 1 << place
    return bits


def mendable(ours: bytes, theirs: bytes) -> int:
    """As `differing`, but a no that Ometria holds stands: beside it, our yes or neither is nothing to mend."""
    bits = differing(ours, theirs)
    return bits & ~_CONSENT_BIT if theirs.startswith(OPTED_OUT) else bits


def names_of(bits: int) -> list[str]:
    """The fields that `differing` named."""
    return [name for place, name in enumerate(FIELDS) if bits >> place & 1]


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
