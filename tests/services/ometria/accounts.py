"""Accounts of the sandbox's Ometria, and what is pushed to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Protocol

from mcimport.sandbox.request_log import Request
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.ometria.client import OmetriaClient
from services.http.test_client import saying, serving

ACCOUNTS = count(1)
FAST = 1_000_000.0  # pushes a second: the pace is the matter of other tests


class Boxes(Protocol):
    """Makes a sandbox, an Ometria that no pace holds back, and its client."""

    def __call__(self, *, batch: int = 100, **knobs: Any) -> tuple[Sandbox, OmetriaClient]: ...


def client(sandbox: Sandbox, *, batch: int = 100, key: str = "", patience: RetryPolicy | None = None) -> OmetriaClient:
    wire = HttpClient("Ometria", sandbox.ometria_url, {"X-Ometria-Auth": key or sandbox.ometria_key})
    return OmetriaClient(wire, patience or RetryPolicy(wait=0), RateLimiter(FAST), batch)


def new_account(sandbox: Sandbox, batch: int, **knobs: Any) -> OmetriaClient:
    vars(sandbox.settings).update(
        vars(SandboxSettings(**{"size": 0, "pushes_per_second": 10**6, "reads_per_second": 10**6, **knobs}))
    )
    number = next(ACCOUNTS)
    sandbox.mailchimp_key, sandbox.ometria_key = f"{number:032x}-us6", f"{number:032x}"
    sandbox.add_account(sandbox.mailchimp_key, sandbox.ometria_key, {})
    sandbox.clear_requests()
    return client(sandbox, batch=batch)


def first_times(fault: str, times: int) -> Callable[[Request], str | None]:
    """The fault strikes so many requests, then no more."""
    left = iter([fault] * times)
    return lambda _: next(left, None)


def after(times: int, fault: str) -> Callable[[Request], str | None]:
    """So many requests are answered, then the fault strikes all."""
    spared = iter(range(times))
    return lambda _: None if next(spared, None) is not None else fault


@contextmanager
def saying_always(raw: bytes, pacer: RateLimiter | None = None) -> Iterator[OmetriaClient]:
    """An Ometria that gives one answer to everything."""
    with serving(saying(raw)) as server:
        ometria = OmetriaClient(HttpClient("Ometria", server.url, {}), RetryPolicy(wait=0), pacer or RateLimiter(FAST))
        try:
            yield ometria
        finally:
            ometria.close()


def records(count: int) -> list[bytes]:
    return [
        json.dumps(
            {
                "@type": "contact",
                "@collection": "mailchimp",
                "id": f"l-{number}",
                "email": f"c{number}@example.com",
                "marketing_optin": "NOT_SPECIFIED",
            }
        ).encode()
        for number in range(count)
    ]


def stored(sandbox: Sandbox) -> set[str]:
    return {contact_id for _, contact_id in sandbox.contacts()}


def ids(places: range | tuple[int, ...]) -> set[str]:
    return {f"l-{place}" for place in places}
