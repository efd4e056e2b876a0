"""Addresses of health checks and webhooks: secrets, looked up like keys, under the same rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import SecretStr

from mcimport.config.addresses import require_https
from mcimport.config.keys import KeySource
from mcimport.errors import ConfigError

_ADDRESS = re.compile(r"https?://[^\s/?#@\\]+(?:[/?][!-~]*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NotifyUrlSource:
    """Looks up an address to notify.

    Attributes:
        name: the setting's name in messages.
        allow_http: the configuration allows plain http to other machines.
    """

    key: KeySource
    name: str
    allow_http: bool

    def read(self) -> SecretStr:
        """Returns the address. Raises ConfigError, which does not repeat it, where it is missing or cannot be used."""
        secret = self.key.read()
        if not _ADDRESS.fullmatch(secret.get_secret_value()):
            raise ConfigError(f"{self.name}: not an address like https://hc-ping.com/...")
        try:
            require_https(secret.get_secret_value(), allow_http=self.allow_http)
        except ValueError as error:
            raise ConfigError(f"{self.name}: it {error}") from None
        return secret
