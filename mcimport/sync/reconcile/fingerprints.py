"""Pure: what is compared of a contact, as salted digests; which fields of two of them differ.

A version is eight bytes a field, in the order of `FIELDS`: a digest, or a word for a consent; zeros where there is
nothing to compare. The salt is drawn once for a comparison and kept nowhere, so a version tells nobody an address, a
name or a number.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from mcimport.models import Contact, HeldContact, OptIn

NAMES = ("prefix", "firstname", "middlename", "lastname")
FIELDS = ("consent", "email", *NAMES, "phone", "sms")
CONSENTS = frozenset({"consent", "sms"})

Kind = Literal["missing", "stale", "gone", "said_no"]

WIDTH = 8  # bytes a field
_NOTHING = bytes(WIDTH)
_CONSENTS = {"EXPLICITLY_OPTEDIN": b"in", "EXPLICITLY_OPTEDOUT": b"out", "NOT_SPECIFIED": b"neither", "": b""}
_UNKNOWN = b"unknown"
_SMS_CONSENTS: dict[Any, bytes] = {True: b"yes", False: b"no", None: b""}
_NO_STATUS = b"none".ljust(WIDTH, b"\0")  # nothing is sent of text messages
_SMS = FIELDS.index("sms") * WIDTH
_CONSENT_BIT, _SMS_BIT = (1 << FIELDS.index(name) for name in ("consent", "sms"))

OPTED_IN = _CONSENTS["EXPLICITLY_OPTEDIN"].ljust(WIDTH, b"\0")
OPTED_OUT = _CONSENTS["EXPLICITLY_OPTEDOUT"].ljust(WIDTH, b"\0")
"""How the versions of those who are opted in, and out, begin."""

SMS_YES = _SMS_CONSENTS[True].ljust(WIDTH, b"\0")
"""How a version of somebody who agreed to text messages ends."""


@dataclass(frozen=True, slots=True)
class MemberSnapshot:
    """A member as Mailchimp shows them. `is_whole`: they can be sent; else only their consent is compared."""

    id: str
    version: bytes
    changed: int | None
    is_whole: bool
    is_archived: bool


@dataclass(frozen=True, slots=True)
class Due:
    """Seconds between which a change is due in Ometria; `start` is None where the list is carried as a whole.

    `has_sms`: somebody on the list has an SMS status.
    """

    start: int | None
    horizon: int
    has_sms: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        times = {"start": self.start, "horizon": self.horizon}
        return {**times, "has_sms": self.has_sms, "opted_in": OPTED_IN, "opted_out": OPTED_OUT, "texted": SMS_YES}


@dataclass(frozen=True, slots=True)
class SameAddress:
    """Another listing with the address of somebody who is gone, opted in.

    `list_key`, `collection`: None for one of this very list; an empty list for a listing under nobody's id of ours.
    """

    id: str
    list_key: str | None
    collection: str | None


@dataclass(frozen=True, slots=True)
class LastPosition:
    """Where a member stands on the list: the second of their last change, and whether among the archived."""

    id: str
    changed: int | None
    is_archived: bool


class Fingerprinter:
    """Makes versions that can be compared with each other; safe to share between threads."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)

    def of_contact(self, contact: Contact) -> bytes:
        """As it would be sent. What would not be sent is not compared: Ometria keeps what it has.

        But for a yes to text messages where the member has no SMS status: see `differing`.
        """
        return self._version(contact, _NO_STATUS if contact.channels is None else _sms_of(_allowed_by(contact)))

    def of_held(self, held: HeldContact) -> bytes:
        """As Ometria holds it."""
        return self._version(held, _sms_of(_allowed_of(held)))

    def of_consent(self, optin: OptIn | None, *, sms: Literal["yes", "no", "none", ""] = "") -> bytes:
        """Of somebody who cannot be sent whole: nothing else is compared, and no yes to text messages.

        `sms`: what the SMS status says; "none" where there is none, "" where it is not to be compared.
        """
        allowed = {"no": _sms_of(False), "none": _NO_STATUS}.get(sms, _NOTHING)  # noqa: FBT003 - a value, no switch
        return _consent_of(optin) + _NOTHING * (len(FIELDS) - 2) + allowed

    def of_address(self, address: Any) -> bytes:
        """As the address stands in a version: in whichever case, without blanks around it."""
        return self._digest(_text(address).lower())

    def of_id(self, contact_id: Any) -> bytes:
        """Somebody else's id, which may be an address for all we know."""
        return self._digest(str(contact_id) or "-")

    def _version(self, one: Contact | HeldContact, sms: bytes) -> bytes:
        names = [_text(getattr(one, name)) for name in NAMES]
        digests = [self.of_address(one.email), *map(self._digest, (*names, _digits(one.phone_number)))]
        return b"".join([_consent_of(one.marketing_optin), *digests, sms])

    def _digest(self, text: str) -> bytes:
        if not text:
            return _NOTHING
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._salt, digest_size=WIDTH).digest()


