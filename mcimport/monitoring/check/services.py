"""Tests the keys at the two services, all at the same time, each once, however many clients have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Literal, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from mcimport.config import Client
from mcimport.engine.page.permissions import Shown, look_at_list
from mcimport.errors import InterruptedRunError, McimportError, ServiceError, ServiceTimeoutError
from mcimport.monitoring.check.synced_lists import Recorded
from mcimport.services.connections import ConnectionPool

T = TypeVar("T")

MAX_PROBES = 64  # keys tested at the same time: those of 50 clients take eight seconds where no service answers
MAX_LISTS_PER_ACCOUNT = 4  # read at the same time; the account's other programs need connections, too
TIMEOUT = 4.0  # seconds for one answer, whatever is configured for a sync

Service = Literal["Mailchimp", "Ometria"]
Endpoint = tuple[Service, str, str]  # with base address and key: clients that share both share the answer


class ProbeResult(Struct, frozen=True):
    """Holds what one key gives access to.

    Attributes:
        error: why the key gives no access.
        apart: seconds by which this machine's clock is ahead of the service's; None where the service sends no time.
        sizes: by list, the number of its members, or why that is unknown.
        permissions: by list, its marketing permissions (None: it has none), or why they are unknown.
        others: Ometria holds contacts in another collection with Mailchimp in its name.
    """

    error: McimportError | None = None
    apart: float | None = None
    sizes: Mapping[str, int | McimportError] = field(default_factory=dict)
    permissions: Mapping[str, Shown | McimportError | None] = field(default_factory=dict)
    others: bool = False


class ServiceProbes:
    """Asks the services in the background; reading an answer waits for that answer alone."""

    def __init__(self, accounts: ConnectionPool, pool: ThreadPoolExecutor) -> None:
        self._accounts = accounts
        self._pool = pool
        self._futures: dict[Endpoint, Future[ProbeResult]] = {}

    def ask(self, service: Service, clients: Iterable[tuple[Client, Recorded]]) -> None:
        """Starts to ask a service about these clients, which must have a usable key, and about their lists."""
        sharing: dict[Endpoint, list[tuple[Client, Recorded]]] = defaultdict(list)
        for client, recorded in clients:
            sharing[_endpoint(service, client)].append((client, recorded))
        probe = self._probe_mailchimp if service == "Mailchimp" else self._probe_ometria
        for endpoint, clients_of_key in sharing.items():
            hasty = _with_short_timeouts(clients_of_key[0][0])
            self._futures[endpoint] = self._pool.submit(probe, hasty, clients_of_key)

    def answer(self, service: Service, client: Client) -> ProbeResult | None:
        """Waits for the answer; None where the service was not asked."""
        future = self._futures.get(_endpoint(service, client))
        return future.result() if future else None

    def _probe_mailchimp(self, hasty: Client, clients: Sequence[tuple[Client, Recorded]]) -> ProbeResult:
        list_keys = list(dict.fromkeys(key for _, recorded in clients for key in recorded.lists))
        try:
            with self._accounts.open_mailchimp(hasty) as mailchimp:
                apart, sizes = mailchimp.ping(), _of_each(list_keys, mailchimp.count_members)
                known = [key for key, size in sizes.items() if isinstance(size, int)]
                permissions = _of_each(known, lambda key: look_at_list(mailchimp, key))
                return ProbeResult(apart=apart, sizes=sizes, permissions=permissions)
        except McimportError as error:
            return ProbeResult(error)

    def _probe_ometria(self, hasty: Client, clients: Sequence[tuple[Client, Recorded]]) -> ProbeResult:
        """Asks about other collections, too, where one of the clients is new."""
        ours, others = {client.collection(key) for client, _ in clients for key in client.lists or ("",)}, False
        try:
            with self._accounts.open_ometria(hasty) as ometria:
                apart = ometria.check_key()
                if any(recorded.is_new for _, recorded in clients):
                    with suppress(ServiceError):
                        others = any("mailchimp" in name.lower() for name in ometria.collections_seen() - ours)
        except McimportError as error:
            return ProbeResult(error)
        return ProbeResult(apart=apart, others=others)


def _endpoint(service: Service, client: Client) -> Endpoint:
    if service == "Mailchimp":
        return service, client.mailchimp_url(), client.mailchimp_key().get_secret_value()
    return service, client.ometria_url(), client.ometria_key().get_secret_value()


def _with_short_timeouts(client: Client) -> Client:
    """Returns the client without retries and with short time-outs, because a person waits."""
    return replace(
        client,
        retry=client.retry.model_copy(update={"retries": 0}),
        mailchimp=client.mailchimp.model_copy(update={"timeout": min(TIMEOUT, client.mailchimp.timeout)}),
        ometria=client.ometria.model_copy(update={"timeout": min(TIMEOUT, client.ometria.timeout)}),
    )


def _of_each(list_keys: Sequence[str], ask: Callable[[str], T]) -> dict[str, T | McimportError]:
    """Asks about a few lists at a time; after one that took too long, about no other."""
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
    with ThreadPoolExecutor(min(MAX_LISTS_PER_ACCOUNT, len(list_keys)), thread_name_prefix="lists") as pool:
        return dict(zip(list_keys, pool.map(answer, list_keys), strict=True))
