"""What a list went through, person by person, noted by the list itself as it happens."""

from __future__ import annotations

import re
from collections import defaultdict

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_list import ARCHIVED
from mcimport.sandbox.audience.stored_member import second_of

# Seconds before the first sync: who is archived in the minute before it begins, or just then, may come or stay away.
ARCHIVED_SURELY_BEFORE = 65
SHORTEST_NAME = 5  # letters; a shorter name may stand in any word


class MemberHistory:
    """Listens to an audience from the beginning. Told in whichever thread changes it, under its lock.

    Attributes:
        addresses: everybody's, former ones too, by member number; those of the deleted stay.
        contact_ids: everybody's id, as it stands behind the list's in Ometria's, by member number.
        barred: who was archived before the first sync and was not on the list since.
        begun: the service's second in which the first sync began; 0 before it.
        left: who ever had a status that is a no, by member number.
        dropped: contacts that Ometria lost, or whose record it accepted and may have dropped, by collection and id.
        said_no: contacts of whom Ometria was told a no itself, by collection and id.
    """

    def __init__(self, audience: Audience, collection: str = "mailchimp") -> None:
        self.collection = collection
        self.left: set[int] = set()
        self.dropped: set[tuple[str, str]] = set()
        self.said_no: set[tuple[str, str]] = set()
        self.addresses: defaultdict[int, set[str]] = defaultdict(set)
        self.contact_ids: dict[int, str] = {}
        self.names: set[str] = set()
        self.barred: set[int] = set()
        self.begun = 0
        self._audience = audience
        with audience.lock:
            for number in audience.rows:
                self._note(number)
            audience.listeners.append(self._note)

    def begin(self, second: int) -> None:
        """The first sync is about to be started."""
        if self.begun:
            return
        self.begun = second
        with self._audience.lock:
            rows = self._audience.rows.values()
            self.barred = {
                row.number
                for row in rows
                if row.status == ARCHIVED and second_of(row.key) < second - ARCHIVED_SURELY_BEFORE
            }

    def key_of(self, number: int) -> tuple[str, str]:
        """Collection and id of the contact that this member is, or was."""
        return self.collection, f"{self._audience.list_key}-{self.contact_ids[number]}".lower()

    def secrets_in(self, text: str) -> int:
        """How many addresses and names of anybody, ever, stand in a text."""
        low = text.lower()
        with self._audience.lock:  # people may be changing all the while
            addresses = {address.lower() for some in self.addresses.values() for address in some}
            names = set(self.names)
        words = set(re.findall(r"[^\W\d_]+", text))
        return sum(address in low for address in addresses) + len(words & names)

    def _note(self, number: int) -> None:
        person = self._audience.member(number)
        if self._audience.rows[number].status in ("unsubscribed", "cleaned", ARCHIVED):
            self.left.add(number)
        if self._audience.rows[number].status != ARCHIVED:
            self.barred.discard(number)
        self.contact_ids[number] = str(person.get("contact_id") or person.get("web_id") or "")
        if address := person.get("email_address"):
            self.addresses[number].add(address)
        fields = person.get("merge_fields")
        for tag in ("FNAME", "LNAME"):
            name = fields.get(tag) if isinstance(fields, dict) else None
            if isinstance(name, str) and len(name) >= SHORTEST_NAME and name.isalpha():
                self.names.add(name)
