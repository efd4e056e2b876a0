"""Stores the records pushed to an Ometria account: validated a moment later, merged by collection and id.

They are validated by the contact's JSON Schema, a file of the package: the one thing that sandbox and importer share.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from threading import RLock
from typing import Any

import jsonschema_rs

from mcimport.sandbox.settings import SandboxSettings

Contact = dict[str, Any]
ContactKey = tuple[str, str]
PushError = dict[str, str]
"""`error_message` and `error_path`, as `GET /push/_errors` lists them."""

SCHEMA: dict[str, Any] = json.loads((files("mcimport") / "contact.schema.json").read_text(encoding="utf-8"))
"""Requires everything that the importer always sends; Ometria requires less."""
_REQUIRED_IF_NEW = ("@type", "@collection", "id", "email")
_REQUIRED = ("@type", "id")
_VALIDATOR = jsonschema_rs.Draft7Validator({**SCHEMA, "required": []}, validate_formats=True)

_OPT_IN = "EXPLICITLY_OPTEDIN"
_OPT_OUT = "EXPLICITLY_OPTEDOUT"
_UNSPECIFIED = "NOT_SPECIFIED"


class RateLimit:
    """Allows a number of requests in any second."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def allows(self, now: float, limit: int, jitter: float) -> bool:
        """Returns whether one more request is allowed now, and counts it if so. The second is shorter by `jitter`."""
        while self._times and self._times[0] <= now - (1 - jitter):
            self._times.popleft()
        if len(self._times) >= limit:
            return False
        self._times.append(now)
        return True


