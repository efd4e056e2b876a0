"""Reads contacts back from Ometria: single ones, and whole collections, page by page, while they change.

Source of the facts: Ometria's Data API v2 documentation and its users' reports. Contacts are listed in the order of an
internal id: a new one comes last. One that is removed moves all later ones to lower offsets, past a plain reader. So
each page begins with the last contact of the page before: where it does not, the reader goes back until it finds a
contact that it has seen. The name of the filter by collection is from memory: each contact names its collection itself.
(Facts ometria-order, ometria-page, ometria-filter.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from mcimport.errors import (
    FatalError,
    IgnoredParameterError,
    NotFoundError,
    RejectedError,
    RetriableError,
    ServiceError,
)
from mcimport.models import HeldContact
from mcimport.services.http import decode_slot
from mcimport.services.http.response import Response
from mcimport.services.http.retry import call_with_retry
from mcimport.services.http.service_requests import RateLimitedRequests

PAGE = 250  # contacts, the most that are given at once
AHEAD = 4  # pages requested while the present one is processed, so that a slow response does not lower the pace
REMEMBERED = 4  # pages whose contacts are recognized
MOST_BEGINNINGS = 10  # times that a pass may go back to the first contact
MOST_STALE = 20  # pages in a row without a new contact
MOST_OTHERS = 1_000_000  # contacts of other collections that are read where the filter does not work: over an hour

BUSY_FOR = 10.0  # seconds for which the account may refuse one more request, before a single contact is given up

Page = list[HeldContact]

_NOT_UNDERSTOOD = "(empty, cut off or in another format)"
_CONTACTS = msgspec.json.Decoder(list[HeldContact])  # both before any thread begins: see `mailchimp.responses`
_CONTACT = msgspec.json.Decoder(HeldContact)


class UnknownContactError(RetriableError):
    """It cannot be told whether Ometria has a contact of this id, or which."""


@dataclass(eq=False, repr=False)
class Contacts(RateLimitedRequests):
    """Reads the contacts of one account. Safe to share between threads.

    Every method raises FatalError for what no other try can change, RetriableError when the tries are used up, and
    InterruptedRunError.
    """

    _answered: set[str] = field(default_factory=set, init=False)  # collections in which single contacts are found
    _unanswered: set[str] = field(default_factory=set, init=False)  # in which none is found, though it is there

    def lacks_single(self, collection: str) -> bool:
        """Says whether a contact of the collection was not found by its id though it is there."""
        return collection in self._unanswered

    def listing(self, collection: str) -> Listing:
        """Returns a pass over a collection."""
        return Listing(self, collection)

    def page(self, collection: str, offset: int) -> Page:
        """Returns the contacts from `offset` on, 250 at most, of whatever collections."""
        params = {"collection": collection, "limit": str(PAGE), "offset": str(offset)}

        def ask() -> Page:
            try:
                answer = self._get("contacts", params)
            except NotFoundError as error:  # an incident that passes, as with pushes; else the address is wrong
                hint = f"Does {self.http.setting} end in /v2?"
                raise RetriableError(f"{error}: no contacts can be read there", hint=hint, status=404) from None
            return answer.decode(_CONTACTS, f"Ometria's response is not a list of contacts {_NOT_UNDERSTOOD}")

        try:
            return call_with_retry(self.policy, ask)
        except RejectedError as error:
            raise FatalError(f"{error}: it did not accept the request", status=error.status) from None

    def contact(self, collection: str, contact_id: str, *, is_twice: bool = True) -> HeldContact | None:
        """Returns one contact by its id; None where there is none, by two responses (one unless `is_twice`).

        It is not documented whether Ometria returns single contacts (fact ometria-single): the first 404 is only
        believed when another contact of the collection, one that was just listed, is found in the same way.

        Raises UnknownContactError where that cannot be told; InterruptedRunError.
        """
        try:
            found = self._believed(collection, contact_id)
            # A 404 has been seen, in passing, for everything at once.
            return self._single(collection, contact_id) if found is None and is_twice else found
        except ServiceError as error:
            raise UnknownContactError(str(error), status=error.status) from None

    def holds(self, collection: str, contact_id: str) -> bool:
        """Says whether a contact is found by its id, by one try. A no may be wrong: see `contact`.

        Raises ServiceError and InterruptedRunError.
        """
        is_found = self._single(collection, contact_id) is not None
        if is_found:
            self._answered.add(collection)
        return is_found

    def _believed(self, collection: str, contact_id: str) -> HeldContact | None:
        found = None if collection in self._unanswered else self._single(collection, contact_id)
        if found is not None:
            self._answered.add(collection)
        elif collection not in self._answered and not self._answers_singly(collection):
            self._unanswered.add(collection)
            raise RetriableError("Ometria does not return single contacts")
        return found

    def _answers_singly(self, collection: str) -> bool:
        """Says whether a contact that is there is found by its id. In an empty collection every 404 is right."""
        if collection in self._unanswered:
            return False
        page = self.page(collection, 0)
        ids = (contact.id for contact in page if contact.collection == collection and isinstance(contact.id, str))
        witness = next(ids, None)
        if witness is None:
            return True
        if self._single(collection, witness) is None:
            return False
        self._answered.add(collection)
        return True

    def _single(self, collection: str, contact_id: str) -> HeldContact | None:
        """Returns one contact, by one try; None for a 404. Raises RetriableError for another contact than this."""
        path = f"contacts/{quote(collection, safe='')}/{quote(contact_id, safe='')}"
        problem = f"Ometria's response is not a contact {_NOT_UNDERSTOOD}"
        try:
            once = replace(self.policy, retries=0, busy_for=BUSY_FOR)
            found = call_with_retry(once, lambda: self._get(path, {}).decode(_CONTACT, problem))
        except NotFoundError:
            return None
        if found.id != contact_id:
            raise RetriableError("Ometria returned another contact than the one asked for")
        return found

    def _get(self, path: str, params: Mapping[str, str]) -> Response:
        """Sends one request within the limit for reading. Raises as `raise_for_status`."""
        self.check_not_stopped()
        with decode_slot.released():
            answer = self._send_with(self.permit(), "GET", path, params=params)
        self.limiter.served(None)
        return answer


@dataclass(eq=False, repr=False)
class Listing:
    """Yields the contacts of a collection, a page at a time, in one pass; some come twice.

    `others`: how many contacts of other collections were returned, for the filter does not work.
    """

    contacts: Contacts
    collection: str
    others: int = 0
    _known: deque[set[object]] = field(default_factory=lambda: deque(maxlen=REMEMBERED), init=False)

    def __iter__(self) -> Iterator[Page]:
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="contacts") as pool:
            ahead = _Ahead(self, pool)
            try:
                for page in self._pages(ahead):
                    yield [contact for contact in page if contact.collection == self.collection]
            finally:
                ahead.forget()

    def _pages(self, ahead: _Ahead) -> Iterator[Page]:
        offset, step, beginnings, stale = 0, PAGE // 2, 0, 0
        while True:
            page = ahead.page(offset)
            if offset and not (page and self._is_known(page[0])):
                # An earlier contact was removed meanwhile, or the page was too short: no contact may be passed by.
                offset, step = max(0, offset - step), step * 2
                beginnings += offset == 0
                if beginnings > MOST_BEGINNINGS:
                    raise RetriableError("Ometria's contact list kept changing while it was being read")
                continue
            step = PAGE // 2
            stale = stale + 1 if all(map(self._is_known, page)) else 0
            if stale > MOST_STALE:
                raise IgnoredParameterError("Ometria ignored offset and kept returning the same contacts")
            self._count_others(page)
            self._known.append({_key(contact) for contact in page})
            yield page
            if len(page) <= 1:
                return  # there is none after the last one
            offset += len(page) - 1

    def _is_known(self, contact: HeldContact) -> bool:
        key = _key(contact)
        return any(key in page for page in self._known)

    def _count_others(self, page: Page) -> None:
        """Counts the contacts of other collections, each once. Raises FatalError when there are too many."""
        self.others += sum(contact.collection != self.collection and not self._is_known(contact) for contact in page)
        if self.others > MOST_OTHERS:
            raise FatalError(
                f"Ometria did not filter by collection, and has more than {MOST_OTHERS:,} contacts in others",
                hint="Reading them all would take too long: ask Ometria's support for the name of the filter.",
            )


@dataclass(eq=False, repr=False)
class _Ahead:
    """Requests the pages that will be read next, as a rule, while the present one is processed."""

    listing: Listing
    pool: ThreadPoolExecutor
    asked: dict[int, Future[Page]] = field(default_factory=dict)

    def page(self, offset: int) -> Page:
        if offset not in self.asked:
            self.forget()
            self._ask(offset)
        page = self.asked.pop(offset).result()
        if len(page) == PAGE:
            for number in range(1, AHEAD):
                self._ask(offset + number * (PAGE - 1))
        return page

    def forget(self) -> None:
        for future in self.asked.values():
            future.cancel()
        self.asked.clear()

    def _ask(self, offset: int) -> None:
        if offset not in self.asked:
            self.asked[offset] = self.pool.submit(self.listing.contacts.page, self.listing.collection, offset)


def _key(contact: HeldContact) -> object:
    return (str(contact.collection), str(contact.id))
