"""What Mailchimp answers to one connection more than the ten that an account has."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from mcimport.errors import RetriableError
from mcimport.monitoring.probe.mailchimp_answers import LARGEST_PAGE
from mcimport.monitoring.probe.seen import DIFFERS, HOLDS, UNKNOWN, Seen
from mcimport.services.http.client import HttpClient

ALLOWED = 10
ONE_TOO_MANY = ALLOWED + 1
THROTTLED = 429
LONGEST_WAIT = 30.0  # seconds until all threads are ready

Exchange = tuple[int, float, float]
"""Status (0: the connection was lost), beginning and end of a request, in monotonic seconds."""


def connections(http: HttpClient, list_key: str) -> Seen:
    """Requests eleven pages at once, each once. Other programs of the account may be refused for that moment."""
    ready = Barrier(ONE_TOO_MANY, timeout=LONGEST_WAIT)
    path, params = f"lists/{list_key}/members", {"count": str(LARGEST_PAGE), "fields": "members.last_changed"}

    def ask(_: int) -> Exchange:
        ready.wait()
        began, status = time.monotonic(), 0
        try:
            status = http.send("GET", path, params=params).status
        except RetriableError:
            status = 0
        return status, began, time.monotonic()

    with ThreadPoolExecutor(ONE_TOO_MANY, thread_name_prefix="connections") as pool:
        found = list(pool.map(ask, range(ONE_TOO_MANY)))
    return _judged(found)


def _judged(found: list[Exchange]) -> Seen:
    statuses = [status for status, _, _ in found]
    refused = [status for status in statuses if not 200 <= status < 300]  # noqa: PLR2004 - successes
    at_once = max(sum(began <= moment < ended for _, began, ended in found) for _, moment, _ in found)
    evidence = {"open_at_once": at_once, "refused": len(refused), "statuses": sorted(set(statuses))}
    if refused:
        return (HOLDS if set(refused) == {THROTTLED} else DIFFERS), evidence
    return (DIFFERS if at_once > ALLOWED else UNKNOWN), evidence
