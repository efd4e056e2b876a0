"""Requests of one client to one service: counted, timed and logged, without the decode slot, and within its rate."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

from msgspec.structs import replace

from mcimport.errors import InterruptedRunError, ThrottledError
from mcimport.services.http import decode_slot
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import Permit, RateLimiter
from mcimport.services.http.response import Response
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.usage import Side, UsageMeter


@dataclass(eq=False, repr=False)
class ServiceRequests:
    """Sends them. The clients of both services build on it; safe to share between threads."""

    side: ClassVar[Side]

    http: HttpClient
    policy: RetryPolicy
    meter: UsageMeter = field(default_factory=UsageMeter, kw_only=True)

    def __post_init__(self) -> None:
        self.policy = replace(self.policy, retrying=self.http.trace.retrying, retried=self._note_retry)

    def close(self) -> None:
        self.http.close()

    def check_not_stopped(self) -> None:
        """Raises InterruptedRunError once a stop was asked for."""
        if self.policy.stop.requested.is_set():
            raise InterruptedRunError("stopped")

    def _send(
        self, method: str, path: str, *, slot: AbstractContextManager[object] | None = None, **options: Any
    ) -> Response:
        """Sends one request, as `HttpClient.send`, and returns its answer. Raises what an answer without success means.

        `slot`: is held from before the request until its answer is there; the wait for it counts as a wait for the
        service.
        """
        with decode_slot.released(), self.meter.waiting(self.side), slot or nullcontext():
            self.meter.requested(self.side)
            try:
                return self.http.checked(self.http.send(method, path, **options))
            except ThrottledError:
                self.meter.throttled(self.side)
                raise

    def _note_retry(self, seconds: float, error: BaseException | None) -> None:
        self.meter.retried(self.side, seconds)
        self.http.trace.retry(self.http.service, str(error), seconds)


@dataclass(eq=False, repr=False)
class RateLimitedRequests(ServiceRequests):
    """Sends requests to Ometria, one permit each. `limiter`: of the account, for this kind of request."""

    side: ClassVar[Side] = "ometria"

    limiter: RateLimiter

    def permit(self) -> Permit:
        """Waits for the next permit; to be called with the decode slot released."""
        with self.meter.timed("waited_limiter"):
            return self.limiter.permit(self.policy.stop)

    def _send_with(self, permit: Permit, method: str, path: str, **options: Any) -> Response:
        """Sends one request, as `_send`, and tells the limiter when it has left and whether it was refused."""
        try:
            return self._send(method, path, on_sent=permit.sent, **options)
        except ThrottledError:
            self.limiter.refused(permit)
            raise
        finally:
            permit.sent()
