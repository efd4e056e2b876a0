"""Holds what is logged of each request: the measure of what an importer does to the two services."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Service = Literal["mailchimp", "ometria"]


@dataclass
class Request:
    """Holds one request and its result.

    Attributes:
        key: of the account it was made with; empty if there is none with that key.
        path: without the base address, as sent ("/lists/1a2d7ebf82/members").
        query: decoded.
        at: when it arrived, `finished`: when its answer had been handed to the network; monotonic seconds.
        status: what was answered; 0 while it is under way, and when it got no answer.
        open: how many requests of this account were open when this one had arrived, itself included.
        count: the members in the answer, or the records in the push.
        ids: of the records pushed, as far as they have one.
        bytes: of the answer's body, or of the push.
        nth: how many requests with the same method and path there were before, whatever their query.
        agent: the client's `User-Agent`.
    """

    service: Service
    method: str
    path: str
    query: dict[str, str]
    at: float
    key: str = ""
    status: int = 0
    finished: float = 0.0
    open: int = 0
    count: int = 0
    ids: tuple[str, ...] = ()
    bytes: int = 0
    nth: int = 0
    fault: str | None = None
    agent: str = ""


def max_open(requests: Iterable[Request], key: str) -> int:
    return max((request.open for request in requests if request.key == key), default=0)


def max_in_any_second(times: Iterable[float], second: float = 1.0) -> int:
    """Returns the most times that fall into any half-open second, wherever it begins."""
    ordered = sorted(times)
    return max((n - bisect_right(ordered, time - second) for n, time in enumerate(ordered, 1)), default=0)
