"""The messages between a coordinator and its workers: pages and fences to workers, replies back.

They hold no key and no member's data: ids, times, counts and words of mcimport's own. A worker takes the keys from its
own configuration, and each message is sealed with them (see `seal`).

Each message names its type in the field `type`. Versions before that named it in `kind`: neither side decodes the
other's messages, so a worker rejects them and a coordinator leaves their pages pending.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from mcimport.config import Client
from mcimport.convert import fingerprint
from mcimport.engine.interface import RunSpec
from mcimport.models import LookUps, Outcome, SubscriptionEvents, UnsentSpan, Usage, Window
from mcimport.version import __version__


class MessageRef(msgspec.Struct, frozen=True):
    """Identifies a message, in itself and in the replies to it.

    Attributes:
        id: unique; no id is sent twice.
        state_id: names the state file of the coordinator.
    """

    id: str
    state_id: str
    run_id: int


class WorkerMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Holds what both kinds of messages to a worker say.

    Attributes:
        epoch: of two messages for one client, the higher one is the later coordinator's, or follows a later fence.
        reply_to: the name of the queue for replies.
        settings: see `settings_digest`.
    """

    ref: MessageRef
    epoch: int
    reply_to: str
    client: str
    list_key: str
    settings: str


class Fence(WorkerMessage, frozen=True, kw_only=True, tag="fence"):
    """Asks the worker to end all pages of older epochs, and to reply when none is being processed any more."""


class PageMessage(WorkerMessage, frozen=True, kw_only=True, tag="page"):
    """Asks the worker to process one page of `window`.

    Attributes:
        worker_token: of the worker that cleared the last fence.
        is_suspect: two workers died while they had this page: a worker announces it, and has one such page at a time.
        subscription_events, new_since: as decided for the whole run; the window may set `new_since` for its members.
        has_sms: as known when this was sent.
        look_ups, events_left: what the run may still spend.

    For the others see `ContactRules` and `RunSpec`.
    """

    window: Window
    worker_token: str
    is_suspect: bool = False
    subscription_events: SubscriptionEvents = "none"
    new_since: int | None = None
    until: int | None = None
    has_sms: bool = False
    permissions: tuple[str, ...] = ()
    is_first: bool = False
    imported_until: int | None = None
    look_ups: LookUps = LookUps()
    events_left: int = 0
    watched: dict[str, int] = {}
    never_sent: tuple[UnsentSpan, ...] = ()
    account_known_good: bool = False


class WorkerReply(msgspec.Struct, frozen=True, tag_field="type"):
    """Replies to the message that `ref` names."""

    ref: MessageRef


class FenceCleared(WorkerReply, frozen=True, tag="fence_cleared"):
    """No page of an older epoch is being processed. `worker_token`: chosen at random by this worker process."""

    worker_token: str


class Begun(WorkerReply, frozen=True, tag="begun"):
    """A suspect is about to be processed: another reply follows, unless the worker dies of it."""


class Processed(WorkerReply, frozen=True, tag="processed"):
    """The page was processed, and what was read and pushed is in `outcome`.

    Attributes:
        usage: what the client's requests have cost this worker since its last such reply.
        is_silenced: a subscription event was kept back.
    """

    outcome: Outcome
    usage: Usage
    warnings: tuple[str, ...] = ()
    is_silenced: bool = False


class Returned(WorkerReply, frozen=True, tag="returned"):
    """The page was not begun or not ended, and can be sent again: the worker leaves, or cannot begin it at present."""


class Revoked(WorkerReply, frozen=True, tag="revoked"):
    """The worker had the page, begun or not, when it could no longer be sure that the broker gave it to no other."""


class TimedOut(WorkerReply, frozen=True, tag="timed_out"):
    """The page took longer than a page may."""


class WorkerLost(WorkerReply, frozen=True, tag="worker_lost"):
    """The broker had given the page to another worker before, which did not acknowledge it."""


class Outdated(WorkerReply, frozen=True, tag="outdated"):
    """The worker knows a later epoch, which is `epoch`."""

    epoch: int


class Unfenced(WorkerReply, frozen=True, tag="unfenced"):
    """Another worker cleared the fence, so this one cannot tell the message from an old one that is repeated."""


class Refused(WorkerReply, frozen=True, tag="refused"):
    """This worker cannot process the page, because of its configuration: see `words`."""

    words: str
    hint: str


class Failed(WorkerReply, frozen=True, tag="failed"):
    """No worker can process the page, or this one's machine or mcimport itself failed: see `words`."""

    words: str
    hint: str


Message = PageMessage | Fence
Unprocessed = Returned | Revoked | TimedOut | WorkerLost | Outdated | Unfenced | Refused | Failed
Reply = FenceCleared | Begun | Processed | Unprocessed

encoded = msgspec.json.Encoder().encode
# Both raise msgspec.MsgspecError for anything else. Made at import, before any thread begins: made by several at once,
# one crashed the process.
message_of: Callable[[str | bytes], Message] = msgspec.json.Decoder(Message).decode
reply_of: Callable[[str | bytes], Reply] = msgspec.json.Decoder(Reply).decode


def settings_digest(client: Client, list_key: str, account_group: str) -> str:
    """Returns 16 hexadecimal digits over what has to be the same at both ends, or no page is processed.

    That is the program's version, how a member becomes a contact, which accounts are meant, how fast these may be
    asked, and with which clients they are shared: `account_group`, the first name among those clients, decides on the
    queue, and so on which worker keeps the limits.
    """
    rules = client.rules(list_key, None)
    settings = [
        *(__version__, account_group, fingerprint(rules), list_key, rules.collection, rules.force_optin),
        *(client.mailchimp_url(), client.mailchimp.account, client.mailchimp.connections),
        *(client.ometria_url(), client.ometria.account, client.ometria.requests_per_second, client.ometria.batch),
        client.ometria.reads_per_second,
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


class MessageBuilder:
    """Builds messages, and counts in their outcomes what the run has spent and learned.

    Attributes:
        spec: the run's, with the rules as learned by now, and what is left to spend.
        epoch: of the last fence. Pages carry it.
        worker_token: of the worker that cleared it. Pages carry it, too.
    """

    def __init__(self, spec: RunSpec, account_group: str, reply_to: str) -> None:
        self.spec = spec
        self.epoch = 0
        self.worker_token = ""
        self._same = {  # in all messages of the run
            "reply_to": reply_to,
            "client": spec.client.name,
            "list_key": spec.list_key,
            "settings": settings_digest(spec.client, spec.list_key, account_group),
        }

    def fence(self, after: int) -> Fence:
        """Returns a fence of a new epoch; `after`: a higher one than ours that a worker knows."""
        self.epoch = max(after + 1, self.epoch + 1, time.time_ns())
        return Fence(ref=self._ref(uuid.uuid4().hex), epoch=self.epoch, **self._same)

    def page(self, message_id: str, window: Window, *, is_suspect: bool) -> PageMessage:
        spec = self.spec
        return PageMessage(
            ref=self._ref(message_id),
            epoch=self.epoch,
            **self._same,
            window=window,
            worker_token=self.worker_token,
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


_part = attrgetter("number", "sweep", "since", "until", "through", "suspect_count", "letter_id", "member_id")


def is_same_work(window: Window, other: Window) -> bool:
    """Returns whether both are the same part of the same window, however it is to be asked for."""
    return bool(_part(window) == _part(other))
