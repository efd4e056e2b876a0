"""What coordinator and workers send each other: one page of a window, and what became of it.

No key and nobody's data: ids, times, counts and our own words. A worker takes the keys from its own configuration, and
each message is sealed with them (see `seal`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

import msgspec

from mcimport.config import Client
from mcimport.convert import fingerprint
from mcimport.models import LookUps, Outcome, SubscriptionEvents, UnsentSpan, Usage, Window
from mcimport.version import __version__

OrderKind = Literal["page", "fence"]
ReplyKind = Literal[
    "moved", "clear", "begun", "lost", "returned", "revoked", "late", "outdated", "unfenced", "refused", "failed"
]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a worker.

    Attributes:
        kind: "page": move one page of `window`. "fence": say so when no order of an older epoch is at work any more.
        id: this message's own.
        epoch: of one client, the later one counts.
        state_id: the state file that it comes from.
        reply_to: the queue for the answer.
        worker_token: of the worker that answered the last fence; empty in a fence.
        settings: see `settings_of`.
        is_suspect: two workers died while they had it: to be done beside no other suspect, and announced.
        subscription_events, new_since: as decided for the whole run; a window may know better.
        until, has_sms, permissions: see `ContactRules`; `has_sms` as known when this was sent, the others when the run
            began.
        is_first, carried_until: see `RunSpec`.
        look_ups: how many members the run may still look up in Ometria.
        events_left: subscription events that the run may still cause.
        watched, never_sent: see `PageContext`.
        account_known_good: see `OmetriaClient.push`.
    """

    kind: OrderKind
    id: str
    epoch: int
    state_id: str
    reply_to: str
    client: str
    list_key: str
    run_id: int
    settings: str
    worker_token: str = ""
    is_suspect: bool = False
    window: Window | None = None
    subscription_events: SubscriptionEvents = "none"
    new_since: int | None = None
    until: int | None = None
    has_sms: bool = False
    permissions: tuple[str, ...] = ()
    is_first: bool = False
    carried_until: int | None = None
    look_ups: LookUps = LookUps()
    events_left: int = 0
    watched: dict[str, int] = {}
    never_sent: tuple[UnsentSpan, ...] = ()
    account_known_good: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order.

    Attributes:
        kind: "moved": see `outcome`. "clear": the fence stands. "begun": another reply follows, unless the worker dies
            of it. "lost": it had been given to somebody who did not come back. "returned": not begun or not
            ended, and to be sent again: the worker leaves, or cannot begin it at present. "revoked": it was under
            way, or lay ready, when the worker lost its leave to go on. "late": it took longer than a page may.
            "outdated": a later epoch is known, which `epoch` names. "unfenced": another worker answered the fence, so
            this one cannot tell the order from an old one that is repeated. "refused": the worker cannot do it, see
            `words`. "failed": nobody can, or the
            machine or the program failed the worker, see `words`.
        id, state_id: the order's.
        worker_token: in "clear", a name that this worker process has chosen at random.
        costs: what the client's requests have cost there since the last reply.
        is_silenced: a subscription event was kept back.
    """

    kind: ReplyKind
    id: str
    epoch: int
    state_id: str
    run_id: int
    worker: str
    worker_token: str = ""
    window: Window | None = None
    outcome: Outcome | None = None
    costs: Usage = Usage()
    warnings: tuple[str, ...] = ()
    is_silenced: bool = False
    words: str = ""
    hint: str = ""
    status: int = 0


_encoder = msgspec.json.Encoder()
_orders = msgspec.json.Decoder(Order)  # before any thread begins: see `mailchimp`
_replies = msgspec.json.Decoder(Reply)


def encoded(message: Order | Reply) -> bytes:
    return _encoder.encode(message)


def order_of(text: str | bytes) -> Order:
    """Raises msgspec.MsgspecError for what is none."""
    return _orders.decode(text)


def reply_of(text: str | bytes) -> Reply:
    """Raises msgspec.MsgspecError for what is none."""
    return _replies.decode(text)


def settings_of(client: Client, list_key: str, account_group: str) -> str:
    """In a few letters, what has to be alike at both ends, or nothing is moved.

    That is the program itself, how a member becomes a contact, which accounts are meant, how fast these may be asked,
    and with whom they are shared: `account_group`, the first name among those clients, decides on the queue, and so on
    who keeps the limits.
    """
    rules = client.rules(list_key, None)
    known = [
        *(__version__, account_group, fingerprint(rules), list_key, rules.collection, rules.force_optin),
        *(client.mailchimp_url(), client.mailchimp.account, client.mailchimp.connections),
        *(client.ometria_url(), client.ometria.account, client.ometria.requests_per_second, client.ometria.batch),
        client.ometria.reads_per_second,
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def is_same_work(one: Window, other: Window) -> bool:
    """The same part of the same window; how it is to be asked for may have been learned since."""
    return _part(one) == _part(other)


def _part(window: Window) -> tuple[object, ...]:
    return (
        *(window.number, window.sweep, window.since, window.until, window.through),
        *(window.suspect_count, window.letter_id, window.member_id),
    )
