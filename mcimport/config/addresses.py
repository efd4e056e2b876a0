"""Addresses: which are well-formed, which may be unencrypted, and those that are secrets, looked up like keys."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from msgspec import Struct
from pydantic import SecretStr

from mcimport.config.keys import KeySource
from mcimport.errors import ConfigError

_LABEL = r"[A-Za-z0-9_-]{1,63}"
ADDRESS_PATTERN = (
    rf"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/[A-Za-z0-9._~%/-]*)?"
)
_ADDRESS = re.compile(ADDRESS_PATTERN)
_NOTIFY_URL = re.compile(r"https?://[^\s/?#@\\]+(?:[/?][!-~]*)?", re.IGNORECASE)
# Characters of a password that have a meaning in an address must be percent-encoded, or libraries cut it there.
_BROKER = re.compile(
    r"(?P<scheme>amqps?)://(?:(?:[^\s/@#?\[\]%;]|%[0-9A-Fa-f]{2})+@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[!-:<-~]*)?"  # no ";": libraries read two there
)

EngineKind = Literal["threads", "celery"]


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    ip = _ip(host)
    return host.lower() == "localhost" or (ip is not None and ip.is_loopback)


def base_address(value: str) -> str:
    """Returns the address without a slash at its end. Raises ValueError, which does not repeat it, otherwise."""
    parts = _ADDRESS.fullmatch(value)
    if (
        parts is None
        or not 0 < int(parts["port"] or 443) < 2**16
        or (parts["host"].startswith("[") and _ip(parts["host"]) is None)
    ):
        raise ValueError(
            'must be an address like "https://proxy.example/v2": http or https, a host, no user name, no query'
        )
    return value.rstrip("/")


def require_https(url: str | None, *, allow_http: bool) -> None:
    """Raises ValueError, which does not repeat the address, for plain http to another machine that is not allowed.

    Every request holds a key, which would travel unencrypted.
    """
    parts = _ADDRESS.match(url or "")
    if parts and parts["scheme"].lower() == "http" and not is_loopback(parts["host"]) and not allow_http:
        raise ValueError(
            "must begin with https: plain http would expose the key, so it is for localhost only (or set allow_http ="
            " true if the network is private)"
        )


class NotifyUrlSource(Struct, frozen=True):
    """Looks up the address of a health check or webhook, like a key and under the same rules.

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
        if not _NOTIFY_URL.fullmatch(secret.get_secret_value()):
            raise ConfigError(f"{self.name}: not an address like https://hc-ping.com/...")
        try:
            require_https(secret.get_secret_value(), allow_http=self.allow_http)
        except ValueError as error:
            raise ConfigError(f"{self.name}: it {error}") from None
        return secret


class EngineSettings(Struct, frozen=True):
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
        parts = _BROKER.fullmatch(secret.get_secret_value())
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
