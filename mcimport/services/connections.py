"""A client's two services, opened; clients of one account share its limits."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from mcimport.config import Client, data_centre
from mcimport.convert import load_libraries
from mcimport.errors import ConfigError
from mcimport.services.http.client import Wire
from mcimport.services.http.request_log import Tell, Trace
from mcimport.services.http.retry import Gate, Pacer, Patience, Stop
from mcimport.services.http.usage import Meter
from mcimport.services.mailchimp.client import Mailchimp
from mcimport.services.ometria.client import Ometria
from mcimport.services.ometria.contacts import Contacts

BUSY_FOR = 900.0  # seconds for which Mailchimp may refuse one request as one too many, before that is a failure


@dataclass(frozen=True, eq=False)
class Services:
    """Both ends of one client's stream, and what they cost.

    `stop` follows the process's, and may be asked for this client alone.
    """

    mailchimp: Mailchimp
    ometria: Ometria
    contacts: Contacts
    stop: Stop
    meter: Meter
    trace: Trace

    def give_up(self) -> None:
        """From any thread: wakes whatever waits or hangs; nothing more gets through."""
        self.stop.at_once()
        self.close()

    def rest(self, seconds: float) -> None:
        """The Ometria account is left alone for so long: another process may have been at it until now."""
        self.ometria.rest(seconds)
        self.contacts.rest(seconds)

    def close(self) -> None:
        self.mailchimp.close()
        self.ometria.close()


class Accounts:
    """All accounts that this process works with: their limits are theirs, whoever of the clients uses them.

    `busy_for`: seconds for which either service may refuse one request as one too many, where somebody waits for it.
    None: 15 minutes for Mailchimp, and for Ometria as long as it takes.
    `tell`: hears of every request. `may_send`: see `Wire`.
    """

    def __init__(
        self,
        stop: Stop,
        *,
        busy_for: float | None = None,
        tell: Tell | None = None,
        may_send: Callable[[], None] = lambda: None,
    ) -> None:
        self._stop = stop
        self._may_send = may_send
        self._tell = tell
        self._busy_for = busy_for
        self._gates: dict[str, Gate] = {}
        self._pacers: dict[str, Pacer] = {}
        self._reading: dict[str, Pacer] = {}
        self._open: set[Services] = set()
        self._lock = threading.Lock()

    @contextmanager
    def open(self, client: Client) -> Iterator[Services]:
        """For a run. Raises ConfigError when a key is unset or cannot be one, MachineError; no request is made."""
        load_libraries()
        with self._following() as stop:
            meter, trace = Meter(), Trace(client.name, self._tell)
            mailchimp = self._mailchimp(client, stop, meter, trace)
            services = Services(mailchimp, *self._ometria(client, stop, meter, trace), stop, meter, trace)
            with self._lock:
                self._open.add(services)
            try:
                yield services
            finally:
                with self._lock:
                    self._open.discard(services)
                services.give_up()  # so that nothing that was begun for this client waits on, with nobody to hear it

    @contextmanager
    def open_mailchimp(self, client: Client, asking: Services | None = None) -> Iterator[Mailchimp]:
        """That side alone, whatever is wrong with the other. Raises as `open`.

        `asking`: for whose run it is asked, which its requests are counted for.
        """
        meter, trace = (asking.meter, asking.trace) if asking else (Meter(), None)
        with self._following() as stop, closing(self._mailchimp(client, stop, meter, trace)) as mailchimp:
            yield mailchimp

    @contextmanager
    def open_ometria(self, client: Client) -> Iterator[Ometria]:
        """That side alone, whatever is wrong with the other. Raises as `open`."""
        with self._following() as stop, closing(self._ometria(client, stop, Meter())[0]) as ometria:
            yield ometria

    def rest(self, client: Client, seconds: float) -> None:
        """The client's Ometria account is left alone for so long by all that share it here. Raises as `open`."""
        for pacer in (self._pushes(client), self._reads(client)):
            pacer.rest(seconds)

    def give_up(self) -> None:
        """All of them, from any thread."""
        with self._lock:
            services = list(self._open)
        for one in services:
            one.give_up()

    @contextmanager
    def _following(self) -> Iterator[Stop]:
        stop = self._stop.follower()
        try:
            yield stop
        finally:
            self._stop.dismiss(stop)

    def _mailchimp(self, client: Client, stop: Stop, meter: Meter, trace: Trace | None = None) -> Mailchimp:
        key, connections = client.mailchimp_key(), client.mailchimp.connections
        wire = Wire(
            "Mailchimp",
            client.mailchimp_url(),
            {"Authorization": _authorization(client, key)},
            timeout=client.mailchimp.timeout,
            connections=connections,
            trace=trace,
            may_send=self._may_send,
        )
        gate = self._gate(client.mailchimp.account or key.get_secret_value(), connections)
        patience = Patience(stop, client.retry.retries, client.retry.wait, self._busy_for or BUSY_FOR)
        return Mailchimp(wire, gate, patience, meter)

    def _ometria(
        self, client: Client, stop: Stop, meter: Meter, trace: Trace | None = None
    ) -> tuple[Ometria, Contacts]:
        """What is written and what is read back share their connections, and have a pace each."""
        key = client.ometria_key()
        wire = Wire(
            "Ometria",
            client.ometria_url(),
            {"X-Ometria-Auth": key.get_secret_value()},
            timeout=client.ometria.timeout,
            trace=trace,
            may_send=self._may_send,
        )
        patience = Patience(stop, client.retry.retries, client.retry.wait, self._busy_for)
        ometria = Ometria(wire, self._pushes(client), patience, client.ometria.batch, meter)
        return ometria, Contacts(wire, self._reads(client), patience, meter)

    def _pushes(self, client: Client) -> Pacer:
        return self._pacer(self._pacers, _ometria_account(client), client.ometria.requests_per_second)

    def _reads(self, client: Client) -> Pacer:
        return self._pacer(self._reading, _ometria_account(client), client.ometria.reads_per_second)

    def _gate(self, account: str, places: int) -> Gate:
        with self._lock:
            return self._gates.setdefault(account, Gate(places))

    def _pacer(self, known: dict[str, Pacer], account: str, per_second: float) -> Pacer:
        with self._lock:
            return known.setdefault(account, Pacer(float(per_second)))


def _ometria_account(client: Client) -> str:
    return client.ometria.account or client.ometria_key().get_secret_value()


def _authorization(client: Client, key: SecretStr) -> str:
    """HTTP Basic for an API key; Bearer for an OAuth token, which has no data centre at its end."""
    secret = key.get_secret_value()
    if data_centre(key) is not None:
        return "Basic " + base64.b64encode(f"mcimport:{secret}".encode()).decode()
    if "-" in secret:
        raise ConfigError(
            f"client {client.name}: the Mailchimp API key does not end in a data centre, such as -us6",
            hint="Copy it again, complete, from Mailchimp under Profile > Extras > API keys.",
        )
    return f"Bearer {secret}"
