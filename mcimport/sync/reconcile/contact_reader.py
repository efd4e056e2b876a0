"""The contacts of one list as Ometria holds them at this moment, addresses included: callers keep none of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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

    def is_few(self, number: int) -> bool:
        """Says whether so many contacts are better read one by one."""
        return number <= max(FEW, self._pages)

    def read_each(self, ids: Sequence[str], *, should_exist: bool) -> dict[str, HeldContact]:
        """Reads these contacts one by one, and returns those that are there.

        `should_exist`: all should be; then only a pass over the whole collection may tell that one is not.

        Raises UnknownContactError where it cannot be told, and InterruptedRunError.
        """
        asked = {
            member_id: self._contacts.contact(self._collection, f"{self._list_key}-{member_id}".lower())
            for member_id in ids
        }
        found = {member_id: contact for member_id, contact in asked.items() if contact is not None}
        if should_exist and len(found) < len(asked):
            raise UnknownContactError("Ometria does not find a contact that it listed just before")
        return found

    def pages(self) -> Iterator[dict[str, HeldContact]]:
        """Yields all contacts of the list, a page at a time; some come twice. Raises what reading them raises."""
        for page in self._contacts.listing(self._collection):
            yield contacts_of_list(page, self._list_key)


def contacts_of_list(page: Iterable[HeldContact], list_key: str) -> dict[str, HeldContact]:
    """Returns the contacts of the list among these, by their members' ids."""
    by_id = ((own_part(contact.id, list_key), contact) for contact in page)
    return {member_id: contact for member_id, contact in by_id if member_id is not None}
