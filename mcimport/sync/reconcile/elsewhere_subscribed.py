"""Asks whether members who are gone from a list are subscribed on another listing of the same Ometria account.

This folder's README says why, and how they are found. What decides is Mailchimp's answer today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TypeVar

from mcimport.config import Client
from mcimport.convert import is_contact_id, make_converter, member_id, optin_of
from mcimport.errors import ConfigError, NotFoundError, RetriableError, ServiceError
from mcimport.models import ContactRules, Converted, ListFields, Member
from mcimport.services.connections import ConnectionPool
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.sync.reconcile.account_lists import AccountList, by_key, listings_of
from mcimport.sync.reconcile.compare import Comparer

T = TypeVar("T")

AT_ONCE = 10  # people who are asked about at a time, within each account's connection limit
MOST_FAILURES = 3  # requests to one list that failed after all retries; after these it is not asked any more
WITNESSES = 100  # members of a list among whom one with an address is sought
WITNESS_FIELDS = ("contact_id", "web_id", "email_address", "last_changed")


class ElsewhereSubscribed:
    """Asks which members who are gone are subscribed elsewhere; belongs to the thread that owns the list run's state.

    Makes no request before a member is gone. Connections to other clients' accounts are opened in `opened`.
    """

    def __init__(self, comparer: Comparer, accounts: ConnectionPool, opened: ExitStack) -> None:
        self._comparer = comparer
        self._list_run = comparer.list_run
        self._accounts = accounts
        self._opened = opened
        self._mailchimps: dict[str, MailchimpClient | None] = {}
        self._lists: dict[tuple[str, str], _AskedList | None] = {}

    def among(self, addresses: Mapping[str, str | None]) -> dict[str, bool | None]:
        """Says of each member who is gone, by id, whether they are subscribed elsewhere; None: that cannot be told.

        `addresses`: by id; None where the address is not known: then only the listings that Ometria holds are asked.

        Raises InterruptedRunError and StateError; where a service fails, the answer is None.
        """
        is_unclear = self._has_unread_collections
        asked = [self._asked_for(known) for known in self._comparer.known if known.is_carried]
        people = [self._person(own_id, address, asked) for own_id, address in addresses.items()]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="elsewhere") as pool:
            answers = list(pool.map(partial(self._ask, is_unclear=is_unclear), people))
        doubtful = {asked_list for answer in answers for asked_list in answer.absent}
        believed = {asked_list: asked_list.finds_others() for asked_list in doubtful}
        return {own_id: answer.verdict(believed) for own_id, answer in zip(addresses, answers, strict=True)}

    # ---- what Ometria holds

    @cached_property
    def _has_unread_collections(self) -> bool:
        """Reads the account's other collections, once; one that cannot be read may have listings that were not met."""
        row = self._list_run.row
        self._comparer.differences.note_same_addresses(row.list_key.lower(), row.collection)
        others = dict.fromkeys(known.collection for known in self._comparer.known)
        others.pop(row.collection, None)
        unread = [collection for collection in others if not self._read(collection)]
        return bool(unread)

    def _read(self, collection: str) -> bool:
        known, fingerprinter = self._known(collection), self._comparer.lookup.fingerprinter
        try:
            for page in self._list_run.services.contacts.listing(collection):
                listings = listings_of(page, known, fingerprinter)
                self._comparer.differences.note_elsewhere(collection, listings, only_of_gone=True)
        except ServiceError as error:
            self._list_run.warn(f"could not check who is subscribed in the collection {collection}: {error}")
            return False
        return True

    def _person(self, own_id: str, address: str | None, asked: list[_AskedList | None]) -> _Person:
        differences, this_list = self._comparer.differences, self._list_run.list_key.lower()
        digest, address = differences.address_of(own_id), (address or "").strip()
        held = [
            (self._asked_for(self._known(collection).get(list_key)), other_id)
            for other_id, list_key, collection in differences.same_addresses(digest)
            # The same member in a collection that the list went to before is gone from there, too.
            if (other_id, list_key) != (own_id, this_list)
        ]
        is_another = bool(address) and self._comparer.lookup.fingerprinter.of_address(address) != digest
        return _Person(address, digest, held, asked if address else [], is_another)

    # ---- the lists to ask

    def _known(self, collection: str) -> dict[str, AccountList]:
        return by_key(self._comparer.known, collection)

    def _asked_for(self, known: AccountList | None) -> _AskedList | None:
        """Returns the list; None where no client in the settings has it, or the client's key cannot be read."""
        if known is None or known.client is None:
            return None
        place = (known.client.name, known.list_key.lower())
        if place not in self._lists:
            mailchimp, of_address = self._mailchimp(known.client), self._comparer.lookup.fingerprinter.of_address
            asked = _AskedList(known.list_key, mailchimp, known.rules(known.client), of_address) if mailchimp else None
            self._lists[place] = asked
        return self._lists[place]

    def _mailchimp(self, client: Client) -> MailchimpClient | None:
        if client.name == self._list_run.client.name:
            return self._list_run.services.mailchimp
        if client.name not in self._mailchimps:
            try:
                opened = self._opened.enter_context(self._accounts.open_mailchimp(client, self._list_run.services))
            except ConfigError as error:
                self._list_run.warn(f"could not check whether deleted members are subscribed on other lists: {error}")
                opened = None
            self._mailchimps[client.name] = opened
        return self._mailchimps[client.name]

    # ---- the questions, in threads

    def _ask(self, person: _Person, *, is_unclear: bool) -> _Answer:
        answer = _Answer({None} if is_unclear or person.is_another else set())
        check_not_stopped = self._list_run.services.mailchimp.check_not_stopped
        for asked_list, own_id in person.held:
            check_not_stopped()
            answer.said.add(asked_list.by_id(own_id, person.digest) if asked_list else None)
            if True in answer.said:
                return answer
        for asked_list in dict.fromkeys(person.asked):
            check_not_stopped()
            try:
                answer.said.add(asked_list.by_address(person.address) if asked_list else None)
            except NotFoundError:
                answer.absent.extend([asked_list] if asked_list else [])
            if True in answer.said:
                return answer
        return answer


