"""Seals messages and replies with both API keys of their client, and opens only what was sealed so and not changed.

A seal is an HMAC over the whole text, one with each key, so that a process that has one of the two keys can say which
one differs. The API keys themselves seal nothing: from each are derived a key for messages and another for replies, of
this client alone, so that no message can be sent back, or passed on to another client of the same accounts.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Literal

import msgspec
from pydantic import SecretStr

from mcimport.config import Client
from mcimport.engine.distributed.messages import Fence, Message, PageMessage, Reply, encoded, message_of, reply_of
from mcimport.errors import ConfigError

Direction = Literal["order", "reply"]  # these words are in the derived keys: with others, old seals would not open
Reason = Literal["no client", "no key", "mailchimp", "ometria", "both"]

_WORDS: dict[str, str] = {
    "no client": "has no client {}",
    "no key": "cannot read the keys of client {}",
    "mailchimp": "has another Mailchimp key for client {} than the coordinator",
    "ometria": "has another Ometria key for client {} than the coordinator",
    "both": "got a message that is not signed with the keys of client {}",
}


class SealError(Exception):
    """A message that cannot be opened, and may be from anyone who can write to the broker."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """Holds a message or a reply as the broker has it.

    Attributes:
        client: the name of the client whose keys it was sealed with.
        text: the message, or the reply, as JSON.
        mailchimp, ometria: the seal with each key, in hexadecimal digits.
    """

    client: str
    text: str
    mailchimp: str
    ometria: str


# Decodes the envelope; the seals are not checked yet. Raises msgspec.MsgspecError for anything else.
sealed_of: Callable[[str | bytes], Sealed] = msgspec.json.Decoder(Sealed).decode


def seal(client: Client, message: Message | Reply) -> bytes:
    """Returns the message or reply as it is sent. Raises ConfigError where a key of the client cannot be read."""
    direction: Direction = "order" if isinstance(message, PageMessage | Fence) else "reply"
    return encoded(_sealed(client, direction, encoded(message).decode()))


def open_message(client: Client, sealed: Sealed) -> Message:
    """Returns the message. Raises SealError; msgspec.MsgspecError for a good seal on no message of this version."""
    return message_of(_opened(client, "order", sealed))


def open_reply(client: Client, sealed: Sealed) -> Reply:
    """Returns the reply. Raises as `open_message`."""
    return reply_of(_opened(client, "reply", sealed))


def reason_words(reason: str, client: str) -> str:
    """Returns what follows a worker's name where it cannot open a message; empty for a reason that is not ours."""
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
