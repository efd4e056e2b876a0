"""What Ometria holds of members, looked up where a record depends on it: an opt-out there is not lifted, nor redated.

One read for each member, within the account's limit for reading, and a limited number for each run.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from mcimport.models import Contact, LookUps
from mcimport.services.http import decode_slot
from mcimport.services.ometria.contacts import Contacts, UnknownContactError

LOOK_UPS = 1_000  # members of a run whose consent is looked up: four minutes, at four reads a second
DATES = 100  # members of a run who opted out, and of whom it is looked up whether Ometria knows that already
AT_ONCE = 4
FAILURES = 3  # look-ups in a row that failed, after which none is made for REST seconds
REST = 60.0  # seconds

Sight = Literal["out", "other", "absent", "unknown"]


def allowance() -> LookUps:
    """Returns how many members a whole run may look up."""
    return LookUps(LOOK_UPS, DATES)


def depends(contact: Contact) -> bool:
    """Says whether what may be sent depends on what Ometria holds."""
    return contact.marketing_optin == "NOT_SPECIFIED" or contact.timestamp_unsubscribed is not None


class CheckedContacts(Struct, frozen=True):
    """Holds contacts as they may be sent.

    Attributes:
        absent: ids of contacts that Ometria does not hold.
        unknown: ids of those to be sent as NOT_SPECIFIED though it could not be looked up what Ometria holds.
    """

    contacts: tuple[Contact, ...]
    absent: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    asked: LookUps = field(default_factory=LookUps)


class HeldLookups:
    """Looks contacts of one run up in Ometria; safe to share between threads.

    Args:
        imported_until: members whose last change is in this second or before were imported by an earlier run; None:
            that is not known.
        left: how many members may still be looked up.
        looks_up: see `RunSpec`.
    """

    def __init__(
        self,
        contacts: Contacts,
        imported_until: int | None,
        left: LookUps,
        looks_up: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._contacts = contacts
        self._looks_up = looks_up
        self._imported_until = imported_until
        self._left = {"NOT_SPECIFIED": left.consents, "EXPLICITLY_OPTEDOUT": left.dates}
        self._failures = 0
        self._rests_until = 0.0
        self._lock = threading.Lock()

    def undated(self, contact: Contact, changed: int | None) -> Contact:
        """Returns the contact without the time of an opt-out that an earlier run has sent with that time.

        `changed`: the second of the member's last change.
        """
        if contact.timestamp_unsubscribed is None or changed is None or changed > (self._imported_until or 0):
            return contact
        return msgspec.structs.replace(contact, timestamp_unsubscribed=None)

    def settled(self, contacts: Sequence[Contact]) -> CheckedContacts:
        """Returns the contacts as they may be sent; looks up those that depend on it, four at a time.

        Raises InterruptedRunError.
        """
        open_ = [contact for contact in contacts if depends(contact)]
        if not open_:
            return CheckedContacts(tuple(contacts))
        chosen = self._within_allowance(open_)
        found: dict[str, tuple[Sight, bool]] = dict.fromkeys((contact.id for contact in open_), ("unknown", False))
        if chosen:
            self._looks_up(len(chosen))
            with decode_slot.released(), ThreadPoolExecutor(min(AT_ONCE, len(chosen)), "held") as pool:
                found |= zip((contact.id for contact in chosen), pool.map(self._counted, chosen), strict=True)
        seen = {contact_id: sight for contact_id, (sight, _) in found.items()}
        asked = Counter(contact.marketing_optin for contact in open_ if found[contact.id][1])
        neither = [contact.id for contact in open_ if contact.marketing_optin == "NOT_SPECIFIED"]
        return CheckedContacts(
            tuple(_allowed(contact, seen[contact.id]) if contact.id in seen else contact for contact in contacts),
            absent=frozenset(contact_id for contact_id, sight in seen.items() if sight == "absent"),
            unknown=frozenset(contact_id for contact_id in neither if seen[contact_id] == "unknown"),
            asked=LookUps(asked["NOT_SPECIFIED"], asked["EXPLICITLY_OPTEDOUT"]),
        )

    def _within_allowance(self, contacts: Iterable[Contact]) -> list[Contact]:
        """Returns those who may still be looked up; the allowance is theirs from here on."""
        chosen = []
        with self._lock:
            for contact in contacts:
                kind = contact.marketing_optin or ""
                if self._left[kind] > 0:
                    self._left[kind] -= 1
                    chosen.append(contact)
        return chosen

    def _counted(self, contact: Contact) -> tuple[Sight, bool]:
        try:
            return self._look_up(contact)
        finally:
            self._looks_up(-1)

    def _look_up(self, contact: Contact) -> tuple[Sight, bool]:
        """Returns what Ometria holds, and whether it was asked."""
        if self._rests(contact.marketing_optin or ""):
            return "unknown", False
        try:
            held = self._contacts.contact(contact.collection, contact.id)
        except UnknownContactError:
            self._failed()
            return "unknown", True
        self._failures = 0
        if held is None:
            return "absent", True
        return ("out" if held.marketing_optin == "EXPLICITLY_OPTEDOUT" else "other"), True

    def _rests(self, kind: str) -> bool:
        """Says whether nobody is looked up for a while; gives the allowance for this contact back then."""
        with self._lock:
            rests = time.monotonic() < self._rests_until
            self._left[kind] += rests
            return rests

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES:
                self._rests_until = time.monotonic() + REST


def settled_alone(contacts: Iterable[Contact], held: HeldLookups | None) -> CheckedContacts:
    """Returns the consent of members who cannot be sent whole, where it tells Ometria something new.

    Without an address it makes no new contact in Ometria, but changes one (fact ometria-no-address), and none has to be
    made of a member who neither opted in nor out. `held`: None in a list's first run, in which Ometria holds none of
    them. Raises InterruptedRunError.
    """
    if held is None:
        return CheckedContacts(
            tuple(contact for contact in contacts if contact.email and contact.marketing_optin == "EXPLICITLY_OPTEDOUT")
        )
    found = held.settled(tuple(contacts))
    told = tuple(contact for contact in found.contacts if _says_something(contact, found.absent))
    return replace(found, contacts=told)


def _says_something(contact: Contact, absent: frozenset[str]) -> bool:
    if contact.marketing_optin == "EXPLICITLY_OPTEDOUT":
        return bool(contact.email) or contact.id not in absent
    is_empty = contact.marketing_optin is None and contact.channels is None
    return not is_empty and contact.id not in absent


def _allowed(contact: Contact, sight: Sight) -> Contact:
    """Returns the contact so that it neither lifts an opt-out in Ometria without an opt-in, nor gives it a new time.

    NOT_SPECIFIED takes back what was said before (fact ometria-not-specified).
    """
    if contact.marketing_optin == "NOT_SPECIFIED":
        return msgspec.structs.replace(contact, marketing_optin=None) if sight == "out" else contact
    if sight in ("other", "absent"):
        return contact
    return msgspec.structs.replace(contact, timestamp_unsubscribed=None)
