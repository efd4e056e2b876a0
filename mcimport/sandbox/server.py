"""Serves the two fake APIs on one loopback port, and holds the handles by which tests, demo and benchmarks turn them.

with Sandbox(Knobs(size=25_000)) as box:
    ...  # the importer is pointed at box.mailchimp_url and box.ometria_url
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType, TracebackType
from typing import Self

import uvicorn
from starlette.routing import Mount, Router
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcimport.sandbox import mailchimp, ometria
from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.churn import Churn
from mcimport.sandbox.clock import Clock
from mcimport.sandbox.faults import TRANSPORT
from mcimport.sandbox.ometria_account import Contact, ContactKey
from mcimport.sandbox.request_log import Request, max_in_any_second, max_open
from mcimport.sandbox.settings import SandboxSettings
from mcimport.sandbox.shared_state import SharedState

LIST_KEY = "1a2d7ebf82"
_HOST = "127.0.0.1"
_SHUTDOWN_TIMEOUT = 1.0  # seconds in which answers under way may end
_POLL_INTERVAL = 0.005  # seconds between two looks at whether they have


class Sandbox:
    """Both services, from `with` on until its end; also started and stopped by hand, as often as one likes.

    Nothing is lost when it stops: people, contacts and ledger are there when it starts again, on the same port.

    Args:
        settings: kept, not copied: turn them while it serves.
        port: 0 takes a free one.
    """

    def __init__(self, settings: SandboxSettings | None = None, port: int = 0) -> None:
        self.settings = settings or SandboxSettings()
        self.clock = Clock(self.settings)
        self.port = port
        self.mailchimp_key = f"{_hex(self.settings.seed, 'mailchimp')}-us6"
        self.ometria_key = _hex(self.settings.seed, "ometria")
        self.list_key = LIST_KEY
        self._shared = SharedState(self.settings, self.clock)
        self._app = Router(
            [Mount("/3.0", routes=mailchimp.routes(self._shared)), Mount("/v2", routes=ometria.routes(self._shared))],
            redirect_slashes=False,
        )
        self._serving: _ServerThread | None = None
        self._churn: Churn | None = None
        self.add_account(self.mailchimp_key, self.ometria_key, {self.list_key: self.settings.size})

    # -- serving

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it answers. Raises OSError when the port is taken."""
        listener = _listener(self.port)
        self.port = listener.getsockname()[1]
        self._shared.closing = asyncio.Event()
        self._serving = _ServerThread(self._app, listener, self._shared)
        self._serving.start()
        self._churn = Churn(self.settings, self._shared.audiences)
        self._churn.start()

    def stop(self) -> None:
        """Ends what is under way, silent answers too, and refuses connections from then on.

        Raises RuntimeError when an answer was a 500 because of a mistake of the sandbox's own, or of a hook.
        """
        if self._churn is not None:
            self._churn.stop()
            self._churn = None
        if self._serving is not None:
            self._serving.stop()
            self._serving = None
        if self._shared.internal_errors:
            raise RuntimeError(
                "the sandbox, or a hook on it, failed while it served"
            ) from self._shared.internal_errors.pop(0)

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Both services refuse connections meanwhile; time and churn stand still."""
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

    # -- what is in it

    def add_account(self, mailchimp_key: str, ometria_key: str, lists: Mapping[str, int]) -> None:
        """One more client: lists by their size. Each key sees only its own lists and contacts."""
        self._shared.add_account(mailchimp_key, ometria_key, lists)

    def renew_ometria_key(self, old: str, new: str) -> None:
        """The same account, contacts and all, under another key; the old one is refused from now on."""
        store = self._shared.ometria.pop(old)
        store.key = new
        self._shared.ometria[new] = store

    def add_ometria_key(self, known: str, another: str) -> None:
        """Both keys lead to the same account from now on. What is asked with either is in the ledger under `known`."""
        self._shared.ometria[another] = self._shared.ometria[known]

    def audience(self, list_key: str | None = None, mailchimp_key: str | None = None) -> Audience:
        """The members of one list, of the first account that has it, unless a key says whose. Raises KeyError."""
        name = list_key or self.list_key
        for account in self._shared.mailchimp.values():
            if name in account.lists and mailchimp_key in {None, account.key}:
                return account.lists[name].audience
        raise KeyError(name)

    def contacts(self, ometria_key: str | None = None) -> dict[ContactKey, Contact]:
        """What Ometria holds, by collection and id, when everything pushed so far has been validated."""
        return self._shared.ometria[ometria_key or self.ometria_key].contacts(is_validated=True)

    def mailable(self, ometria_key: str | None = None) -> set[str]:
        """Whom the account may mail, by their address in lower case: an opted-out listing outweighs all others."""
        return self._shared.ometria[ometria_key or self.ometria_key].mailable()

    def delete_contacts(self, keys: Iterable[ContactKey], ometria_key: str | None = None) -> None:
        """Contacts leave Ometria behind every importer's back, by collection and id."""
        store = self._shared.ometria[ometria_key or self.ometria_key]
        store.validate(everything=True)
        store.delete(keys)

    def store_contacts(self, records: Iterable[Contact], ometria_key: str | None = None) -> None:
        """Another program pushes to the same account: stored at once, and in no ledger."""
        store = self._shared.ometria[ometria_key or self.ometria_key]
        store.receive([{"@type": "contact", "@collection": "mailchimp", **record} for record in records])
        store.validate(everything=True)

    def subscription_events(self, ometria_key: str | None = None) -> Counter[str]:
        """Subscription events, by collection: each can start a welcome campaign."""
        store = self._shared.ometria[ometria_key or self.ometria_key]
        store.validate(everything=True)
        return Counter(store.subscription_events)

    def push_errors(self, ometria_key: str | None = None) -> list[dict[str, str]]:
        """As `GET /push/_errors`, when everything pushed so far has been validated."""
        store = self._shared.ometria[ometria_key or self.ometria_key]
        store.validate(everything=True)
        return store.latest_errors()

    # -- what was asked

    @property
    def requests(self) -> list[Request]:
        """In the order of their arrival, since the last `clear_requests`."""
        return self._shared.request_log.read()

    def clear_requests(self) -> None:
        self._shared.request_log.clear()

    def max_open(self, mailchimp_key: str | None = None) -> int:
        """How many requests of one account were open at once at most, those refused for that included."""
        return max_open(self.requests, mailchimp_key or self.mailchimp_key)

    def pushes_in_any_second(self, ometria_key: str | None = None, *, jitter: float = 0.0) -> int:
        """The most pushes that arrived in a second, wherever it began, those refused included.

        The second is shorter by `jitter`: what is sent evenly arrives less so on a busy machine.
        """
        key = ometria_key or self.ometria_key
        times = [one.at for one in self.requests if one.key == key and one.path == "/push"]
        return max_in_any_second(times, 1 - jitter)


