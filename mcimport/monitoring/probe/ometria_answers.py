"""What an Ometria account answers to a dozen reads, each of which is made when it is first needed, and once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from mcimport.convert import own_part
from mcimport.services.http.raw_answer import decoded
from mcimport.services.http.response import Response
from mcimport.services.ometria.contacts import PAGE
from mcimport.services.ometria.raw_requests import RawRequests

NO_COLLECTION = "mcimport-no-such-collection"
QUEUE_HEADERS = ("x-queuesize-limit", "x-queuesize-remaining")

Found = dict[str, Any]
"""A contact, as it is read back."""


@dataclass(eq=False, repr=False)
class OmetriaAnswers:
    """Asks about one list's collection. Raises as `RawRequests`.

    `was_synced`: the list was synced to this account before, so that some of its contacts have to be there.
    `headers`: which of `QUEUE_HEADERS` any answer had.
    """

    requests: RawRequests
    collection: str
    list_key: str
    was_synced: bool = False
    headers: set[str] = field(default_factory=set, init=False)

    @cached_property
    def errors(self) -> Response:
        return self._get("push/_errors")

    @cached_property
    def page(self) -> list[Found] | None:
        """The first contacts of the collection; None for an answer that is no list of contacts."""
        return self._page(self.collection)

    @cached_property
    def page_again(self) -> list[Found] | None:
        return self._page(self.collection)

    @cached_property
    def from_the_last(self) -> list[Found] | None:
        """The page that begins with the last contact of the first one."""
        return self._page(self.collection, max(0, len(self.page or ()) - 1))

    @cached_property
    def in_no_collection(self) -> list[Found] | None:
        """What is answered where there is no contact."""
        return self._page(NO_COLLECTION)

    @cached_property
    def of_all_collections(self) -> list[Found] | None:
        return self._contacts(self._get("contacts", limit="1"))

    @property
    def own(self) -> Sequence[Found]:
        """Contacts of the list on the first page; their ids are ours, and hold nothing personal."""
        page = self.page or ()
        return [one for one in page if own_part(one.get("id"), self.list_key) is not None]

    @cached_property
    def single(self) -> Response | None:
        """The first of the list's contacts, by collection and id; None where there is none."""
        return self._single(str(self.own[0]["id"])) if self.own else None

    @cached_property
    def no_single(self) -> Response:
        """What is answered to an id that no contact has."""
        return self._single(f"{self.list_key}-{'0' * 32}")

    @cached_property
    def by_address(self) -> Response | None:
        """The contacts that have the address of the first one; None where none is read back with its address."""
        address = self.own[0].get("email") if self.own else None
        return self._get("contacts", email=address, limit=str(PAGE)) if isinstance(address, str) else None

    def _single(self, contact_id: str) -> Response:
        return self._get(f"contacts/{quote(self.collection, safe='')}/{quote(contact_id, safe='')}")

    def _page(self, collection: str, offset: int = 0) -> list[Found] | None:
        return self._contacts(self._get("contacts", collection=collection, limit=str(PAGE), offset=str(offset)))

    def _get(self, path: str, **params: str) -> Response:
        answer = self.requests.get(path, params)
        self.headers.update(name for name in QUEUE_HEADERS if name in answer.headers)
        return answer

    def _contacts(self, answer: Response) -> list[Found] | None:
        return contacts_of(answer)


def contacts_of(answer: Response) -> list[Found] | None:
    """Returns the contacts of an answer; None where it is no list of objects."""
    found = decoded(answer)
    is_list = isinstance(found, list) and all(isinstance(one, dict) for one in found)
    return found if is_list else None
