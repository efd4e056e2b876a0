"""Requests to Mailchimp whose answer is of interest as it is, also where it refuses: for the probe of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mcimport.services.http import decode_slot
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.response import Response
from mcimport.services.http.retry import call_with_retry
from mcimport.services.http.service_requests import ServiceRequests
from mcimport.services.http.usage import Side

_PASSING = (429, 500, 502, 503)  # of the moment, and not of what was asked


@dataclass(eq=False, repr=False)
class RawMailchimpRequests(ServiceRequests):
    """Sends one request at a time to one account.

    Raises RetriableError for what fails in passing and is still there after the tries; ServiceTimeoutError at once; and
    InterruptedRunError. Every other answer is returned: a refused key, a list that is not there.
    """

    side: ClassVar[Side] = "mailchimp"

    limit: ConnectionLimit

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Response:
        def attempt() -> Response:
            self.check_not_stopped()
            with decode_slot.released(), self.meter.waiting(self.side), self.limit.slot(self.policy.stop):
                self.meter.requested(self.side)
                answer = self.http.send("GET", path, params=params)
            return self.http.checked(answer) if answer.status in _PASSING else answer

        return call_with_retry(self.policy, attempt, fail_fast_on_timeout=True)
