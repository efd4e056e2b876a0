"""What the fake Ometria does otherwise when a setting says so: each is a way in which the real one may differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import httpx
import pytest
from conftest import PLAIN

from mcimport.sandbox.clock import epoch
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

YES, NO, UNSAID = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT", "NOT_SPECIFIED"
KEY = ("mailchimp", "list-1")


@pytest.fixture(name="sandbox")
def an_empty_account() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(size=0, settling=0, pushes_per_second=100, reads_per_second=100)) as sandbox:
        yield sandbox


def request(sandbox: Sandbox, method: str, path: str, **more: Any) -> httpx.Response:
    url, headers = sandbox.ometria_url + path, {"X-Ometria-Auth": sandbox.ometria_key}
    return httpx.request(method, url, headers=headers, trust_env=False, verify=PLAIN, **more)


def get(sandbox: Sandbox, path: str = "/contacts", **query: Any) -> httpx.Response:
    return request(sandbox, "GET", path, params=query)


def push(sandbox: Sandbox, number: int = 1, **fields: Any) -> httpx.Response:
    record = {"@type": "contact", "@collection": "mailchimp", "id": f"list-{number}", **fields}
    return request(sandbox, "POST", "/push", json=[{"email": f"person{number}@example.com", **record}])


def test_a_push_may_replace_the_whole_contact(sandbox: Sandbox) -> None:
    """By default what a record leaves out is kept."""
    push(sandbox, firstname="Ada")
    push(sandbox, lastname="Moreno")
    assert sandbox.contacts()[KEY]["firstname"] == "Ada"
    sandbox.settings.replaces = True
    push(sandbox, lastname="Blau")
    assert sandbox.contacts()[KEY]["lastname"] == "Blau"
    assert "firstname" not in sandbox.contacts()[KEY]


def test_what_is_not_specified_may_leave_a_consent_as_it_is(sandbox: Sandbox) -> None:
    """By default it takes the place of a consent; an opt-out is heeded whichever is set."""
    sandbox.settings.unspecified_keeps = True
    said = []
    for optin in (UNSAID, YES, UNSAID, NO, UNSAID):
        push(sandbox, marketing_optin=optin)
        said.append(sandbox.contacts()[KEY]["marketing_optin"])
    assert said == [UNSAID, YES, YES, NO, NO]
    sandbox.settings.unspecified_keeps = False
    push(sandbox, marketing_optin=UNSAID)
    assert sandbox.contacts()[KEY]["marketing_optin"] == UNSAID


def test_an_opt_in_without_its_time_may_be_dated_by_its_storing(sandbox: Sandbox) -> None:
    """Once, when it changes; a time that was sent stays, and by default none is made up."""
    push(sandbox, marketing_optin=YES)
    assert "timestamp_subscribed" not in sandbox.contacts()[KEY]
    sandbox.settings.dates_opt_ins = True
    before = int(sandbox.clock.now())
    for optin in (NO, YES):
        push(sandbox, marketing_optin=optin)
    dated = sandbox.contacts()[KEY]["timestamp_subscribed"]
    assert epoch(dated) >= before
    push(sandbox, marketing_optin=YES, firstname="Ada")
    push(sandbox, 2, marketing_optin=YES, timestamp_subscribed="2020-01-01T00:00:00+00:00")
    times = [contact["timestamp_subscribed"] for contact in sandbox.contacts().values()]
    assert times == [dated, "2020-01-01T00:00:00+00:00"]
    assert sandbox.subscription_events() == {"mailchimp": 1}


@pytest.mark.parametrize("setting", ["stored", "left out", "dropped"])
def test_a_property_that_was_not_created_may_be_left_out_or_drop_its_record(
    sandbox: Sandbox, setting: Literal["stored", "left out", "dropped"]
) -> None:
    """The push is accepted whichever is set; records with created properties alone are stored whole."""
    sandbox.settings.created_properties, sandbox.settings.other_properties = {"size"}, setting
    assert push(sandbox, properties={"size": "L", "shoe": 38}).json()["accepted"] == 1
    push(sandbox, 2, properties={"size": "M"})
    found = {number: contact["properties"] for (_, number), contact in sandbox.contacts().items()}
    first = {"stored": {"size": "L", "shoe": 38}, "left out": {"size": "L"}}
    assert found.pop("list-1", None) == first.get(setting)
    assert found == {"list-2": {"size": "M"}}
    assert [error["error_path"] for error in sandbox.push_errors()] == ["root > properties > shoe"] * (
        setting == "dropped"
    )


def test_contacts_may_be_read_newest_first_and_in_smaller_pages(sandbox: Sandbox) -> None:
    """By default the oldest comes first, and a page holds as many as were asked for."""
    for number in range(5):
        push(sandbox, number)
    ids = [f"list-{number}" for number in range(5)]
    assert [one["id"] for one in get(sandbox, limit=4).json()] == ids[:4]
    sandbox.settings.newest_first = True
    assert [one["id"] for one in get(sandbox, collection="mailchimp", offset=1).json()] == ids[-2::-1]
    sandbox.settings.max_contacts = 2
    assert [one["id"] for one in get(sandbox, limit=4).json()] == ids[:-3:-1]


def test_contacts_are_found_by_address_unless_that_is_ignored_or_refused(sandbox: Sandbox) -> None:
    """In whichever case it is written, in all collections or one of them."""
    for number in range(3):
        push(sandbox, number)
    push(sandbox, 1, **{"@collection": "shop"})

    def found(**query: Any) -> list[tuple[str, str]]:
        return [(one["@collection"], one["id"]) for one in get(sandbox, **query).json()]

    assert found(email="PERSON1@example.com") == [KEY, ("shop", "list-1")]
    assert found(email="person1@example.com", collection="mailchimp") == [KEY]
    assert found(email="else@example.com") == []
    sandbox.settings.address_filter = "ignored"
    assert len(found(email="person1@example.com")) == 4
    sandbox.settings.address_filter = "refused"
    assert get(sandbox, email="person1@example.com").status_code == 400
    assert len(found()) == 4


def test_contacts_may_be_read_back_without_fields_and_in_other_words(sandbox: Sandbox) -> None:
    """In lists and one by one; what is stored is what was pushed."""
    for number, optin in enumerate((YES, NO), 1):
        push(sandbox, number, marketing_optin=optin, firstname="Ada")
    sandbox.settings.unread_fields, sandbox.settings.consent_words = {"firstname"}, {YES: "yes"}
    single = get(sandbox, "/contacts/mailchimp/list-1").json()
    assert get(sandbox).json()[0] == single
    assert (single["marketing_optin"], "firstname" in single) == ("yes", False)
    assert get(sandbox).json()[1]["marketing_optin"] == NO
    assert sandbox.contacts()[KEY]["marketing_optin"] == YES


@pytest.mark.parametrize(
    ("setting", "told"), [("pushes", [True, False, False]), ("all", [True] * 3), ("none", [False] * 3)]
)
def test_the_room_in_the_queue_is_told_with_pushes_with_everything_or_never(
    sandbox: Sandbox, setting: Literal["pushes", "all", "none"], told: list[bool]
) -> None:
    """Both headers or neither."""
    sandbox.settings.queue_headers = setting
    answers = [push(sandbox), get(sandbox), get(sandbox, "/push/_errors")]
    for name in ("X-QueueSize-Limit", "X-QueueSize-Remaining"):
        assert [name in answer.headers for answer in answers] == told


def test_the_errors_of_validation_may_be_wrapped_or_not_be_there(sandbox: Sandbox) -> None:
    """A list by default; the same in an object; or a 404."""
    push(sandbox, gender="none")
    (error,) = get(sandbox, "/push/_errors").json()
    sandbox.settings.push_errors = "object"
    assert get(sandbox, "/push/_errors").json() == {"errors": [error]}
    sandbox.settings.push_errors = "absent"
    assert get(sandbox, "/push/_errors").status_code == 404
