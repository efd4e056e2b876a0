"""What Ometria holds of a list's members at this moment, addresses and all: whoever asks keeps nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mcimport.convert import own_part
from mcimport.models import HeldContact
from mcimport.services.ometria.contacts import UnknownContactError
from mcimport.sync.list_run import ListRun

FEW = 50  # contacts, asked for one by one in a quarter of a minute


class ContactReader:
    """`pages`: what a pass over the whole collection takes. Ids are ours, without the list."""

    def __init__(self, list_run: ListRun, pages: int) -> None:
        self._list_key = list_run.list_key
        self._collection = list_run.row.collection
        self._contacts = list_run.services.contacts
        self._pages = pages

    def is_few(self, number: int) -> bool:
        """Whether so many are better asked for one by one."""
        return number <= max(FEW, self._pages)

    def singly(self, ids: Sequence[str], *, are_there: bool) -> dict[str, HeldContact]:
        """Whoever is there of these.

        `are_there`: all of them are, for all we know: that one is not is left to a pass over the collection to say.

        Raises UnknownContactError where it cannot be told, and InterruptedRunError.
        """
        asked = {own: self._contacts.contact(self._collection, f"{self._list_key}-{own}".lower()) for own in ids}
        found = {own: one for own, one in asked.items() if one is not None}
        if are_there and len(found) < len(asked):
            raise UnknownContactError("Ometria does not find a contact that it listed just before")
        return found

    def pages(self) -> Iterator[dict[str, HeldContact]]:
        """All members of the list whom Ometria holds, a page at a time; some come twice. Raises what reading raises."""
        for page in self._contacts.listing(self._collection):
            owned = ((own_part(one.id, self._list_key), one) for one in page)
            yield {own: one for own, one in owned if own is not None}
