"""What the two services say: each key tried once, however many clients hold it, and all of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from mcimport.config import Client
from mcimport.engine.page.permissions import Shown, look_at_list
from mcimport.errors import InterruptedRunError, McimportError, ServiceError, ServiceTimeoutError
from mcimport.services.connections import ConnectionPool
from mcimport.services.mailchimp.client import MailchimpClient

T = TypeVar("T")

AT_ONCE = 64  # keys tried side by side: those of 50 clients take eight seconds though nobody answers at all
LISTS_AT_ONCE = 4  # of one account; its other programs need connections, too
TIMEOUT = 4.0  # seconds for one answer, whatever is configured for a sync

Endpoint = tuple[str, str]  # base address and key: what is asked there is the same for all who come with them


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one key opens.

    Attributes:
        error: why it opens nothing.
        apart: seconds that this machine's clock is ahead of the service's; None where it sends none.
        sizes: of each list the members that are on it, or why that is not known.
        permissions: of each list what its members show of marketing permissions (None: it has none), or why that is not
            known.
        others: whether Ometria holds contacts in another collection whose name says Mailchimp.
    """

    error: McimportError | None = None
    apart: float | None = None
    sizes: Mapping[str, int | McimportError] = field(default_factory=dict)
    permissions: Mapping[str, Shown | McimportError | None] = field(default_factory=dict)
    others: bool = False


class ServiceProbes:
    """Begins to ask as soon as it is told of its clients; whoever wants an answer waits for that one alone."""

    def __init__(self, accounts: ConnectionPool, pool: ThreadPoolExecutor) -> None:
        self._accounts = accounts
        self._pool = pool
        self._mailchimp: dict[Endpoint, Future[ProbeResult]] = {}
        self._ometria: dict[Endpoint, Future[ProbeResult]] = {}

    def ask_mailchimp(self, clients: Iterable[tuple[Client, Sequence[str]]]) -> None:
        """Each client with its lists, its key known to be there."""
        wanted: dict[Endpoint, tuple[Client, dict[str, None]]] = {}
        for client, list_keys in clients:
            _, lists = wanted.setdefault(_mailchimp_endpoint(client), (client, {}))
            lists.update(dict.fromkeys(list_keys))
        for endpoint, (client, lists) in wanted.items():
            self._mailchimp[endpoint] = self._pool.submit(self._probe_mailchimp, _impatient(client), list(lists))

    def ask_ometria(self, clients: Iterable[tuple[Client, bool]]) -> None:
        """Each client, its key known to be there, with whether it is new, so that other collections matter."""
        wanted: dict[Endpoint, list[tuple[Client, bool]]] = {}
        for client, is_new in clients:
            wanted.setdefault(_ometria_endpoint(client), []).append((client, is_new))
        for endpoint, holders in wanted.items():
            ours = {client.collection(key) for client, _ in holders for key in client.lists or ("",)}
            is_new = any(new for _, new in holders)
            self._ometria[endpoint] = self._pool.submit(
                self._probe_ometria, _impatient(holders[0][0]), ours if is_new else None
            )

    def mailchimp(self, client: Client) -> ProbeResult:
        return self._mailchimp[_mailchimp_endpoint(client)].result()

    def ometria(self, client: Client) -> ProbeResult:
        return self._ometria[_ometria_endpoint(client)].result()

    def _probe_mailchimp(self, client: Client, list_keys: Sequence[str]) -> ProbeResult:
        try:
            with self._accounts.open_mailchimp(client) as mailchimp:
                apart, sizes = mailchimp.ping(), _sizes(mailchimp, list_keys)
                known = [key for key, size in sizes.items() if isinstance(size, int)]
                return ProbeResult(apart=apart, sizes=sizes, permissions=_permissions(mailchimp, known))
        except McimportError as error:
            return ProbeResult(error)

    def _probe_ometria(self, client: Client, ours: set[str] | None) -> ProbeResult:
        others = False
        try:
            with self._accounts.open_ometria(client) as ometria:
                apart = ometria.check_key()
                if ours is not None:
                    with suppress(ServiceError):
                        others = any("mailchimp" in name.lower() for name in ometria.collections_seen() - ours)
        except McimportError as error:
            return ProbeResult(error)
        return ProbeResult(apart=apart, others=others)


def _mailchimp_endpoint(client: Client) -> Endpoint:
    return client.mailchimp_url(), client.mailchimp_key().get_secret_value()


def _ometria_endpoint(client: Client) -> Endpoint:
    return client.ometria_url(), client.ometria_key().get_secret_value()


def _impatient(client: Client) -> Client:
    """Somebody waits: no second tries, and no long answers."""
    return replace(
        client,
        retry=client.retry.model_copy(update={"retries": 0}),
        mailchimp=client.mailchimp.model_copy(update={"timeout": min(TIMEOUT, client.mailchimp.timeout)}),
        ometria=client.ometria.model_copy(update={"timeout": min(TIMEOUT, client.ometria.timeout)}),
    )


def _sizes(mailchimp: MailchimpClient, list_keys: Sequence[str]) -> dict[str, int | McimportError]:
    return _of_each(list_keys, mailchimp.count_members)


def _permissions(mailchimp: MailchimpClient, list_keys: Sequence[str]) -> dict[str, Shown | McimportError | None]:
    return _of_each(list_keys, lambda key: look_at_list(mailchimp, key))


def _of_each(list_keys: Sequence[str], ask: Callable[[str], T]) -> dict[str, T | McimportError]:
    """A few at a time. After one that took too long no other is begun."""
    slow: list[ServiceTimeoutError] = []

    def answer(key: str) -> T | McimportError:
        try:
            return slow[0] if slow else ask(key)
        except InterruptedRunError:
            raise
        except McimportError as error:
            slow.extend([error] if isinstance(error, ServiceTimeoutError) else [])
            return error

    if len(list_keys) < 2:  # noqa: PLR2004 - one needs no threads
        return {key: answer(key) for key in list_keys}
    with ThreadPoolExecutor(min(LISTS_AT_ONCE, len(list_keys)), thread_name_prefix="lists") as pool:
        return dict(zip(list_keys, pool.map(answer, list_keys), strict=True))
