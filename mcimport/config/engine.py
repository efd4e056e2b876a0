"""Which engine processes the windows, and its broker: an address that is a secret, looked up like keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from mcimport.config.addresses import is_loopback
from mcimport.config.keys import KeySource
from mcimport.errors import ConfigError

EngineKind = Literal["threads", "celery"]
# Characters of a password that have a meaning in an address must be percent-encoded, or libraries cut it there.
_ADDRESS = re.compile(
    r"(?P<scheme>amqps?)://(?:(?:[^\s/@#?\[\]%;]|%[0-9A-Fa-f]{2})+@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[!-:<-~]*)?"  # no ";": libraries read two there
)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Holds the `[engine]` table.

    Attributes:
        source: where the broker's address comes from; only read when a broker is needed.
        allow_plain: the address may be an unencrypted one of another machine.
    """

    kind: EngineKind
    source: KeySource
    allow_plain: bool = False

    def broker(self) -> SecretStr:
        """Returns the broker's address.

        Raises ConfigError, which does not repeat it, where it is missing, no address, or unencrypted without leave.
        """
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
