"""Proxies and certificates, read from the environment, with an error in words where they cannot be used.

The rules are those of curl and of Python's own urllib: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either
case. A service on this machine is never asked through a proxy: no key in plain http leaves it.
"""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # documented nowhere, in every Python

import httpcore
import httpx

from mcimport.errors import ConfigError
from mcimport.errors.machine import pip

KEPT_FOR = 5.0  # seconds for which an idle connection is used again
_KINDS = ("http://", "https://", "socks5://", "socks5h://")


def connector(url: str) -> Callable[[httpcore.NetworkBackend], httpcore.ConnectionPool]:
    """Returns what makes a pool of one connection to an address and those below it.

    Raises ConfigError, as `proxy_for` and `tls` do.
    """
    proxy = proxy_for(url)
    context = tls() if url.startswith("https:") else None
    way = None if proxy is None else _way(proxy)

    def make(backend: httpcore.NetworkBackend) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=context, proxy=way, max_connections=1, keepalive_expiry=KEPT_FOR, network_backend=backend
        )

    return make


def client(url: str, **options: Any) -> httpx.Client:
    """Returns httpx's client for an occasional request. Redirects are not followed. Raises as `connector`."""
    verify = tls() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for http: never used
    way = httpx.HTTPTransport(verify=verify, proxy=proxy_for(url), trust_env=False)
    return httpx.Client(transport=way, trust_env=False, follow_redirects=False, **options)


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> httpx.Proxy | None:
    """Returns the proxy for an address; None: it is asked directly.

    Raises ConfigError, by the variable's name and never with what it holds, for one that cannot be used.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    named = _named((f"{parts.scheme}_proxy", "all_proxy"), environment)
    if named is None or is_loopback(host) or _is_left_out(host, environment):
        return None
    name, value = named
    return _proxy(name, value)


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.cache
def tls() -> ssl.SSLContext:
    """Returns the TLS context with this machine's certificates.

    There is one for all clients: to read the certificates takes longer than an idle sync.
    Raises ConfigError where `SSL_CERT_FILE` or `SSL_CERT_DIR` names no certificates.
    """
    try:
        found = httpx.create_ssl_context()
    except (OSError, ssl.SSLError):
        found = None
    name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    if found is not None and (name is None or name == "SSL_CERT_DIR" or found.cert_store_stats()["x509_ca"]):
        return found
    or_unset = f", or unset {name}" if name else ""
    raise ConfigError(
        f"{name or 'this machine'} has no certificates that can be read",
        hint=f"Set SSL_CERT_FILE to a file with certificates, like /etc/ssl/certs/ca-certificates.crt{or_unset}.",
    )


def _way(proxy: httpx.Proxy) -> httpcore.Proxy:
    url = proxy.url
    address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    return httpcore.Proxy(address, auth=proxy.raw_auth, headers=proxy.headers.raw)


def _named(names: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Returns name and value of the first of these variables that is set; lower case comes first, as in curl."""
    for name in names:
        for spelling in (name, name.upper()):
            if value := environment.get(spelling, "").strip():
                return spelling, value
    return None


def _is_left_out(host: str, environment: Mapping[str, str]) -> bool:
    """Says whether NO_PROXY names the host: by name, ending, address or range; entries of other kinds are ignored."""
    named = _named(("no_proxy",), environment)
    if named is None:
        return False
    entries = [entry.strip().strip("[]") for entry in named[1].split(",")]
    by_name = ",".join(entry for entry in entries if "/" not in entry)
    return bool(proxy_bypass_environment(host, {"no": by_name})) or any(_holds(entry, host) for entry in entries)


def _holds(network: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _proxy(name: str, value: str) -> httpx.Proxy:
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0 and url.startswith(_KINDS)
        has_rest = parts.path not in ("", "/") or parts.query or parts.fragment
        found = httpx.Proxy(url) if is_whole and not has_rest else None
    except (ValueError, httpx.InvalidURL):
        found = None
    if found is None:
        raise ConfigError(
            f"{name} is not a valid proxy address",
            hint="It should look like http://proxy.example:3128. In a password, percent-encode #, ?, / and [.",
        )
    if url.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigError(
            f"{name} names a SOCKS proxy, which needs an extra of httpx",
            hint=f"Install it with: {pip()} install 'httpx[socks]'",
        )
    return found
