"""The engine of many machines: this process coordinates, and workers elsewhere move the pages.

What became of each page is recorded here, where the state file is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from celery import Celery
from pydantic import SecretStr

from mcimport.config import Client
from mcimport.engine.circuit_breaker import Tally
from mcimport.engine.distributed import broker
from mcimport.engine.distributed.account_groups import leaders
from mcimport.engine.distributed.backlog import Backlog
from mcimport.engine.distributed.channel import Line
from mcimport.engine.distributed.coordinator import Dispatch
from mcimport.engine.interface import RunSpec
from mcimport.engine.local import LocalEngine
from mcimport.engine.page.converter import allowed
from mcimport.errors import ConfigError
from mcimport.models import Outcome, Page, Window


class RemoteEngine:
    """See `Engine`. Clients that share an account wait for each other: a worker keeps the account's limits, not we.

    `clients`: all that are configured, for what they share.
    """

    is_local = False

    def __init__(self, address: SecretStr, clients: Iterable[Client]) -> None:
        self._app: Celery = broker.application(address)
        self._leaders = leaders(clients)
        self._locks = {name: threading.Lock() for name in set(self._leaders.values())}
        self._here = LocalEngine()

    def client_lock(self, client: Client) -> AbstractContextManager[object]:
        leader = self._leaders.get(client.name)
        return nullcontext() if leader is None else self._locks[leader]

    def run(
        self,
        spec: RunSpec,
        windows: Sequence[Window],
        pages: Mapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        if spec.is_dry:
            return self._here.run(spec, windows, pages, record)
        empty = {number: page for number, page in pages.items() if not page.members}
        self._here.run(spec, [window for window in windows if window.number in empty], empty, record)
        rest = [window for window in windows if window.number not in empty]
        if not rest:
            return False
        leader = self._leader(spec.client)
        line = Line(self._app, broker.shard_of(leader), spec.memory, spec.client, spec.warn)
        rules, is_silenced = allowed(spec.services.mailchimp, spec.rules, spec.welcome, spec.warn)
        backlog = Backlog(rest, spec.client.mailchimp.connections)
        dispatch = Dispatch(spec, rules, leader, line, backlog, Tally(record), self._here)
        try:
            dispatch.run()
        finally:
            line.close()
            if dispatch.has_landed:
                spec.given_back()
        return is_silenced or dispatch.is_silenced

    def _leader(self, client: Client) -> str:
        leader = self._leaders.get(client.name)
        if leader is None:
            raise ConfigError(f"client {client.name}: a key of it could not be read when this command began")
        return leader
