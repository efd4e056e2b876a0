"""Seals: an order or a reply is taken only from somebody who has both API keys of its client, and as that one wrote it.

A seal is an HMAC over the whole text, one with each key, so that whoever has one of the two can say which one differs.
The keys themselves seal nothing: from each are derived a key for orders and another for replies, of this client alone,
so that no message can be sent back, or passed on to another client of the same accounts.
"""

from __future__ import annotations

import hmac
from typing import Literal

import msgspec
from pydantic import SecretStr

from mcimport.config import Client
from mcimport.engine.distributed.messages import Order, Reply, encoded, order_of, reply_of
from mcimport.errors import ConfigError

Direction = Literal["order", "reply"]
Reason = Literal["no client", "no key", "mailchimp", "ometria", "both"]

_WORDS: dict[str, str] = {
    "no client": "has no client {}",
    "no key": "cannot read the keys of client {}",
    "mailchimp": "has another Mailchimp key for client {} than the coordinator",
    "ometria": "has another Ometria key for client {} than the coordinator",
    "both": "got a message that is not signed with the keys of client {}",
}


class SealError(Exception):
    """A message that may be anybody's."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the broker has it.

    Attributes:
        client: whose keys it was sealed with.
        text: the order, or the reply, as JSON.
        mailchimp, ometria: the seal with each key, in hexadecimal digits.
    """

    client: str
    text: str
    mailchimp: str
    ometria: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Sealed)


def sealed_of(message: str | bytes) -> Sealed:
    """Not looked at yet. Raises msgspec.MsgspecError for what is none."""
    return _decoder.decode(message)


def seal(client: Client, message: Order | Reply) -> bytes:
    """Raises ConfigError where a key of the client is not there."""
    text = encoded(message).decode()
    return _encoder.encode(_sealed(client, "order" if isinstance(message, Order) else "reply", text))


def open_order(client: Client, sealed: Sealed) -> Order:
    """Raises SealError, and msgspec.MsgspecError for what is sealed well and no order of this version."""
    return order_of(_opened(client, "order", sealed))


def open_reply(client: Client, sealed: Sealed) -> Reply:
    """As `open_order`."""
    return reply_of(_opened(client, "reply", sealed))


def reason_words(reason: str, client: str) -> str:
    """What a worker does with an order that it cannot open, to follow its name; empty for no reason of ours."""
    return _WORDS.get(reason, "").format(client)


def _opened(client: Client, direction: Direction, sealed: Sealed) -> str:
    try:
        ours = _sealed(client, direction, sealed.text)
    except ConfigError:
        raise SealError("no key") from None
    mailchimp = hmac.compare_digest(ours.mailchimp.encode(), sealed.mailchimp.encode())
    ometria = hmac.compare_digest(ours.ometria.encode(), sealed.ometria.encode())
    if mailchimp and ometria:
        return sealed.text
    raise SealError("ometria" if mailchimp else "mailchimp" if ometria else "both")


def _sealed(client: Client, direction: Direction, text: str) -> Sealed:
    label = f"mcimport {direction} {client.name}"
    return Sealed(
        client=client.name,
        text=text,
        mailchimp=_mac(client.mailchimp_key(), label, text),
        ometria=_mac(client.ometria_key(), label, text),
    )


def _mac(key: SecretStr, label: str, text: str) -> str:
    derived = hmac.digest(key.get_secret_value().encode(), label.encode(), "sha256")
    return hmac.digest(derived, text.encode(), "sha256").hex()
