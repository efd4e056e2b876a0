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
from mcimport.engine.interface import Errand
from mcimport.engine.local import LocalEngine
from mcimport.engine.page.converter import allowed
from mcimport.errors import ConfigError
from mcimport.models import Outcome, Page, Window


class RemoteEngine:
    """See `Engine`. Clients that share an account wait for each other: a worker keeps the account's limits, not we.

    `clients`: all that are configured, for what they share.
    """

    reads_here = False

    def __init__(self, address: SecretStr, clients: Iterable[Client]) -> None:
        self._app: Celery = broker.application(address)
        self._leaders = leaders(clients)
        self._locks = {name: threading.Lock() for name in set(self._leaders.values())}
        self._here = LocalEngine()

    def turn(self, client: Client) -> AbstractContextManager[object]:
        leader = self._leaders.get(client.name)
        return nullcontext() if leader is None else self._locks[leader]

    def drive(
        self,
        errand: Errand,
        windows: Sequence[Window],
        pages: Mapping[int, Page],
        record: Callable[[Outcome], None],
    ) -> bool:
        if errand.is_dry:
            return self._here.drive(errand, windows, pages, record)
        empty = {number: page for number, page in pages.items() if not page.members}
        self._here.drive(errand, [window for window in windows if window.number in empty], empty, record)
        rest = [window for window in windows if window.number not in empty]
        if not rest:
            return False
        leader = self._leader(errand.client)
        line = Line(self._app, broker.shard_of(leader), errand.memory, errand.client, errand.warn)
        rules, is_silenced = allowed(errand.services.mailchimp, errand.rules, errand.welcome, errand.warn)
        backlog = Backlog(rest, errand.client.mailchimp.connections)
        dispatch = Dispatch(errand, rules, leader, line, backlog, Tally(record), self._here)
        try:
            dispatch.run()
        finally:
            line.close()
            if dispatch.has_landed:
                errand.given_back()
        return is_silenced or dispatch.is_silenced

    def _leader(self, client: Client) -> str:
        leader = self._leaders.get(client.name)
        if leader is None:
            raise ConfigError(f"client {client.name}: one of its keys could not be read when this command started")
        return leader
