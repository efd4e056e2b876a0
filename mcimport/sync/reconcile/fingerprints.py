"""Versions of contacts, made of salted digests, and which fields of two versions differ; pure.

A version has eight bytes for each field, in the order of `FIELDS`: a digest, or a word for a consent; zeros where there
is nothing to compare. The salt is drawn anew for each comparison and stored nowhere, so a version discloses no address,
name or number.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Literal, NamedTuple

from mcimport.models import Contact, HeldContact, OptIn

NAMES = ("prefix", "firstname", "middlename", "lastname")
FIELDS = ("consent", "email", *NAMES, "phone", "sms")
CONSENTS = frozenset({"consent", "sms"})

Kind = Literal["missing", "stale", "gone", "said_no"]

WIDTH = 8  # bytes for each field
OPTED_IN, OPTED_OUT, _NEITHER = (word.ljust(WIDTH, b"\0") for word in (b"in", b"out", b"neither"))
"""How the versions of contacts that are opted in, opted out, or neither, begin."""

SMS_YES, _SMS_NO, _NO_STATUS = (word.ljust(WIDTH, b"\0") for word in (b"yes", b"no", b"none"))
"""How versions with a yes or no to text messages end, and where nothing is sent of these."""

_NOTHING = bytes(WIDTH)
_UNKNOWN = b"unknown\0"
_CONSENTS = {"EXPLICITLY_OPTEDIN": OPTED_IN, "EXPLICITLY_OPTEDOUT": OPTED_OUT, "NOT_SPECIFIED": _NEITHER, "": _NOTHING}
_SMS_CONSENTS: dict[Any, bytes] = {True: SMS_YES, False: _SMS_NO, None: _NOTHING}
_CONSENT_BIT, _SMS_BIT = (1 << FIELDS.index(name) for name in ("consent", "sms"))


class MemberSnapshot(NamedTuple):
    """Holds what is compared of a member, as Mailchimp shows them.

    Attributes:
        id: the member's own, without the list.
        changed: the second of the last change.
        is_whole: the member can be sent; else only the consent is compared.
    """

    id: str
    version: bytes
    changed: int | None
    is_whole: bool
    is_archived: bool


class Due(NamedTuple):
    """Says which changes are due in Ometria.

    Attributes:
        start: changes in this second and before were left out on purpose; None: none were.
        horizon: the last second whose changes are due.
        has_sms: a member of the list has an SMS status.
    """

    start: int | None
    horizon: int
    has_sms: bool = False


class Fingerprinter:
    """Makes versions that can be compared with each other; safe to share between threads."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)

    def of_contact(self, contact: Contact) -> bytes:
        """Returns the version of a contact as it would be sent; what would not be sent is not compared.

        Ometria keeps that as it is. The exception is a yes to text messages where the member has no SMS status: see
        `differing`.
        """
        allowed = contact.channels.sms.allow_marketing if contact.channels and contact.channels.sms else None
        return self._version(contact, _NO_STATUS if contact.channels is None else _sms_of(allowed))

    def of_held(self, held: HeldContact) -> bytes:
        """Returns the version of a contact as Ometria holds it."""
        return self._version(held, _sms_of(_allowed_of(held)))

    def of_consent(self, optin: OptIn | None, *, sms: str = "") -> bytes:
        """Returns the version of a member who cannot be sent whole: only the consent, without a yes to text messages.

        `sms`: what the SMS status says, "yes" or "no"; "none" where there is none, "" where it is not compared.
        """
        allowed = {"no": _SMS_NO, "none": _NO_STATUS}.get(sms, _NOTHING)
        return _consent_of(optin) + _NOTHING * (len(FIELDS) - 2) + allowed

    def of_part(self, contact: Contact) -> bytes:
        """Returns the version of a contact of which only the consent is sent, and of text messages a no at most."""
        return self.of_consent(contact.marketing_optin, sms="" if contact.channels is None else "no")

    def of_address(self, address: Any) -> bytes:
        """Returns the digest of an address as it is in a version: whatever its case, without blanks around it."""
        return self._digest(_text(address).lower())

    def of_id(self, contact_id: Any) -> bytes:
        """Returns the digest of an id that is of no list of ours: it may be an address."""
        return self._digest(str(contact_id) or "-")

    def _version(self, contact: Contact | HeldContact, sms: bytes) -> bytes:
        names = [_text(getattr(contact, name)) for name in NAMES]
        digests = [self.of_address(contact.email), *map(self._digest, (*names, _digits(contact.phone_number)))]
        return b"".join([_consent_of(contact.marketing_optin), *digests, sms])

    def _digest(self, text: str) -> bytes:
        if not text:
            return _NOTHING
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._salt, digest_size=WIDTH).digest()


def differing(ours: bytes, theirs: bytes, has_sms: int) -> int:
    """Returns which fields differ, a bit each, the first of FIELDS the lowest; 0: they agree.

    `has_sms`: not 0 for a list on which a member has an SMS status. A member without one may have had one, and then a
    yes that Ometria holds was given with it.
    """
    if ours == theirs:
        return 0
    bits = 0
    for place in range(len(FIELDS)):
        part = slice(place * WIDTH, (place + 1) * WIDTH)
        if ours[part] not in (_NOTHING, _NO_STATUS, theirs[part]):
            bits |= 1 << place
    if has_sms and ours.endswith(_NO_STATUS) and theirs.endswith(SMS_YES):
        bits |= _SMS_BIT
    return bits


def mendable(ours: bytes, theirs: bytes, has_sms: int, is_alone: int) -> int:
    """Returns the fields of `differing` that can be mended: an opt-out that Ometria holds stays, whatever ours says.

    `is_alone`: not 0 for a member who cannot be sent whole: only what takes a consent back can be mended.
    """
    bits = differing(ours, theirs, has_sms)
    if theirs.startswith(OPTED_OUT) or (is_alone and ours.startswith(OPTED_IN)):
        bits &= ~_CONSENT_BIT
    if not is_alone:
        return bits
    return bits & (_CONSENT_BIT | (0 if ours.endswith(SMS_YES) else _SMS_BIT))


def names_of(bits: int) -> list[str]:
    """Returns the names of the fields that `differing` returned as bits."""
    return [name for place, name in enumerate(FIELDS) if bits >> place & 1]


def is_texted(held: HeldContact) -> bool:
    """Says whether Ometria holds a yes to text messages."""
    return _allowed_of(held) is True


def _consent_of(optin: Any) -> bytes:
    known = "" if optin is None else optin
    return _CONSENTS.get(known, _UNKNOWN) if isinstance(known, str) else _UNKNOWN


def _sms_of(allowed: Any) -> bytes:
    """Returns the word for a consent to text messages; a value that is neither true, false nor null has its own."""
    return _SMS_CONSENTS[allowed] if allowed is None or isinstance(allowed, bool) else _UNKNOWN


def _allowed_of(held: HeldContact) -> Any:
    sms = held.channels.get("sms") if isinstance(held.channels, dict) else None
    return sms.get("allow_marketing") if isinstance(sms, dict) else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _digits(value: Any) -> str:
    """Returns the digits of a telephone number, however it is written."""
    return "".join(filter(str.isdigit, str(value))) if isinstance(value, (str, int)) else ""
