"""Builds the messages of one run, each with what the run may still spend when it is sent."""

from __future__ import annotations

import uuid
from dataclasses import replace

from mcimport.engine.distributed.messages import Fence, MessageRef, PageMessage, settings_digest
from mcimport.engine.interface import RunSpec
from mcimport.models import Outcome, Window


class MessageBuilder:
    """Builds messages, and counts in their outcomes what the run has spent and learned.

    `spec`: the run's, with the rules as learned by now, and what is left to spend.
    """

    def __init__(self, spec: RunSpec, account_group: str, reply_to: str) -> None:
        self.spec = spec
        self._reply_to = reply_to
        self._settings = settings_digest(spec.client, spec.list_key, account_group)

    def fence(self, epoch: int) -> Fence:
        return Fence(
            ref=self._ref(uuid.uuid4().hex),
            epoch=epoch,
            reply_to=self._reply_to,
            client=self.spec.client.name,
            list_key=self.spec.list_key,
            settings=self._settings,
        )

    def page(
        self, message_id: str, window: Window, *, epoch: int, worker_token: str, is_suspect: bool = False
    ) -> PageMessage:
        spec = self.spec
        return PageMessage(
            ref=self._ref(message_id),
            epoch=epoch,
            reply_to=self._reply_to,
            client=spec.client.name,
            list_key=spec.list_key,
            settings=self._settings,
            window=window,
            worker_token=worker_token,
            is_suspect=is_suspect,
            subscription_events=spec.rules.subscription_events,
            new_since=spec.rules.new_since,
            until=spec.rules.until,
            has_sms=spec.rules.has_sms,
            permissions=tuple(sorted(spec.rules.permissions)),
            is_first=spec.is_first,
            imported_until=spec.imported_until,
            look_ups=spec.look_ups,
            events_left=spec.event_budget.limit,
            watched=dict(spec.watched),
            never_sent=spec.never_sent,
            account_known_good=spec.account_known_good,
        )

    def count(self, outcome: Outcome) -> None:
        """Takes off what a page has cost, and adds what it has shown."""
        spec = self.spec
        self.spec = replace(
            spec,
            rules=replace(spec.rules, has_sms=True) if outcome.has_sms else spec.rules,
            event_budget=replace(spec.event_budget, limit=max(0, spec.event_budget.limit - outcome.events)),
            look_ups=spec.look_ups.less(outcome.looked_up),
            account_known_good=spec.account_known_good or bool(outcome.pushed),
        )

    def _ref(self, message_id: str) -> MessageRef:
        return MessageRef(message_id, self.spec.state_id, self.spec.run_id)
