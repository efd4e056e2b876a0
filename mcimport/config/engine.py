"""Which engine works windows off, and where its broker is: an address that is a secret, looked up like keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from mcimport.config.addresses import is_loopback
from mcimport.config.keys import KeySource
from mcimport.errors import ConfigError

EngineKind = Literal["threads", "celery"]
# In a password whatever has a meaning of its own in an address is percent-encoded: else libraries cut it there.
_ADDRESS = re.compile(
    r"(?P<scheme>amqps?)://(?:(?:[^\s/@#?\[\]%;]|%[0-9A-Fa-f]{2})+@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[!-:<-~]*)?"  # no ";": libraries read two there
)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`source`: where the broker's address comes from; it is read by those alone who need one.

    `allow_plain`: other machines are spoken to in the open, too.
    """

    kind: EngineKind
    source: KeySource
    allow_plain: bool = False

    def broker(self) -> SecretStr:
        """ConfigError, which does not repeat it, where there is none, it is no address, or others could hear it."""
        secret = self.source.read()
        parts = _ADDRESS.fullmatch(secret.get_secret_value())
        if parts is None:
            raise ConfigError(
                "[engine] broker: not an address like amqps://user:password@host:5671/",
                hint="In the password, percent-encode everything but letters and digits: # is %23, / is %2F.",
            )
        if parts["scheme"] == "amqp" and not is_loopback(parts["host"]) and not self.allow_plain:
            raise ConfigError(
                "[engine] broker: plain amqp:// sends the password and all messages unencrypted to another machine",
                hint="Use amqps://, or set allow_plain = true in [engine] if the network is private.",
            )
        return secret
