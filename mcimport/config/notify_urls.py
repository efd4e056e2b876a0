"""Addresses that are told how it went: secrets, looked up like keys, and held to the same rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import SecretStr

from mcimport.config.addresses import require_https
from mcimport.config.keys import KeySource
from mcimport.errors import ConfigError

_ADDRESS = re.compile(r"https?://[^\s/?#@\\]+(?:[/?][!-~]*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NoticeSource:
    """Where an address comes from.

    Attributes:
        name: what it is called in messages.
        allow_http: plain http elsewhere than on this machine was allowed by name.
    """

    key: KeySource
    name: str
    allow_http: bool

    def read(self) -> SecretStr:
        """ConfigError, which does not repeat it, where there is none or it cannot be used."""
        secret = self.key.read()
        if not _ADDRESS.fullmatch(secret.get_secret_value()):
            raise ConfigError(f"{self.name}: not an address like https://hc-ping.com/...")
        try:
            require_https(secret.get_secret_value(), allow_http=self.allow_http)
        except ValueError as error:
            raise ConfigError(f"{self.name}: it {error}") from None
        return secret
