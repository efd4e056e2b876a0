"""Pushes one invented contact to a collection of its own, step by step, and reads after each step what became of it.

It is opted in for some seconds, to see what takes an opt-in back, and opted out at the end, whatever happens before.
Each step sends a name of its own, by which a read shows that it has seen that push.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mcimport.errors import InterruptedRunError, ServiceError
from mcimport.monitoring.probe.ometria_answers import QUEUE_HEADERS, Found, contacts_of
from mcimport.services.http.raw_answer import decoded
from mcimport.services.ometria.raw_requests import RawRequests

COLLECTION, CONTACT = "mcimport-probe", "probe"
PROPERTY = "mcimport_probe"  # a property that the application does not have
MIDDLENAME = "Invented"  # sent in the first step alone
IN, OUT, UNSAID = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"

# Seconds for which pushes are waited for: in all, without the last; the first; the others, of which each has as many
# times as long as the first took, within bounds; the last.
WAIT_IN_ALL = 48.0
FIRST_WAIT = 25.0
NEXT_WAIT_TIMES, SHORTEST_WAIT, LONGEST_WAIT = 3.0, 3.0, 12.0
LAST_WAIT = 8.0
PAUSE = 0.3  # seconds between two reads, beside the limit for reading


@dataclass(frozen=True, repr=False)
class Step:
    """Holds what became of one push.

    Attributes:
        pushed_at: epoch seconds.
        is_accepted: Ometria accepted the record when it was pushed.
        settled: seconds until the push was read back; None: it was not, for as long as was waited.
        contact: as it was read back last; empty where there was none.
    """

    pushed_at: float
    is_accepted: bool
    settled: float | None
    contact: Found


@dataclass(eq=False, repr=False)
class WrittenContact:
    """Makes the steps. Only `address` is not invented: the operator's own.

    Attributes:
        before: the contact as an earlier probe left it; empty where it was not there.
        steps: by name, as far as they were made: `created`, opted in without a time; `without_address`, with other
            names and nothing else; `unsaid`, `NOT_SPECIFIED`; `property`, with `PROPERTY`; `ended`, opted out.
        is_listed_first: the contact, new to the account, comes first in the list of all contacts. None: there is no
            other contact, or it is not new.
        headers: the headers about the queue that came with a push.
        is_begun: a push has left, or tried to: Ometria may hold the contact from then on.
    """

    requests: RawRequests
    address: str
    property_value: int = field(default_factory=lambda: secrets.randbelow(10**6), init=False)
    before: Found = field(default_factory=dict, init=False)
    steps: dict[str, Step] = field(default_factory=dict, init=False)
    is_listed_first: bool | None = field(default=None, init=False)
    headers: set[str] = field(default_factory=set, init=False)
    is_begun: bool = field(default=False, init=False)
    _way: Callable[[], Found | None] | None = field(default=None, init=False)
    _waits_until: float = field(default=0.0, init=False)

    @property
    def is_over(self) -> bool:
        """The contact was seen opted out, or nothing was pushed: nobody has to look whether it is."""
        ended = self.steps.get("ended")
        if ended is None or ended.settled is None:
            return not self.is_begun
        return ended.contact.get("marketing_optin") not in (IN, None)

    def write(self) -> None:
        """Makes all steps that make sense. Raises as `RawRequests`, when the contact has been opted out."""
        self.before = self._read() or {}
        self._waits_until = time.monotonic() + WAIT_IN_ALL
        try:
            for name, fields in self._planned():
                self.requests.check_not_stopped()
                self._make(name, fields)
        finally:
            self._end()

    def _planned(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "created", {"email": self.address, "middlename": MIDDLENAME, "marketing_optin": IN}
        if self.steps["created"].settled is None:
            return
        if not self.before:
            self.is_listed_first = self._listed_first()
        yield "without_address", {}
        yield "unsaid", {"email": self.address, "marketing_optin": UNSAID}
        yield "property", {"email": self.address, "properties": {PROPERTY: self.property_value}}

    def _end(self) -> None:
        """Opts the contact out, also where the probe was stopped or failed."""
        self._waits_until = time.monotonic() + LAST_WAIT
        with suppress(ServiceError, InterruptedRunError):
            self._make("ended", {"email": self.address, "marketing_optin": OUT})

    def _make(self, name: str, fields: dict[str, Any]) -> None:
        token = f"Probe {secrets.token_hex(4)}"
        record: dict[str, Any] = {
            "@type": "contact",
            "@collection": COLLECTION,
            "id": CONTACT,
            "firstname": token,
            "lastname": token,
        }
        at = time.time()
        self.is_begun = True
        answer = self.requests.push(record | fields)
        self.headers.update(header for header in QUEUE_HEADERS if header in answer.headers)
        receipt = decoded(answer)
        is_accepted = isinstance(receipt, dict) and receipt.get("accepted") == 1
        self.steps[name] = Step(at, is_accepted, None, {})  # stays where no read can be made
        settled, contact = self._waited(token, self._wait(name)) if is_accepted else (None, {})
        self.steps[name] = Step(at, is_accepted, settled, contact)

    def _wait(self, name: str) -> float:
        """Returns how many seconds the push of this step is waited for."""
        first = self.steps.get("created")
        if name == "created" or first is None or first.settled is None:
            longest = FIRST_WAIT
        else:
            longest = min(LONGEST_WAIT, max(SHORTEST_WAIT, NEXT_WAIT_TIMES * first.settled))
        return min(longest, self._waits_until - time.monotonic())

    def _waited(self, token: str, seconds: float) -> tuple[float | None, Found]:
        began = time.monotonic()
        while True:
            contact = self._read() or {}
            took = time.monotonic() - began
            if token in (contact.get("firstname"), contact.get("lastname")):
                return took, contact
            if took >= seconds or self.requests.policy.stop.requested.wait(PAUSE):
                return None, contact

    def _read(self) -> Found | None:
        """Returns the contact by the way that found it before, else by the first that does; None where none does."""
        ways: Sequence[Callable[[], Found | None]] = (self._single, self._listed, self._by_address)
        for way in [self._way] if self._way else ways:
            if (found := way()) is not None:
                self._way = way
                return found
        return None

    def _single(self) -> Found | None:
        found = decoded(self.requests.get(f"contacts/{COLLECTION}/{CONTACT}"))
        return found if isinstance(found, dict) and found.get("id") == CONTACT else None

    def _listed(self) -> Found | None:
        return self._ours(collection=COLLECTION, limit="250")

    def _by_address(self) -> Found | None:
        return self._ours(email=self.address, limit="250")

    def _ours(self, **params: str) -> Found | None:
        found = contacts_of(self.requests.get("contacts", params)) or ()
        return next((one for one in found if (one.get("@collection"), one.get("id")) == (COLLECTION, CONTACT)), None)

    def _listed_first(self) -> bool | None:
        page = contacts_of(self.requests.get("contacts", {"limit": "2"})) or ()
        if len(page) < 2:  # noqa: PLR2004 - alone, it is first in any order
            return None
        return (page[0].get("@collection"), page[0].get("id")) == (COLLECTION, CONTACT)
