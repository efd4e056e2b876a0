"""Requests of one client to one service: counted, timed and logged, and waited for without the decode slot."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar

from mcimport.errors import InterruptedRunError, ThrottledError
from mcimport.services.http import decode_slot
from mcimport.services.http.client import HttpClient
from mcimport.services.http.response import Response
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.usage import Side, UsageMeter


class ServiceRequests:
    """Sends them. The clients of both services build on it; safe to share between threads."""

    side: ClassVar[Side]

    def __init__(self, http: HttpClient, policy: RetryPolicy, meter: UsageMeter | None = None) -> None:
        self._http = http
        self._meter = meter or UsageMeter()
        self._policy = replace(policy, retried=self._note_retry)

    def close(self) -> None:
        self._http.close()

    def check_not_stopped(self) -> None:
        """Raises InterruptedRunError once a stop was asked for."""
        if self._policy.stop.requested.is_set():
            raise InterruptedRunError("stopped")

    def _send(
        self, method: str, path: str, *, slot: AbstractContextManager[object] | None = None, **options: Any
    ) -> Response:
        """Sends one request, as `HttpClient.send`, and returns its answer. Raises what an answer without success means.

        `slot`: is held from before the request until its answer is there; the wait for it counts as a wait for the
        service.
        """
        with decode_slot.released(), self._meter.waiting(self.side), slot or nullcontext():
            self._meter.requested(self.side)
            try:
                return self._http.checked(self._http.send(method, path, **options))
            except ThrottledError:
                self._meter.throttled(self.side)
                raise

    def _note_retry(self, seconds: float, error: BaseException | None) -> None:
        self._meter.retried(self.side, seconds)
        self._http.trace.retry(self._http.service, str(error), seconds)
