"""What the probe finds out about Ometria: of each way in which it may differ, exactly that one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mcimport.monitoring.probe import written_contact
from mcimport.monitoring.probe.ometria_answers import OmetriaAnswers
from mcimport.monitoring.probe.ometria_facts import read_facts, together, written_facts
from mcimport.monitoring.probe.seen import DIFFERS, HOLDS, UNKNOWN, Seen
from mcimport.monitoring.probe.written_contact import WrittenContact
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.ometria.raw_requests import RawRequests

IN, OUT = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT"
OWN = "operator@example.com"
Probe = Callable[..., tuple[Sandbox, dict[str, Seen]]]


@pytest.fixture(name="probe")
def a_probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    """Probes a sandbox with certain settings, in which forty contacts of the list are, and one of another program's."""
    monkeypatch.setattr(written_contact, "SHORTEST_WAIT", 0.2)  # what never arrives need not be waited for here
    with ExitStack() as stack:

        def probe(*, contacts: int = 40, was_synced: bool = True, **settings: Any) -> tuple[Sandbox, dict[str, Seen]]:
            free: dict[str, Any] = {"size": 0, "settling": 0, "pushes_per_second": 10**6, "reads_per_second": 10**6}
            sandbox = stack.enter_context(Sandbox(SandboxSettings(**free)))
            sandbox.store_contacts([a_contact(number) for number in range(contacts)])
            sandbox.store_contacts([{**a_contact(0), "@collection": "shop", "id": "1"}] if contacts else [])
            vars(sandbox.settings).update(settings)
            http = HttpClient("Ometria", sandbox.ometria_url, {"X-Ometria-Auth": sandbox.ometria_key})
            stack.callback(http.close)
            policy, free_pace = RetryPolicy(StopSignal(), retries=0), RateLimiter(1e6)
            requests = RawRequests(http, policy, free_pace, pushes=free_pace)
            read = read_facts(OmetriaAnswers(requests, "mailchimp", LIST_KEY, was_synced))
            contact = WrittenContact(requests, OWN)
            contact.write()
            return sandbox, together(read, written_facts(contact))

        yield probe


def a_contact(number: int) -> dict[str, Any]:
    own, optin = f"{number + 1:032x}", (IN, OUT, "NOT_SPECIFIED")[number % 3]
    return {"id": f"{LIST_KEY}-{own}", "email": f"Person{number}@example.com", "marketing_optin": optin}


def with_verdict(found: dict[str, Seen], verdict: str) -> set[str]:
    return {name for name, (seen, _) in found.items() if seen == verdict}


def test_everything_holds_of_the_service_as_it_is_known(probe: Probe) -> None:
    """Nothing differs; unknown is only what forty contacts cannot tell: whether a page holds 250."""
    _, found = probe()
    assert with_verdict(found, DIFFERS) == set()
    assert with_verdict(found, UNKNOWN) == {"ometria-page"}


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"collection_ignored": True}, "ometria-filter"),
        ({"newest_first": True}, "ometria-order"),
        ({"max_contacts": 20}, "ometria-page"),
        ({"single_contacts": False}, "ometria-single"),
        ({"address_filter": "ignored"}, "ometria-address"),
        ({"address_filter": "refused"}, "ometria-address"),
        ({"unread_fields": {"marketing_optin"}}, "ometria-fields"),
        ({"unread_fields": {"firstname"}}, "ometria-fields"),
        ({"consent_words": {IN: "yes"}}, "ometria-words"),
        ({"queue_headers": "none"}, "ometria-queue"),
        ({"push_errors": "object"}, "ometria-errors"),
        ({"push_errors": "absent"}, "ometria-errors"),
        ({"without_address": "refused"}, "ometria-no-address"),
        ({"without_address": "dropped"}, "ometria-no-address"),
        ({"replaces": True}, "ometria-left-out"),
        ({"unspecified_keeps": True}, "ometria-not-specified"),
        ({"other_properties": "dropped"}, "ometria-property"),
        ({"dates_opt_ins": True}, "ometria-undated"),
    ],
    ids=str,
)
def test_exactly_that_is_found_which_differs(probe: Probe, settings: dict[str, Any], fact: str) -> None:
    """And the invented contact ends opted out whatever differs."""
    sandbox, found = probe(**settings)
    assert with_verdict(found, DIFFERS) == {fact}
    left = sandbox.contacts()[written_contact.COLLECTION, written_contact.CONTACT]
    assert left["marketing_optin"] == OUT


def test_the_evidence_is_numbers_and_our_own_words(probe: Probe) -> None:
    """Nothing of any contact, nor the operator's address, and no word of the service's that may be somebody's name."""
    sandbox, found = probe(settling=0.15, consent_words={IN: "Ann Lee 7"}, other_properties="left out")
    shown = json.dumps(found).lower()
    for contact in sandbox.contacts().values():
        assert contact["email"].lower() not in shown
        assert contact["id"] == written_contact.CONTACT or contact["id"] == "1" or contact["id"] not in shown
    assert "lee" not in shown
    assert OWN not in shown
    assert found["ometria-settling"][1]["seconds_first"] >= 0.1
    property_seen = found["ometria-property"]
    assert property_seen == (HOLDS, {"accepted": True, "contact_stored": True, "property_stored": False})


@pytest.mark.parametrize(("was_synced", "verdict"), [(True, DIFFERS), (False, UNKNOWN)])
def test_an_account_without_the_contacts_of_a_synced_list_is_another(
    probe: Probe, *, was_synced: bool, verdict: str
) -> None:
    """Before a first sync nothing can be said of it; and what an empty account cannot tell is unknown."""
    _, found = probe(contacts=0, was_synced=was_synced)
    assert found["ometria-key"][0] == verdict
    assert with_verdict(found, DIFFERS) <= {"ometria-key"}
    assert {"ometria-single", "ometria-address", "ometria-order"} <= with_verdict(found, UNKNOWN)


def test_a_page_of_250_is_seen_in_an_account_that_has_more(probe: Probe) -> None:
    """The whole page comes, and the one after it continues."""
    _, found = probe(contacts=300)
    assert found["ometria-page"] == (HOLDS, {"asked_for": 250, "received": 250, "is_the_last_page": False})
    assert found["ometria-order"][0] == HOLDS
