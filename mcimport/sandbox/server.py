"""Serves the two fake APIs on one loopback port, and lets tests, demo and benchmarks change and inspect them.

with Sandbox(SandboxSettings(size=25_000)) as sandbox:
    ...  # run the importer against sandbox.mailchimp_url and sandbox.ometria_url
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Self

import uvicorn
from anyio.from_thread import start_blocking_portal
from starlette.routing import Mount, Router
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mcimport.sandbox import mailchimp, ometria
from mcimport.sandbox.audience.audience import Audience, random_change
from mcimport.sandbox.audience.member_json import MemberEncoder
from mcimport.sandbox.clock import Clock
from mcimport.sandbox.faults import TRANSPORT
from mcimport.sandbox.ometria_account import Contact, ContactKey, OmetriaAccount
from mcimport.sandbox.request_log import Request, max_in_any_second, max_open
from mcimport.sandbox.settings import SandboxSettings
from mcimport.sandbox.shared_state import MailchimpAccount, SharedState

LIST_KEY = "1a2d7ebf82"
_HOST = "127.0.0.1"
_SHUTDOWN_TIMEOUT = 1.0  # seconds in which responses under way may end
_POLL_INTERVAL = 0.005  # seconds between two checks whether they have
_CHURN_INTERVAL = 0.02


class Sandbox:
    """Serves both services inside a `with`, or between `start` and `stop`, as often as needed.

    Members, contacts and the log of requests stay when it stops and starts again, on the same port.

    Args:
        settings: kept, not copied: they can be changed while it serves.
        port: 0 takes a free one.
    """

    def __init__(self, settings: SandboxSettings | None = None, port: int = 0) -> None:
        self.settings = settings or SandboxSettings()
        self.clock = Clock(self.settings)
        self.port = port
        self.mailchimp_key = f"{_hex(self.settings.seed, 'mailchimp')}-us6"
        self.ometria_key = _hex(self.settings.seed, "ometria")
        self.list_key = LIST_KEY
        rng = random.Random(self.settings.seed)  # noqa: S311 - must be repeatable, not secret
        self._shared = shared = SharedState(self.settings, self.clock, rng)
        self._app = Router(
            [Mount("/3.0", routes=mailchimp.routes(shared)), Mount("/v2", routes=ometria.routes(shared))],
            redirect_slashes=False,
        )
        self._serving = ExitStack()
        self.add_account(self.mailchimp_key, self.ometria_key, {self.list_key: self.settings.size})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts serving, and returns when it responds. Raises OSError when the port is taken."""
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(name="sandbox"))
            serving = _serving(self._app, self.port, self._shared)
            self.port = stack.enter_context(portal.wrap_async_context_manager(serving))
            stack.enter_context(_churning(self._shared))
            self._serving = stack.pop_all()

    def stop(self) -> None:
        """Ends requests under way, silent ones too, and refuses connections from then on.

        Raises RuntimeError when a response was a 500 because of an error of the sandbox itself, or of a hook.
        """
        self._serving.close()
        if self._shared.internal_errors:
            first = self._shared.internal_errors.pop(0)
            raise RuntimeError("the sandbox, or a hook on it, failed while it served") from first

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Refuses connections to both services inside the `with`; nothing churns meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @property
    def mailchimp_url(self) -> str:
        return f"http://{_HOST}:{self.port}/3.0"

    @property
    def ometria_url(self) -> str:
        return f"http://{_HOST}:{self.port}/v2"

    def add_account(self, mailchimp_key: str, ometria_key: str, lists: Mapping[str, int]) -> None:
        """Adds a client. `lists`: sizes by list key. Each key sees only its own lists and contacts.

        An Ometria key that is known already is the same account.
        """
        encoders = {key: MemberEncoder(Audience(key, size, self.settings, self.clock)) for key, size in lists.items()}
        account = self._shared.mailchimp.setdefault(mailchimp_key, MailchimpAccount(mailchimp_key, {}))
        account.lists.update(encoders)
        self._shared.ometria.setdefault(ometria_key, OmetriaAccount(ometria_key, self.settings))

    def add_client(self, number: int) -> SandboxClient:
        """Adds a client with a list of `settings.size`; 1 is the one that is there from the start."""
        if number == 1:
            return SandboxClient("shop-1", self.list_key, self.mailchimp_key, self.ometria_key)
        seed = self.settings.seed
        list_key, ometria_key = _hex(seed, f"list {number}")[:10], _hex(seed, f"ometria {number}")
        client = SandboxClient(f"shop-{number}", list_key, f"{_hex(seed, f'mailchimp {number}')}-us6", ometria_key)
        self.add_account(client.mailchimp_key, client.ometria_key, {client.list_key: self.settings.size})
        return client

    def renew_ometria_key(self, old: str, new: str) -> None:
        """Gives an account another key; the old one is refused from now on."""
        self._shared.ometria[new] = account = self._shared.ometria.pop(old)
        account.key = new

    def add_ometria_key(self, known: str, another: str) -> None:
        """Gives an account a second key. Requests with either are in the log under `known`."""
        self._shared.ometria[another] = self._shared.ometria[known]

    def audience(self, list_key: str | None = None, mailchimp_key: str | None = None) -> Audience:
        """Returns one list: of the first account that has it, unless a key is given. Raises KeyError."""
        name = list_key or self.list_key
        for account in self._shared.mailchimp.values():
            if name in account.lists and mailchimp_key in {None, account.key}:
                return account.lists[name].audience
        raise KeyError(name)

    def contacts(self, ometria_key: str | None = None) -> dict[ContactKey, Contact]:
        """Returns Ometria's contacts by collection and id, with everything pushed so far validated."""
        return self._validated(ometria_key).contacts()

    def mailable(self, ometria_key: str | None = None) -> set[str]:
        """Returns the addresses that the account may mail, in lower case: an opted-out listing outweighs all others."""
        return self._validated(ometria_key).mailable()

    def delete_contacts(self, keys: Iterable[ContactKey], ometria_key: str | None = None) -> None:
        """Deletes contacts from Ometria, by collection and id, which no importer can see."""
        self._validated(ometria_key).delete(keys)

    def store_contacts(self, records: Iterable[Contact], ometria_key: str | None = None) -> None:
        """Stores records as if another program had pushed them: at once, and without a request in the log."""
        store = self._shared.ometria[ometria_key or self.ometria_key]
        store.receive([{"@type": "contact", "@collection": "mailchimp", **record} for record in records])
        store.validate(everything=True)

    def subscription_events(self, ometria_key: str | None = None) -> Counter[str]:
        """Counts subscription events by collection; each can start a welcome campaign."""
        return Counter(self._validated(ometria_key).subscription_events)

    def push_errors(self, ometria_key: str | None = None) -> list[dict[str, str]]:
        """Returns what `GET /push/_errors` does, with everything pushed so far validated."""
        return self._validated(ometria_key).latest_errors()

    def _validated(self, ometria_key: str | None) -> OmetriaAccount:
        """Returns an Ometria account, the first one without a key, with everything pushed so far validated."""
        account = self._shared.ometria[ometria_key or self.ometria_key]
        account.validate(everything=True)
        return account

    @property
    def requests(self) -> list[Request]:
        """The requests since the last `clear_requests`, in the order of their arrival."""
        return list(self._shared.requests)

    def clear_requests(self) -> None:
        self._shared.requests.clear()

    def max_open(self, mailchimp_key: str | None = None) -> int:
        """Returns how many requests of one account were open at once at most, those refused for that included."""
        return max_open(self.requests, mailchimp_key or self.mailchimp_key)

    def pushes_in_any_second(self, ometria_key: str | None = None, *, jitter: float = 0.0) -> int:
        """Returns the most pushes that arrived in a second, wherever it began, those refused included.

        The second is shorter by `jitter`: what is sent evenly arrives less so on a busy machine.
        """
        key = ometria_key or self.ometria_key
        times = [request.at for request in self.requests if request.key == key and request.path == "/push"]
        return max_in_any_second(times, 1 - jitter)


