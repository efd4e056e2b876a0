"""Logs a client's requests and retries, each with the run, list and window that it belongs to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mcimport.models.retries import Retry
from mcimport.version import __version__

RetrySink = Callable[[str, Retry | None], None]
"""Takes the key of a list, and the retry that the calling thread waits for; None: the request has ended."""

RequestSink = Callable[[str, str, int], None]
"""Takes the key of a list, a service, and by how much the number of requests rises that wait for its response."""

EventSink = Callable[[str, Mapping[str, Any]], None]
"""Takes the name of an event and what belongs to it."""

_SHOWN = ("count", "offset", "status", "since_last_changed", "before_last_changed", "limit")
_LIST_DEPTH = 3  # lists/KEY/members: what follows names one person


class RequestLog:
    """Logs for one client, whose two HTTP clients share it: one run at a time, and one window in each thread.

    Args:
        tell: is called with every request and every retry; None: nothing is logged.
        on_retry: is called before the pause of each retry, and at the end of a request that was tried again.
        on_request: is called with 1 before each request, and with -1 after it.

    `agent`: the User-Agent of its requests.
    """

    def __init__(
        self,
        client: str,
        tell: EventSink | None = None,
        on_retry: RetrySink = lambda _key, _retry: None,
        on_request: RequestSink = lambda _key, _service, _change: None,
    ) -> None:
        self._client = client
        self._tell = tell
        self._on_retry = on_retry
        self._on_request = on_request
        self._place: dict[str, Any] = {}
        self._thread = threading.local()
        self.agent = f"mcimport/{__version__}"

    def begin(self, list_key: str, run_id: int) -> None:
        """Attributes the requests from here on to this run, in the User-Agent, too."""
        self._place = {"list_key": list_key, "run_id": run_id}
        self.agent = f"mcimport/{__version__} (run {run_id})"

    @property
    def present_window(self) -> int | None:
        """Returns the number of the window that this thread's requests belong to; None outside of `window`."""
        number: int | None = getattr(self._thread, "number", None)
        return number

    @contextmanager
    def window(self, number: int | None) -> Iterator[None]:
        """Attributes this thread's requests in the block to that window."""
        self._thread.number = number
        try:
            yield
        finally:
            self._thread.number = None

    @contextmanager
    def sending(self, service: str) -> Iterator[None]:
        """Tells at once that a request is sent in the block."""
        list_key = self._place.get("list_key", "")
        self._on_request(list_key, service, 1)
        try:
            yield
        finally:
            self._on_request(list_key, service, -1)

    def request(
        self, method: str, service: str, path: str, params: Mapping[str, str] | None, status: int, seconds: float
    ) -> None:
        """Logs a request that took so many seconds. `status`: 0 where no answer came."""
        if self._tell is not None:
            what = {
                "service": service,
                "method": method,
                "path": without_personal_data(path, params or {}),
                "status": status,
            }
            self._tell("request", {**self._where(), **what, "seconds": round(seconds, 3)})

    def retrying(self, retry: Retry | None) -> None:
        """Tells at once that this thread waits for a retry or, with None, that the request has ended."""
        self._on_retry(self._place.get("list_key", ""), retry)

    def retry(self, service: str, reason: str, seconds: float) -> None:
        """Logs that a request is tried again after a pause of so many seconds."""
        if self._tell is not None:
            self._tell("retry", {**self._where(), "service": service, "reason": reason, "paused": round(seconds, 1)})

    def _where(self) -> dict[str, Any]:
        number = self.present_window
        return {"client": self._client, **self._place, **({} if number is None else {"window": number})}


def without_personal_data(path: str, params: Mapping[str, str]) -> str:
    """Returns path and query without the member that the path names, and without what is long or always the same."""
    parts = path.split("/")
    if parts[0] == "lists" and len(parts) > _LIST_DEPTH and parts[2] == "members":
        parts[_LIST_DEPTH] = "*"
    query = "&".join(f"{name}={params[name]}" for name in _SHOWN if name in params)
    return "/".join(parts) + (f"?{query}" if query else "")
