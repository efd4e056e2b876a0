"""The engine of many machines: this process sends pages to workers, and records what became of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace

from pydantic import SecretStr

from mcimport.config import Client
from mcimport.engine.distributed import broker
from mcimport.engine.distributed.account_groups import group_by_account
from mcimport.engine.distributed.broker_channel import BrokerChannel
from mcimport.engine.distributed.coordinator import Coordinator
from mcimport.engine.distributed.message_builder import MessageBuilder
from mcimport.engine.distributed.work_queue import WorkQueue
from mcimport.engine.interface import CircuitBreaker, RunSpec
from mcimport.engine.page.subscription_events import EventBudget, apply_event_limit
from mcimport.engine.threads import LocalEngine
from mcimport.errors import ConfigError
from mcimport.models import Outcome, Page, Window


class RemoteEngine:
    """Implements `Engine` over a broker.

    Clients that share an account are run one after another: a worker keeps the account's limits, not this process.
    `clients`: all that are configured, to find out which share an account.
    """

    is_local = False

    def __init__(self, address: SecretStr, clients: Iterable[Client]) -> None:
        self._app = broker.application(address)
        self._account_groups = group_by_account(clients)
        self._locks = {name: threading.Lock() for name in set(self._account_groups.values())}
        self._local = LocalEngine()

    def client_lock(self, client: Client) -> AbstractContextManager[object]:
        account_group = self._account_groups.get(client.name)
        return nullcontext() if account_group is None else self._locks[account_group]

    def run(
        self, spec: RunSpec, windows: Sequence[Window], pages: Mapping[int, Page], record: Callable[[Outcome], None]
    ) -> bool:
        if spec.is_dry:
            return self._local.run(spec, windows, pages, record)
        empty = {number: page for number, page in pages.items() if not page.members}
        self._local.run(spec, [window for window in windows if window.number in empty], empty, record)
        rest = [window for window in windows if window.number not in empty]
        if not rest:
            return False
        account_group = self._account_groups.get(spec.client.name)
        if account_group is None:
            raise ConfigError(f"client {spec.client.name}: one of its keys could not be read when this command started")
        channel = BrokerChannel(self._app, broker.shard_of(account_group), spec.state_id, spec.client, spec.warn)
        rules, is_silenced = apply_event_limit(spec.services.mailchimp, spec.rules, spec.event_budget, spec.warn)
        queue = WorkQueue(rest, spec.client.mailchimp.connections)
        spec = replace(spec, rules=rules, event_budget=EventBudget(spec.event_budget.limit, most=0, events=()))
        builder = MessageBuilder(spec, account_group, channel.reply_to)
        with closing(channel):
            return Coordinator(channel, builder, queue, CircuitBreaker(record), self._local).run() or is_silenced