@dataclass(frozen=True)
class SandboxClient:
    """Holds the list and the keys of one client, who has an account of its own at each service."""

    name: str
    list_key: str
    mailchimp_key: str
    ometria_key: str


def serve(
    settings: SandboxSettings, introduce: Callable[[Sandbox, list[SandboxClient]], str], *, port: int = 0, clients: int
) -> None:
    """Serves so many clients until SIGINT or SIGTERM, and prints first what `introduce` says of them.

    Raises OSError when the port is taken. Must be called in the main thread: only there can signals be received.
    """
    over = Event()
    before = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        sandbox = Sandbox(settings, port)
        # Before it serves: whoever goes on after a restart would be refused with a key that is right.
        added = [sandbox.add_client(number) for number in range(1, clients + 1)]
        with sandbox:
            sys.stdout.write(introduce(sandbox, added))
            sys.stdout.flush()
            over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hex(seed: int, name: str) -> str:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).hexdigest()


@contextmanager
def _churning(shared: SharedState) -> Iterator[None]:
    """Makes `settings.churn` random changes a second over all lists inside the `with`, in a thread."""
    stopped, rng = Event(), random.Random(shared.settings.seed)  # noqa: S311 - must be repeatable, not secret

    def change() -> None:
        owed = 0.0
        while not stopped.wait(_CHURN_INTERVAL):
            owed += shared.settings.churn * _CHURN_INTERVAL
            while owed >= 1:
                random_change(rng.choice(shared.audiences()), rng)
                owed -= 1

    thread = Thread(target=change, name="sandbox-churn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


class _Protocol(HttpToolsProtocol):
    """Passes the connection to the application, which may have to break it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


@asynccontextmanager
async def _serving(app: Router, port: int, shared: SharedState) -> AsyncIterator[int]:
    """Serves inside the `with`, and yields the port. Raises OSError when it is taken.

    uvicorn's own server checks ten times a second, twice, whether it is to end; this one ends at once.
    """
    # What breaks here is broken on purpose, so that nothing is logged.
    config = uvicorn.Config(app, http=_Protocol, ws="none", access_log=False, log_config=None, log_level="critical")
    config.load()
    state, shared.closing = ServerState(), asyncio.Event()
    # Named as TCP, for asyncio switches Nagle's algorithm off only for sockets that are.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(config, state, {}), sock=listener, backlog=config.backlog
        )
        try:
            yield listener.getsockname()[1]
        finally:
            shared.closing.set()
            server.close()
            await _finish(state)
            await server.wait_closed()


async def _finish(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.shutdown()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
            while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn has no event for this
                await asyncio.sleep(_POLL_INTERVAL)
    for task in state.tasks:
        task.cancel()
