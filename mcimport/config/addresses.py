"""Addresses of services: which are well-formed, and which may be asked over plain http."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_ADDRESS = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/[A-Za-z0-9._~%/-]*)?",
    re.IGNORECASE | re.ASCII,
)


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
