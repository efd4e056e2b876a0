"""Builds the messages of one run, each with what the run may still spend when it is sent."""

from __future__ import annotations

import uuid
from dataclasses import replace

from mcimport.engine.distributed.messages import Fence, MessageRef, PageMessage, settings_digest
from mcimport.engine.interface import RunSpec
from mcimport.engine.page.subscription_events import EventBudget
from mcimport.models import ContactRules, LookUps, Outcome, Window


class MessageBuilder:
    """Builds messages, and counts in their outcomes what the run has spent and learned.

    Args:
        rules: as they are when the run begins; they learn that the list has SMS statuses.
        account_group: the first name among the clients that share an account with this one.
        reply_to: the name of the queue for replies.
    """

    def __init__(self, spec: RunSpec, rules: ContactRules, account_group: str, reply_to: str) -> None:
        self._spec = spec
        self._rules = rules
        self._reply_to = reply_to
        self._settings = settings_digest(spec.client, spec.list_key, account_group)
        self._events = 0
        self._looked_up = LookUps()
        self._account_known_good = spec.account_known_good

    def fence(self, epoch: int) -> Fence:
        return Fence(
            ref=self._ref(uuid.uuid4().hex),
            epoch=epoch,
            reply_to=self._reply_to,
            client=self._spec.client.name,
            list_key=self._spec.list_key,
            settings=self._settings,
        )

    def page(
        self, message_id: str, window: Window, *, epoch: int, worker_token: str, is_suspect: bool = False
    ) -> PageMessage:
        spec = self._spec
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
            subscription_events=self._rules.subscription_events,
            new_since=self._rules.new_since,
            until=self._rules.until,
            has_sms=self._rules.has_sms,
            permissions=tuple(sorted(self._rules.permissions)),
            is_first=spec.is_first,
            carried_until=spec.carried_until,
            look_ups=self._look_ups_left,
            events_left=self._events_left,
            watched=dict(spec.watched),
            never_sent=spec.never_sent,
            account_known_good=self._account_known_good,
        )

    def local_spec(self) -> RunSpec:
        """Returns the run's spec for pages that are processed in this process, with what is left to spend."""
        return replace(
            self._spec,
            rules=self._rules,
            event_budget=EventBudget(limit=self._events_left, most=0, events=()),
            look_ups=self._look_ups_left,
            account_known_good=self._account_known_good,
        )

    def count(self, outcome: Outcome) -> None:
        """Adds what a page has cost and shown to what the next messages say."""
        self._events += outcome.events
        self._looked_up += outcome.looked_up
        self._account_known_good |= bool(outcome.pushed)
        if outcome.has_sms:
            self._rules = replace(self._rules, has_sms=True)

    @property
    def _events_left(self) -> int:
        """Subscription events that the run may still cause."""
        return max(0, self._spec.event_budget.limit - self._events)

    @property
    def _look_ups_left(self) -> LookUps:
        return self._spec.look_ups.less(self._looked_up)

    def _ref(self, message_id: str) -> MessageRef:
        return MessageRef(message_id, self._spec.state_id, self._spec.run_id)
