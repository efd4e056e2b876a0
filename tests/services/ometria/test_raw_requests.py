"""Requests whose answer is of interest as it is: refusals are answers, and what passes is tried again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mcimport.errors import FatalError, InterruptedRunError, RetriableError
from mcimport.sandbox.server import Sandbox
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.raw_answer import decoded
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.ometria.raw_requests import RawRequests
from services.ometria.accounts import FAST, Boxes, first_times

RECORD = {"@type": "contact", "@collection": "mailchimp", "id": "l-1", "email": "c1@example.com"}


@pytest.fixture(name="sandbox")
def an_account(make: Boxes) -> Sandbox:
    return make(settling=0)[0]


@pytest.fixture(name="requests")
def its_raw_requests(sandbox: Sandbox) -> Iterator[RawRequests]:
    http = HttpClient("Ometria", sandbox.ometria_url, {"X-Ometria-Auth": sandbox.ometria_key})
    yield RawRequests(http, RetryPolicy(StopSignal(), wait=0), RateLimiter(FAST), pushes=RateLimiter(FAST))
    http.close()


def test_a_refusal_is_an_answer_and_a_record_is_pushed_as_it_is(sandbox: Sandbox, requests: RawRequests) -> None:
    """Each is one request; what is no JSON, or no success, is nothing."""
    assert requests.get("contacts", {"limit": "251"}).status == 400
    assert requests.get("contacts/mailchimp/l-1").status == 404
    assert decoded(requests.get("contacts/mailchimp/l-1")) is None
    assert decoded(requests.push(RECORD))["accepted"] == 1
    assert decoded(requests.get("contacts/mailchimp/l-1")) == RECORD
    sandbox.settings.faults = {"html": 1.0}
    assert decoded(requests.get("contacts")) is None
    assert len(sandbox.requests) == 6


@pytest.mark.parametrize("fault", ["500", "429", "reset"])
def test_what_passes_is_tried_again_and_what_stays_is_raised(
    sandbox: Sandbox, requests: RawRequests, fault: str
) -> None:
    """An answer after a failure in passing is the answer; a key that is refused is no answer."""
    sandbox.settings.fault = first_times(fault, 1)
    assert requests.get("push/_errors").status == 200
    assert [one.fault for one in sandbox.requests] == [fault, None]
    sandbox.settings.fault = lambda _: "500"
    with pytest.raises(RetriableError):
        requests.get("push/_errors")
    sandbox.settings.fault = lambda _: "403"
    with pytest.raises(FatalError):
        requests.push(RECORD)


def test_once_a_stop_is_requested_nothing_is_read_and_a_push_still_leaves(
    sandbox: Sandbox, requests: RawRequests
) -> None:
    """What a probe has said can be taken back before it ends."""
    requests.policy.stop.request()
    with pytest.raises(InterruptedRunError):
        requests.get("contacts")
    requests.push(RECORD)
    assert list(sandbox.contacts()) == [("mailchimp", "l-1")]
