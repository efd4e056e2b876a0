"""Opens the connections of clients to both services; clients of one account share its limits."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr

from mcimport.config import Client, data_centre
from mcimport.errors import ConfigError
from mcimport.services.account_limits import AccountLimits
from mcimport.services.http.client import HttpClient
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.request_log import EventSink, RequestLog, RequestSink, RetrySink
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.http.usage import UsageMeter
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.ometria.client import OmetriaClient
from mcimport.services.ometria.contacts import Contacts

BUSY_FOR = 900.0  # seconds for which Mailchimp may refuse one request as one too many, before that is a failure


@dataclass(frozen=True, eq=False)
class ClientServices:
    """Holds one client's connections to both services. `stop`: a child of the process's, for this client alone."""

    mailchimp: MailchimpClient
    ometria: OmetriaClient
    contacts: Contacts
    stop: StopSignal
    meter: UsageMeter
    trace: RequestLog

    def abort(self) -> None:
        """Ends every wait and every request of this client, from any thread; no further one is sent."""
        self.stop.abort()
        self.close()

    def pause(self, seconds: float) -> None:
        """Sends Ometria nothing for so many seconds: another process may have used the account until now."""
        self.ometria.limiter.pause(seconds)
        self.contacts.limiter.pause(seconds)

    def close(self) -> None:
        self.mailchimp.close()
        self.ometria.close()


@dataclass(eq=False)
class ConnectionPool:
    """Opens connections for all clients of this process, and keeps the limits of their accounts.

    Attributes:
        stop: the process's signal.
        busy_for: seconds for which either service may refuse one request as one too many, where a person waits for it.
            None: 15 minutes for Mailchimp, and no end for Ometria.
        tell: is called with every request and retry.
        may_send: see `HttpClient`.
    """

    stop: StopSignal
    busy_for: float | None = None
    tell: EventSink | None = None
    may_send: Callable[[], None] = lambda: None
    _connections: AccountLimits[ConnectionLimit] = field(
        default_factory=lambda: AccountLimits(ConnectionLimit), init=False, repr=False
    )
    _pushes: AccountLimits[RateLimiter] = field(
        default_factory=lambda: AccountLimits(RateLimiter), init=False, repr=False
    )
    _reads: AccountLimits[RateLimiter] = field(
        default_factory=lambda: AccountLimits(RateLimiter), init=False, repr=False
    )
    _open: set[ClientServices] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @contextmanager
    def open(
        self,
        client: Client,
        on_retry: RetrySink = lambda _key, _retry: None,
        on_request: RequestSink = lambda _key, _service, _change: None,
    ) -> Iterator[ClientServices]:
        """Opens both services for a run, without a request. Raises ConfigError for an unusable key.

        `on_retry`, `on_request`: see `RequestLog`.
        """
        with self._following() as stop:
            meter, trace = UsageMeter(), RequestLog(client.name, self.tell, on_retry, on_request)
            mailchimp = self._mailchimp(client, stop, meter, trace)
            services = ClientServices(mailchimp, *self._ometria(client, stop, meter, trace), stop, meter, trace)
            with self._lock:
                self._open.add(services)
            try:
                yield services
            finally:
                services.abort()  # so that nothing that was begun for this client waits on
                self._note_end(services)

    @contextmanager
    def open_mailchimp(self, client: Client, asking: ClientServices | None = None) -> Iterator[MailchimpClient]:
        """Opens Mailchimp alone, whatever is wrong with Ometria. Raises as `open`.

        `asking`: the client for whose run it is asked, and for whom its requests are counted and logged.
        """
        meter, trace = (asking.meter, asking.trace) if asking else (UsageMeter(), None)
        with self._following() as stop, closing(self._mailchimp(client, stop, meter, trace)) as mailchimp:
            yield mailchimp

    @contextmanager
    def open_ometria(self, client: Client) -> Iterator[OmetriaClient]:
        """Opens Ometria alone, whatever is wrong with Mailchimp. Raises as `open`."""
        with self._following() as stop, closing(self._ometria(client, stop, UsageMeter())[0]) as ometria:
            yield ometria

    def pause(self, client: Client, seconds: float) -> None:
        """Lets all clients of this client's Ometria account send it nothing for so many seconds. Raises as `open`."""
        for limiter in self._limiters(client):
            limiter.pause(seconds)

    def begin_round(self) -> None:
        """Takes the limits of accounts from the settings anew, as clients are opened; those in use stay shared."""
        with self._lock:
            for limits in (self._connections, self._pushes, self._reads):
                limits.begin_round()

    def abort(self) -> None:
        """Aborts the connections of all clients, from any thread."""
        with self._lock:
            opened = list(self._open)
        for services in opened:
            services.abort()

    def _note_end(self, services: ClientServices) -> None:
        with self._lock:
            self._open.discard(services)
            self._connections.note_end(services.mailchimp.limit)
            self._pushes.note_end(services.ometria.limiter)
            self._reads.note_end(services.contacts.limiter)

    @contextmanager
    def _following(self) -> Iterator[StopSignal]:
        stop = self.stop.child()
        try:
            yield stop
        finally:
            self.stop.dismiss(stop)

    def _mailchimp(
        self, client: Client, stop: StopSignal, meter: UsageMeter, trace: RequestLog | None = None
    ) -> MailchimpClient:
        key, connections = client.mailchimp_key(), client.mailchimp.connections
        http = HttpClient(
            "Mailchimp",
            client.mailchimp_url(),
            {"Authorization": _authorization(client, key)},
            timeout=client.mailchimp.timeout,
            trace=trace,
            may_send=self.may_send,
            setting=client.set_at.get("mailchimp_url", ""),
        )
        with self._lock:
            account = client.mailchimp.account or key.get_secret_value()
            limit = self._connections.get(account, connections)
        policy = RetryPolicy(stop, client.retry.retries, client.retry.wait, self.busy_for or BUSY_FOR)
        return MailchimpClient(http, policy, limit, meter=meter)

    def _ometria(
        self, client: Client, stop: StopSignal, meter: UsageMeter, trace: RequestLog | None = None
    ) -> tuple[OmetriaClient, Contacts]:
        """Returns what pushes and what reads contacts: they share their connections, and have a rate limit each."""
        key = client.ometria_key()
        http = HttpClient(
            "Ometria",
            client.ometria_url(),
            {"X-Ometria-Auth": key.get_secret_value()},
            timeout=client.ometria.timeout,
            trace=trace,
            may_send=self.may_send,
            setting=client.set_at.get("ometria_url", ""),
        )
        policy = RetryPolicy(stop, client.retry.retries, client.retry.wait, self.busy_for)
        pushes, reads = self._limiters(client)
        ometria = OmetriaClient(http, policy, pushes, client.ometria.batch, meter=meter)
        return ometria, Contacts(http, policy, reads, meter=meter)

    def _limiters(self, client: Client) -> tuple[RateLimiter, RateLimiter]:
        """Returns the limiters of pushes to the client's account, and of reads."""
        settings = client.ometria
        account = settings.account or client.ometria_key().get_secret_value()
        with self._lock:
            pushes = self._pushes.get(account, settings.requests_per_second)
            return pushes, self._reads.get(account, settings.reads_per_second)


def _authorization(client: Client, key: SecretStr) -> str:
    """Returns HTTP Basic for an API key, and Bearer for an OAuth token, which has no data centre at its end."""
    secret = key.get_secret_value()
    if data_centre(key) is not None:
        return "Basic " + base64.b64encode(f"mcimport:{secret}".encode()).decode()
    if "-" in secret:
        raise ConfigError(
            f"client {client.name}: the Mailchimp API key does not end in a data centre, such as -us6",
            hint="Copy it again, complete, from Mailchimp under Profile > Extras > API keys.",
        )
    return f"Bearer {secret}"
