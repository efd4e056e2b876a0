"""Which engine works windows off, and where its broker is: an address that is a secret, looked up like keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from mcimport.config.keys import KeySource
from mcimport.errors import ConfigError

EngineKind = Literal["threads", "celery"]
# In a password whatever has a meaning of its own in an address is percent-encoded: else libraries cut it there.
_ADDRESS = re.compile(
    r"amqps?://(?:(?:[^\s/@#?\[\]%]|%[0-9A-Fa-f]{2})+@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[!-~]*)?"
)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`source`: where the broker's address comes from; it is read by those alone who need one."""

    kind: EngineKind
    source: KeySource

    def broker(self) -> SecretStr:
        """ConfigError, which does not repeat it, where there is none or it is no address."""
        secret = self.source.read()
        if not _ADDRESS.fullmatch(secret.get_secret_value()):
            raise ConfigError(
                "[engine] broker: that is no address like amqp://user:password@host:5672/",
                hint="In the password, whatever is no letter or digit is percent-encoded: # is %23, / is %2F.",
            )
        return secret