class OmetriaAccount:
    """Holds an account's contacts, queue and limits; for use by any thread. Times are monotonic seconds.

    Attributes:
        errors: the latest 100 errors of validation; they do not say of which record.
        subscription_events: how many there were, by collection: first opt-ins of contacts whose record also had a
            `timestamp_subscribed`. Each can start a welcome campaign.
    """

    def __init__(self, key: str, settings: SandboxSettings) -> None:
        self.key = key
        self.open = 0
        self.pushes, self.reads = RateLimit(), RateLimit()
        self.errors: deque[PushError] = deque(maxlen=100)
        self.subscription_events: Counter[str] = Counter()
        self._settings = settings
        self._lock = RLock()
        self._contacts: dict[ContactKey, Contact] = {}
        self._orders: dict[str | None, list[ContactKey]] = {None: []}  # by collection, and of all of them
        self._opted_in: set[ContactKey] = set()
        self._pending: deque[tuple[float, Contact]] = deque()
        self._queued = 0.0
        self._drained_at = time.monotonic()

    def receive(self, records: list[Contact]) -> None:
        """Receives records; they are validated and stored after the settling time, in this order."""
        due = time.monotonic() + self._settings.settling
        with self._lock:
            self._pending.extend((due, record) for record in records)
            self._queued += len(records) if self._settings.queue_drain is not None else 0

    def queue_remaining(self) -> int:
        """Returns how many more records the queue takes."""
        now, drain = time.monotonic(), self._settings.queue_drain
        with self._lock:
            self._queued = 0.0 if drain is None else max(0.0, self._queued - drain * (now - self._drained_at))
            self._drained_at = now
            return int(self._settings.queue_limit - self._queued)

    def contacts(self) -> dict[ContactKey, Contact]:
        """Returns contacts in the order of their first push."""
        with self._lock:
            return {key: dict(contact) for key, contact in self._contacts.items()}

    def contact(self, key: ContactKey) -> Contact | None:
        with self._lock:
            self.validate()
            return self._contacts.get(key)

    def mailable(self) -> set[str]:
        consents: dict[str, set[object]] = {}
        for contact in self.contacts().values():
            address = str(contact.get("email") or "").strip().lower()
            consents.setdefault(address, set()).add(contact.get("marketing_optin"))
        consents.pop("", None)
        return {address for address, said in consents.items() if _OPT_IN in said and _OPT_OUT not in said}

    def latest_errors(self) -> list[PushError]:
        with self._lock:
            self.validate()
            return list(self.errors)

    def page(self, collection: str | None, address: str | None, offset: int, limit: int) -> list[Contact]:
        """Returns a page of contacts in the order in which they were first stored; a deletion moves all later ones.

        `address`: of those alone that have it, in whichever case; None for all.
        """
        with self._lock:
            self.validate()
            keys = self._orders.get(None if self._settings.collection_ignored else collection, [])
            if address is not None:
                keys = [key for key in keys if str(self._contacts[key].get("email")).lower() == address.lower()]
            if self._settings.newest_first:
                keys = keys[::-1]
            return [self._contacts[key] for key in keys[offset : offset + limit]]

    def delete(self, keys: Iterable[ContactKey]) -> None:
        """Deletes contacts, which no call of the API does."""
        with self._lock:
            gone = {key for key in keys if self._contacts.pop(key, None) is not None}
            for order in self._orders.values():
                order[:] = [key for key in order if key not in gone]

    def validate(self, *, everything: bool = False) -> None:
        """Validates and stores the records that are due; all pending ones with `everything`."""
        now = time.monotonic()
        with self._lock:
            while self._pending and (everything or self._pending[0][0] <= now):
                self._store(self._pending.popleft()[1])

    def _store(self, record: Contact) -> None:
        key = (str(record.get("@collection")), str(record.get("id")))
        is_known = key in self._contacts and self._settings.without_address != "dropped"
        is_dropped = record.get("id") in self._settings.drops
        error = _push_error("not a valid value", "email") if is_dropped else first_error(record, is_known=is_known)
        error = error or self._unknown_property(record)
        if error is not None:
            self.errors.append(error)
        elif record["@type"] == "contact":
            if key not in self._contacts:
                for order in (self._orders[None], self._orders.setdefault(key[0], [])):
                    order.append(key)
            self._contacts[key] = self._stored(self._contacts.get(key, {}), record)
            self._count_event(key, record)

    def _unknown_property(self, record: Contact) -> PushError | None:
        unknown = record.get("properties", {}).keys() - self._settings.created_properties
        is_wrong = self._settings.other_properties == "dropped" and record["@type"] == "contact" and unknown
        return _push_error("unknown field", "properties", min(unknown)) if is_wrong else None

    def _stored(self, before: Contact, record: Contact) -> Contact:
        """Returns what a contact is after a record of it."""
        settings, said = self._settings, record.get("marketing_optin")
        after = dict(record) if settings.replaces else _merged(before, record)
        if settings.unspecified_keeps and said == _UNSPECIFIED and "marketing_optin" in before:
            after["marketing_optin"] = before["marketing_optin"]
        if settings.dates_opt_ins and said == _OPT_IN != before.get("marketing_optin"):
            after["timestamp_subscribed"] = record.get("timestamp_subscribed") or datetime.now(UTC).isoformat()
        if settings.other_properties != "stored" and "properties" in after:
            kept = after["properties"].items()
            after["properties"] = {name: value for name, value in kept if name in settings.created_properties}
        return after

    def _count_event(self, key: ContactKey, record: Contact) -> None:
        if record.get("marketing_optin") != _OPT_IN or key in self._opted_in:
            return
        self._opted_in.add(key)
        if record.get("timestamp_subscribed"):
            self.subscription_events[key[0]] += 1


def first_error(record: dict[str, Any], *, is_known: bool) -> PushError | None:
    """Returns the first error of a record; None for a valid one. Of other types than contacts only ids are checked.

    `is_known`: a record with its id is stored already, so this one may be a part only.
    """
    is_contact = record.get("@type") == "contact"
    for name in _REQUIRED_IF_NEW if is_contact and not is_known else _REQUIRED:
        if name not in record:
            return _push_error("required", name)
    if not is_contact or _VALIDATOR.is_valid(record):
        return None
    unknown = next((name for name in record if name not in SCHEMA["properties"]), None)
    if unknown is not None:
        return _push_error("unknown field", unknown)
    return _push_error("not a valid value", *map(str, next(_VALIDATOR.iter_errors(record)).instance_path[:1]))


def _push_error(message: str, *names: str) -> PushError:
    return {"error_message": message, "error_path": " > ".join(("root", *names))}


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merges objects field by field; other values are replaced, and fields that are not named stay."""
    both = dict(old)
    for name, value in new.items():
        before = both.get(name)
        both[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return both