def serve(settings: SandboxSettings, port: int = 0) -> None:
    """Serves until SIGINT or SIGTERM. Prints first what a shell needs to point the importer at it.

    Must be called in the main thread: only there can signals be received.
    """
    over = Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        over.set()

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Sandbox(settings, port) as sandbox:
            sys.stdout.write(shell_exports(sandbox))
            sys.stdout.flush()
            over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def shell_exports(sandbox: Sandbox) -> str:
    """`export` lines for a shell: the four variables that the importer reads."""
    variables = {
        "MCIMPORT_MAILCHIMP_URL": sandbox.mailchimp_url,
        "MCIMPORT_OMETRIA_URL": sandbox.ometria_url,
        "MCIMPORT_MAILCHIMP_API_KEY": sandbox.mailchimp_key,
        "MCIMPORT_OMETRIA_API_KEY": sandbox.ometria_key,
    }
    return "".join(f"export {name}={value}\n" for name, value in variables.items())


def _hex(seed: int, name: str) -> str:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).hexdigest()


def _listener(port: int) -> socket.socket:
    """Bound before the server's thread starts, so that a taken port is told to whoever starts it."""
    # Named as TCP, for asyncio switches off the waiting for more bytes (Nagle) only where the socket says so.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


class _Protocol(HttpToolsProtocol):
    """Hands the connection on to the application, which may have to break it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class _Server(uvicorn.Server):
    """Says when it answers, and ends as soon as the world closes: uvicorn itself looks ten times a second, twice."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing
        self.up = Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets)
        finally:
            self.up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = time.monotonic() + _SHUTDOWN_TIMEOUT
        while time.monotonic() < deadline:
            if not (self.server_state.connections or self.server_state.tasks):
                break
            await asyncio.sleep(_POLL_INTERVAL)
        for task in self.server_state.tasks:
            task.cancel()
        for server in self.servers:
            await server.wait_closed()


class _ServerThread:
    """uvicorn in a thread of its own."""

    def __init__(self, app: Router, listener: socket.socket, shared: SharedState) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            date_header=False,  # the sandbox has a clock of its own
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="critical",  # what breaks here is broken on purpose
        )
        self._server = _Server(config, shared.closing)
        self._shared = shared
        self._thread = Thread(target=self._server.run, args=([listener],), name="sandbox", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._server.up.wait()

    def stop(self) -> None:
        if self._server.loop is not None:
            self._server.loop.call_soon_threadsafe(self._shared.closing.set)
        self._thread.join()
