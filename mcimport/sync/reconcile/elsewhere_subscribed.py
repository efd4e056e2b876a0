"""Whether an address is subscribed on another listing of the same Ometria account, as Mailchimp says it today.

Of one person's listings one that is opted out outweighs all others, so each listing that may be subscribed counts. Two
ways lead to them: the contacts that Ometria holds opted in under the same address, in all collections of the account;
and the lists themselves, asked for the address, for whoever has just subscribed may not be in Ometria yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from mcimport.config import Client
from mcimport.convert import is_contact_id, make_converter, member_id, optin_of
from mcimport.errors import ConfigError, InterruptedRunError, NotFoundError, RetriableError, ServiceError
from mcimport.models import ContactRules, Conversion, Converted, ListFields, Member
from mcimport.services.connections import ConnectionPool
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.sync.reconcile.account_lists import AccountList, by_key, listings_of
from mcimport.sync.reconcile.compare import Comparer
from mcimport.sync.reconcile.fingerprints import Fingerprinter, SameAddress

T = TypeVar("T")

AT_ONCE = 10  # people who are asked about at a time; each account's gate lets as many through as it may
MOST_FAILURES = 3  # requests to one list that failed for good, after which it is not asked any more
WITNESSES = 100  # members of a list among whom one with an address is sought
WITNESS_FIELDS = ("contact_id", "web_id", "email_address", "last_changed")


class ElsewhereSubscribed:
    """Who of those that are gone from a list is subscribed elsewhere. Belongs to the thread that owns the task's state.

    Nothing is asked before somebody is gone.
    """

    def __init__(self, comparer: Comparer, accounts: ConnectionPool) -> None:
        self._comparer = comparer
        self._list_run = comparer.list_run
        self._accounts = accounts
        self._open = ExitStack()
        self._mailchimps: dict[str, MailchimpClient | None] = {}
        self._lists: dict[tuple[str, str], _AskedList | None] = {}
        self._has_read = False
        self._is_unread = False  # a collection could not be read: there may be listings that nobody met

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def among(self, addresses: Mapping[str, str | None]) -> dict[str, bool | None]:
        """By the id of each who is gone: whether they are subscribed elsewhere; None where that cannot be told.

        `addresses`: None where the address is not known: then only the listings that Ometria holds can be asked.

        Raises InterruptedRunError and StateError; a service that fails is a None.
        """
        self._read_collections_once()
        asked = [self._asked_for(one) for one in self._comparer.known if one.is_carried]
        people = [self._person(own, address, asked) for own, address in addresses.items()]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="elsewhere") as pool:
            answers = list(pool.map(self._ask, people))
        believed = {one: one.finds_others() for one in {one for answer in answers for one in answer.absent}}
        return {own: answer.verdict(believed) for own, answer in zip(addresses, answers, strict=True)}

    # ---- what Ometria holds

    def _read_collections_once(self) -> None:
        if self._has_read:
            return
        self._has_read = True
        own = self._list_run.row.collection
        for collection in dict.fromkeys(one.collection for one in self._comparer.known):
            if collection != own:
                self._read(collection)

    def _read(self, collection: str) -> None:
        known, fingerprinter = by_key(self._comparer.known, collection), self._comparer.lookup.fingerprinter
        try:
            for page in self._list_run.services.contacts.listing(collection):
                self._comparer.differences.note_twins(collection, listings_of(page, known, fingerprinter))
        except ServiceError as error:
            self._is_unread = True
            self._list_run.warn(f"could not check who is subscribed in the collection {collection}: {error}")

    def _person(self, own: str, address: str | None, asked: list[_AskedList | None]) -> _Person:
        differences, list_key = self._comparer.differences, self._list_run.list_key.lower()
        # The same member in a collection that the list went to before is gone from there, too.
        twins = [one for one in differences.twins_of(own) if (one.id, one.list_key) != (own, list_key)]
        held = [(self._list_of(one), one.id) for one in twins]
        digest, address = differences.address_of(own), (address or "").strip()
        is_another = bool(address) and self._comparer.lookup.fingerprinter.of_address(address) != digest
        return _Person(address, digest, held, asked if address else [], is_another)

    # ---- which list to ask

    def _list_of(self, twin: SameAddress) -> _AskedList | None:
        """None where nobody can be asked for the twin."""
        row = self._list_run.row
        key, collection = twin.list_key, twin.collection
        if key is None or collection is None:
            key, collection = row.list_key, row.collection
        found = by_key(self._comparer.known, collection).get(key.lower())
        return None if found is None else self._asked_for(found)

    def _asked_for(self, one: AccountList) -> _AskedList | None:
        """None where no client of the settings has the list, or its key cannot be read."""
        if one.client is None:
            return None
        place = (one.client.name, one.list_key.lower())
        if place not in self._lists:
            self._lists[place] = self._opened(one, one.client)
        return self._lists[place]

    def _opened(self, one: AccountList, client: Client) -> _AskedList | None:
        mailchimp = self._mailchimp(client)
        if mailchimp is None:
            return None
        rules = one.rules(client)
        return _AskedList(
            one.list_key, mailchimp, rules, make_converter(ListFields(), rules), self._comparer.lookup.fingerprinter
        )

    def _mailchimp(self, client: Client) -> MailchimpClient | None:
        if client.name == self._list_run.client.name:
            return self._list_run.services.mailchimp
        if client.name not in self._mailchimps:
            try:
                opened = self._open.enter_context(self._accounts.open_mailchimp(client, self._list_run.services))
            except ConfigError as error:
                self._list_run.warn(f"could not check whether deleted members are subscribed on other lists: {error}")
                opened = None
            self._mailchimps[client.name] = opened
        return self._mailchimps[client.name]

    # ---- asked side by side

    def _ask(self, person: _Person) -> _Answer:
        answer = _Answer(is_unclear=self._is_unread or person.is_another)
        for one, own in person.held:
            self._check_not_stopped()
            answer.take(None if one is None else one.by_id(own, person.digest))
            if answer.is_subscribed:
                return answer
        for one in dict.fromkeys(person.asked):
            self._check_not_stopped()
            try:
                answer.take(None if one is None else one.by_address(person.address))
            except NotFoundError:
                answer.absent.extend([one] if one else [])
            if answer.is_subscribed:
                return answer
        return answer

    def _check_not_stopped(self) -> None:
        if self._list_run.services.stop.requested.is_set():
            raise InterruptedRunError("stopped")


@dataclass(frozen=True)
class _Person:
    """Somebody who is gone.

    Attributes:
        digest: of the address, as Ometria held it when the list was compared.
        held: listings that Ometria holds opted in under it: the list to ask, None for nobody, and the member's id.
        asked: lists to ask for the address.
        is_another: the address changed since the list was compared, so `held` may not be all.
    """

    address: str = field(repr=False)
    digest: bytes
    held: list[tuple[_AskedList | None, str]]
    asked: list[_AskedList | None]
    is_another: bool


@dataclass
class _Answer:
    """What was said of somebody. `absent`: lists that answered 404 for the address."""

    is_unclear: bool
    is_subscribed: bool = False
    absent: list[_AskedList] = field(default_factory=list)

    def take(self, subscribed: bool | None) -> None:  # noqa: FBT001 - one of three answers
        self.is_subscribed |= subscribed is True
        self.is_unclear |= subscribed is None

    def verdict(self, believed: Mapping[_AskedList, bool]) -> bool | None:
        if self.is_subscribed:
            return True
        return None if self.is_unclear or not all(believed[one] for one in self.absent) else False


@dataclass(eq=False)
class _AskedList:
    """One list that is asked for its members; shared between threads.

    `convert` knows nothing of the list's own fields: consent does not depend on them.
    """

    key: str
    mailchimp: MailchimpClient
    rules: ContactRules
    convert: Callable[[Member], Conversion]
    fingerprinter: Fingerprinter
    failures: int = 0

    def by_id(self, own: str, address: bytes) -> bool | None:
        """Whether that member is subscribed under this address; None where that cannot be told."""
        if not is_contact_id(own):
            return None  # Mailchimp finds nobody by a web_id
        try:
            member = self._tried(lambda: self.mailchimp.member(self.key, own))
        except ServiceError:
            return None
        if member_id(member) != own:
            return None
        return self._is_subscribed(member) if self.fingerprinter.of_address(member.email_address) == address else False

    def by_address(self, address: str) -> bool | None:
        """Whether somebody on the list is subscribed under it. Raises NotFoundError where nobody has it."""
        try:
            return self._is_subscribed(self._tried(lambda: self.mailchimp.member_by_address(self.key, address)))
        except NotFoundError:
            raise
        except ServiceError:
            return None

    def finds_others(self) -> bool:
        """Whether a 404 may be believed: somebody who is on the list is found by their address, or nobody is on it.

        A 404 has been seen, in passing, for everything at once.
        """
        witnesses = self.mailchimp.with_fields(WITNESS_FIELDS)
        try:
            page = self._tried(lambda: witnesses.first_page(self.key, "listed", None, WITNESSES))
            address = next((one.email_address for one in page.members if _is_text(one.email_address)), None)
            if address is not None:
                self._tried(lambda: self.mailchimp.member_by_address(self.key, address))
        except ServiceError:
            return False
        return address is not None or not page.total

    def _tried(self, ask: Callable[[], T]) -> T:
        """Raises what the service raises; RetriableError, without a request, where too much failed before."""
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
        """Whether the member would be opted in. None: their consent is left as Ometria holds it."""
        converted = self.convert(member)
        if isinstance(converted, Converted):
            optin = converted.contact.marketing_optin
        else:
            optin = optin_of(member, self.rules, has_permissions=bool(self.rules.permissions))
        return None if optin is None else optin == "EXPLICITLY_OPTEDIN"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