@dataclass(frozen=True)
class _Person:
    """Holds what is asked about one member who is gone.

    Attributes:
        digest: that of the address, as Ometria held it when the list was compared.
        held: listings that Ometria holds opted in under it: the list to ask (None: there is none), and the member's id.
        asked: lists to ask for the address.
        is_another: the address changed since the list was compared, so `held` may be incomplete.
    """

    address: str = field(repr=False)
    digest: bytes
    held: list[tuple[_AskedList | None, str]]
    asked: list[_AskedList | None]
    is_another: bool


@dataclass
class _Answer:
    """Collects the answers about one member; None: a list could not tell. `absent`: lists without the address (404)."""

    said: set[bool | None]
    absent: list[_AskedList] = field(default_factory=list)

    def verdict(self, believed: Mapping[_AskedList, bool]) -> bool | None:
        """Says whether the member is subscribed elsewhere; `believed`: whether the 404s of a list may be believed."""
        if True in self.said:
            return True
        return None if None in self.said or not all(believed[asked_list] for asked_list in self.absent) else False


@dataclass(eq=False)
class _AskedList:
    """Asks one list for its members; shared between threads."""

    key: str
    mailchimp: MailchimpClient
    rules: ContactRules
    of_address: Callable[[object], bytes]
    failures: int = 0

    def by_id(self, contact_id: str, address: bytes) -> bool | None:
        """Says whether that member is subscribed under this address (a digest); None where that cannot be told."""
        if not is_contact_id(contact_id):
            return None  # Mailchimp finds no member by a web_id
        try:
            member = self._tried(lambda: self.mailchimp.member(self.key, contact_id))
        except ServiceError:
            return None
        if member_id(member) != contact_id:
            return None
        return self._is_subscribed(member) if self.of_address(member.email_address) == address else False

    def by_address(self, address: str) -> bool | None:
        """Says whether a member of the list is subscribed under it. Raises NotFoundError where none has it."""
        try:
            return self._is_subscribed(self._tried(lambda: self.mailchimp.member_by_address(self.key, address)))
        except NotFoundError:
            raise
        except ServiceError:
            return None

    def finds_others(self) -> bool:
        """Says whether a 404 may be believed: a member of the list is found by their address, or the list is empty.

        A 404 for everything at once has been seen, and passed.
        """
        witnesses = self.mailchimp.with_fields(WITNESS_FIELDS)
        try:
            page = self._tried(lambda: witnesses.first_page(self.key, "listed", None, WITNESSES))
            texts = (member.email_address for member in page.members if isinstance(member.email_address, str))
            address = next(filter(str.strip, texts), None)
            if address is not None:
                self._tried(lambda: self.mailchimp.member_by_address(self.key, address))
        except ServiceError:
            return False
        return address is not None or not page.total

    def _tried(self, ask: Callable[[], T]) -> T:
        """Asks. Raises what Mailchimp raises; RetriableError, without a request, where too many failed before."""
        if self.failures >= MOST_FAILURES:
            raise RetriableError("this list failed too often")
        try:
            return ask()
        except NotFoundError:
            raise
        except ServiceError:
            self.failures += 1
            raise

    def _is_subscribed(self, member: Member) -> bool | None:
        """Says whether the member would be opted in; None: their consent would be left as Ometria holds it.

        Consent does not depend on the list's own fields.
        """
        converted = make_converter(ListFields(), self.rules)(member)
        if isinstance(converted, Converted):
            optin = converted.contact.marketing_optin
        else:
            optin = optin_of(member, self.rules, has_permissions=bool(self.rules.permissions))
        return None if optin is None else optin == "EXPLICITLY_OPTEDIN"
