"""The invented contact of `probe --write`: what is pushed and read, and that it ends opted out whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mcimport.errors import InterruptedRunError, RetriableError
from mcimport.monitoring.probe.written_contact import COLLECTION, CONTACT, PROPERTY, WrittenContact
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.ometria.raw_requests import RawRequests

OWN = "operator@example.com"
KEY = (COLLECTION, CONTACT)
Made = tuple[Sandbox, WrittenContact]


@pytest.fixture(name="make")
def a_maker() -> Iterator[Callable[..., Made]]:
    """A sandbox with certain settings, and a contact that is to be written to it."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Made:
            free = {"size": 0, "settling": 0, "pushes_per_second": 10**6, "reads_per_second": 10**6}
            sandbox = stack.enter_context(Sandbox(SandboxSettings(**free | settings)))
            http = HttpClient("Ometria", sandbox.ometria_url, {"X-Ometria-Auth": sandbox.ometria_key})
            stack.callback(http.close)
            policy, limits = RetryPolicy(StopSignal(), retries=0), (RateLimiter(1e6), RateLimiter(1e6))
            return sandbox, WrittenContact(RawRequests(http, policy, limits[0], pushes=limits[1]), OWN)

        yield make


def test_the_contact_is_written_step_by_step_and_ends_opted_out(make: Callable[..., Made]) -> None:
    """Each step is read back before the next; nothing else of the account is touched, and no welcome is triggered."""
    sandbox, contact = make()
    sandbox.store_contacts([{"id": "other", "email": OWN, "marketing_optin": "NOT_SPECIFIED"}])
    other = sandbox.contacts()["mailchimp", "other"]
    contact.write()
    assert list(contact.steps) == ["created", "without_address", "unsaid", "property", "ended"]
    assert all(step.is_accepted and step.settled is not None for step in contact.steps.values())
    said = [step.contact["marketing_optin"] for step in contact.steps.values()]
    assert said == ["EXPLICITLY_OPTEDIN"] * 2 + ["NOT_SPECIFIED"] * 2 + ["EXPLICITLY_OPTEDOUT"]
    assert contact.steps["property"].contact["properties"] == {PROPERTY: contact.property_value}
    assert (contact.before, contact.is_listed_first, len(contact.headers)) == ({}, False, 2)
    left = sandbox.contacts()
    assert (left["mailchimp", "other"], len(left)) == (other, 2)
    assert (left[KEY]["email"], left[KEY]["marketing_optin"]) == (OWN, "EXPLICITLY_OPTEDOUT")
    assert not sandbox.subscription_events()


@pytest.mark.parametrize(
    "settings",
    [
        {"single_contacts": False},
        {"single_contacts": False, "collection_ignored": True, "max_contacts": 2},
        {"unread_fields": {"firstname"}},
        {"newest_first": True},
    ],
    ids=" ".join,
)
def test_the_contact_is_found_by_whichever_way_there_is(make: Callable[..., Made], settings: dict[str, Any]) -> None:
    """One by one, in its collection, or by its address; and by either of its names."""
    sandbox, contact = make(**settings)
    sandbox.store_contacts([{"id": f"other{n}", "email": f"other{n}@example.com"} for n in range(2)])
    contact.write()
    assert len(contact.steps) == 5
    assert all(step.settled is not None for step in contact.steps.values())
    assert contact.is_listed_first is ("newest_first" in settings)


def after_pushes(count: int, then: Callable[[], str | None]) -> Callable[[Request], str | None]:
    """What a request gets that follows so many pushes."""
    pushes: list[Request] = []

    def fault(request: Request) -> str | None:
        if request.path == "/push":
            pushes.append(request)
        return then() if len(pushes) == count and request.path != "/push" else None

    return fault


@pytest.mark.parametrize("pushes", [1, 3])
def test_a_stop_in_between_still_opts_the_contact_out(make: Callable[..., Made], pushes: int) -> None:
    """Whether it was read back or not: the opt-out is the last push, and no step follows."""
    sandbox, contact = make()
    sandbox.settings.fault = after_pushes(pushes, contact.requests.policy.stop.request)
    with pytest.raises(InterruptedRunError):
        contact.write()
    assert len(contact.steps) == pushes + 1
    assert contact.steps["ended"].is_accepted
    assert sandbox.contacts()[KEY]["marketing_optin"] == "EXPLICITLY_OPTEDOUT"


def test_a_service_that_fails_in_between_still_gets_the_opt_out(make: Callable[..., Made]) -> None:
    """The failure is raised when the contact has been opted out."""
    sandbox, contact = make()
    sandbox.settings.fault = after_pushes(2, lambda: "500")
    with pytest.raises(RetriableError):
        contact.write()
    assert sandbox.contacts()[KEY]["marketing_optin"] == "EXPLICITLY_OPTEDOUT"


def test_a_push_that_is_not_accepted_ends_the_steps(make: Callable[..., Made]) -> None:
    """Nothing is waited for, and no contact is made."""
    sandbox, contact = make(rejects={CONTACT})
    contact.write()
    assert {name: step.is_accepted for name, step in contact.steps.items()} == {"created": False, "ended": False}
    assert sandbox.contacts() == {}
