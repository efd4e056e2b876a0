"""The contacts of one list as Ometria holds them at this moment, addresses included: callers keep none of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from mcimport.convert import own_part
from mcimport.models import HeldContact
from mcimport.services.ometria.contacts import UnknownContactError
from mcimport.sync.list_run import ListRun

FEW = 50  # contacts, which take a quarter of a minute one by one


class ContactReader:
    """Reads the contacts of one list from Ometria. Ids are the members' own, without the list.

    `pages`: how many pages a pass over the whole collection takes.
    """

    def __init__(self, list_run: ListRun, pages: int) -> None:
        self._list_key = list_run.list_key
        self._collection = list_run.row.collection
        self._contacts = list_run.services.contacts
        self._pages = pages

    def read(self, number: int, batches: Iterable[tuple[Sequence[str], bool]]) -> Iterator[dict[str, HeldContact]]:
        """Yields the contacts of these ids that are there: one by one where they are few, else among all of the list.

        `number`: how many ids there are. `batches`: some of them, and whether all of these should be there; then only a
        pass over the whole collection may tell that one is not. In such a pass some contacts come twice.

        Raises what reading the collection raises, and InterruptedRunError.
        """
        if number <= max(FEW, self._pages):
            with suppress(UnknownContactError):
                for ids, should_exist in batches:
                    yield self._read_each(ids, should_exist=should_exist)
                return
        for page in self._contacts.listing(self._collection):
            yield contacts_of_list(page, self._list_key)

    def _read_each(self, ids: Sequence[str], *, should_exist: bool) -> dict[str, HeldContact]:
        """Raises UnknownContactError where it cannot be told whether a contact is there."""
        asked = {
            member_id: self._contacts.contact(self._collection, f"{self._list_key}-{member_id}".lower())
            for member_id in ids
        }
        found = {member_id: contact for member_id, contact in asked.items() if contact is not None}
        if should_exist and len(found) < len(asked):
            raise UnknownContactError("Ometria does not find a contact that it listed just before")
        return found


def contacts_of_list(page: Iterable[HeldContact], list_key: str) -> dict[str, HeldContact]:
    """Returns the contacts of the list among these, by their members' ids."""
    by_id = ((own_part(contact.id, list_key), contact) for contact in page)
    return {member_id: contact for member_id, contact in by_id if member_id is not None}