def differing(ours: bytes, theirs: bytes, has_sms: int) -> int:
    """Which fields differ, a bit each, the first of FIELDS the lowest; 0: they agree.

    `has_sms`: not 0 for a list on which somebody has an SMS status. Who has none there may have had one, and a yes
    that Ometria holds of them was given in it.
    """
    if ours == theirs:
        return 0
    bits = 0
    for place in range(len(FIELDS)):
        part = slice(place * WIDTH, (place + 1) * WIDTH)
        if ours[part] not in (_NOTHING, _NO_STATUS, theirs[part]):
            bits |= 1 << place
    if has_sms and ours[_SMS:] == _NO_STATUS and theirs[_SMS:] == SMS_YES:
        bits |= _SMS_BIT
    return bits


def mendable(ours: bytes, theirs: bytes, has_sms: int, is_alone: int) -> int:
    """As `differing`, but a no that Ometria holds stands: beside it, our yes or neither is nothing to mend.

    `is_alone`: not 0 for a member who cannot be sent whole: only what takes a consent back can be mended.
    """
    bits = differing(ours, theirs, has_sms)
    if theirs.startswith(OPTED_OUT) or (is_alone and ours.startswith(OPTED_IN)):
        bits &= ~_CONSENT_BIT
    if not is_alone:
        return bits
    return bits & (_CONSENT_BIT | (0 if ours.endswith(SMS_YES) else _SMS_BIT))


def names_of(bits: int) -> list[str]:
    """The fields that `differing` named."""
    return [name for place, name in enumerate(FIELDS) if bits >> place & 1]


def is_texted(held: HeldContact) -> bool:
    """Whether Ometria holds a yes to text messages."""
    return _allowed_of(held) is True


def _consent_of(optin: Any) -> bytes:
    known = "" if optin is None else optin
    return (_CONSENTS.get(known, _UNKNOWN) if isinstance(known, str) else _UNKNOWN).ljust(WIDTH, b"\0")


def _sms_of(allowed: Any) -> bytes:
    """Of consent to text messages; whatever is neither true, false nor null is another than any of these."""
    return (_SMS_CONSENTS[allowed] if allowed is None or isinstance(allowed, bool) else _UNKNOWN).ljust(WIDTH, b"\0")


def _allowed_by(contact: Contact) -> bool | None:
    return contact.channels.sms.allow_marketing if contact.channels and contact.channels.sms else None


def _allowed_of(held: HeldContact) -> Any:
    sms = held.channels.get("sms") if isinstance(held.channels, dict) else None
    return sms.get("allow_marketing") if isinstance(sms, dict) else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _digits(value: Any) -> str:
    """Of a telephone number, in whichever spelling."""
    return "".join(filter(str.isdigit, str(value))) if isinstance(value, (str, int)) else ""
