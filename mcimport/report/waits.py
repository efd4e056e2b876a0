"""What a list waits for while nothing is counted: a retry, Ometria, look-ups, or a step that is no page."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct, field

from mcimport.models.retries import Retry
from mcimport.report.format import clock, duration, out_of, pluralize

TELLING = 20  # look-ups that tell how long the others take: the first may have waited for a retry
SILENT_FOR = 5.0  # seconds without a response after which that is said; a page may take a few


class PendingRetry(Struct, frozen=True):
    """Holds a retry, and when its pause ends, by the tracker's clock."""

    retry: Retry
    at: float


class OpenRequests(Struct, frozen=True):
    """Counts the requests that wait for a service.

    `since`: when its last response came or, where none waited before, the first was sent; by the tracker's clock.
    """

    number: int = 0
    since: float = 0.0

    def after(self, change: int, now: float) -> OpenRequests:
        """Returns it with so many more or fewer."""
        return OpenRequests(max(0, self.number + change), self.since if self.number and change > 0 else now)


class LookUpsUnderWay(Struct, frozen=True):
    """Counts contacts that are looked up in Ometria, one by one, from when none was until none is any more.

    `since`: when the first was begun, by the tracker's clock.
    """

    since: float
    total: int = 0
    done: int = 0

    def after(self, contacts: int) -> LookUpsUnderWay | None:
        """Returns it with so many more or, below 0, with so many done; None where that were the last."""
        found = LookUpsUnderWay(self.since, self.total + max(0, contacts), self.done + max(0, -contacts))
        return found if found.done < found.total else None

    def words(self, now: float) -> str:
        """Says how many are done, what for and, once their speed can be known, how long the others take."""
        left = ""
        if self.done >= TELLING:
            left = f", {clock((self.total - self.done) * (now - self.since) / self.done)} left"
        return f"looking up opt-outs in Ometria: {out_of(self.done, self.total, 'contact')}{left}"


class Waits(Struct, frozen=True):
    """Holds what one list waits for at this moment.

    Attributes:
        step: what the run does, in words; empty: it processes pages.
        settled_at: when Ometria should have validated what was pushed, by the tracker's clock.
        look_ups: see there; None: there are none.
        pages: those that may still end after a stop was requested.
        retries: of requests, each by the thread that waits for it.
        requests: those that wait for a response, by the service.
    """

    step: str = ""
    settled_at: float | None = None
    look_ups: LookUpsUnderWay | None = None
    pages: int = 0
    retries: Mapping[int, PendingRetry] = field(default_factory=dict)
    requests: Mapping[str, OpenRequests] = field(default_factory=dict)

    def words(self, now: float) -> str:
        """Returns the most important of these in words; empty where there are none."""
        if self.retries:
            return _retries_text(list(self.retries.values()), now)
        if self.settled_at is not None:
            return f"waiting {_seconds(self.settled_at - now)} for Ometria to settle"
        if self.look_ups is not None:
            return self.look_ups.words(now)
        return ": ".join(filter(None, (self.step, self._silence(now))))

    def _silence(self, now: float) -> str:
        """Returns which service has not answered for long; empty where none is that slow."""
        waiting = {service: now - found.since for service, found in self.requests.items() if found.number}
        service = max(waiting, key=lambda name: waiting[name], default="")
        if not service or waiting[service] < SILENT_FOR:
            return ""
        requests = pluralize(self.requests[service].number, "request")
        return f"no response from {service} for {_seconds(waiting[service])} ({requests})"


def stop_text(pages: int) -> str:
    """Returns what is still done once a stop was requested. `pages`: how many may still end; 0: that is not known."""
    return f"finishing {pluralize(pages, 'page') if pages else 'what is under way'}; Ctrl-C again stops now"


def _retries_text(pending: list[PendingRetry], now: float) -> str:
    """Returns the retry that came furthest, and how many other requests wait for one."""
    furthest = max(pending, key=lambda one: (one.retry.attempt, one.at))
    retry = furthest.retry
    pause = f" in {_seconds(furthest.at - now)}" if furthest.at > now else ""
    number = f", {retry.attempt} of {retry.attempts}" if retry.attempts else ""
    others = f" ({len(pending):,} requests)" if len(pending) > 1 else ""
    return f"{retry.reason}, trying again{pause}{number}{others}"


def _seconds(seconds: float) -> str:
    return duration(max(1, math.ceil(seconds)))
