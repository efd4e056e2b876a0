"""Requests to Ometria within the rate of the account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mcimport.errors import ThrottledError
from mcimport.services.http.rate_limit import Permit, RateLimiter
from mcimport.services.http.response import Response
from mcimport.services.http.service_requests import ServiceRequests
from mcimport.services.http.usage import Side


@dataclass(eq=False, repr=False)
class RateLimitedRequests(ServiceRequests):
    """Sends requests one permit each. `limiter`: of the account, for this kind of request."""

    side: ClassVar[Side] = "ometria"

    limiter: RateLimiter

    def pause(self, seconds: float) -> None:
        """Gives no permit for so long to any client of the account here: another process may have used it until now."""
        self.limiter.pause(seconds)

    def _permit(self) -> Permit:
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
