"""Requests to Ometria whose answer is of interest as it is, also where it refuses: for the probe of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from mcimport.services.http import decode_slot
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.response import Response
from mcimport.services.http.retry import call_with_retry
from mcimport.services.http.service_requests import RateLimitedRequests

_PASSING = (401, 403, 408, 429)  # of the key, or of the moment, and not of what was asked


@dataclass(eq=False, repr=False)
class RawRequests(RateLimitedRequests):
    """Sends one request at a time to one account. `limiter`: for reading; `pushes`: for pushing.

    Raises FatalError for a key that is not accepted, RetriableError for what fails in passing and is still there after
    the tries, and InterruptedRunError. Every other answer is returned.
    """

    pushes: RateLimiter

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Response:
        self.check_not_stopped()
        return self._answer(self.limiter, "GET", path, params=params)

    def push(self, record: Mapping[str, Any]) -> Response:
        """Pushes one record, also once a stop was requested: a probe takes back what it has said before it ends."""
        return self._answer(self.pushes, "POST", "push", body=msgspec.json.encode([record]))

    def _answer(self, limiter: RateLimiter, method: str, path: str, **options: Any) -> Response:
        def attempt() -> Response:
            with decode_slot.released(), self.meter.waiting(self.side):
                permit = limiter.permit(self.policy.stop)
                try:
                    self.meter.requested(self.side)
                    answer = self.http.send(method, path, on_sent=permit.sent, **options)
                finally:
                    permit.sent()
            if answer.status == 429:  # noqa: PLR2004 - too many requests
                limiter.refused(permit)
            return self.http.checked(answer) if answer.status in _PASSING or answer.status >= 500 else answer  # noqa: PLR2004 - server errors

        return call_with_retry(self.policy, attempt)
