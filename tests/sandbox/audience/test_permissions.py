"""The sandbox's marketing permissions: as the real audience with GDPR fields has them, and can do without."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import PERMISSIONS, SandboxSettings

NOW = 1_780_000_000.0


def box_with(**knobs: Any) -> Sandbox:
    return Sandbox(SandboxSettings(**{"size": 400, "start": NOW, **knobs}))


def is_given(person: MemberView, text: str = "Email") -> bool:
    (found,) = [one for one in person["marketing_permissions"] if one["text"] == text]
    return bool(found["enabled"])


def test_the_audience_has_them_and_most_people_gave_the_one_for_email() -> None:
    """In the order and the words of Mailchimp's own defaults; a few are subscribed without it."""
    people = box_with().audience().with_status("subscribed")
    assert {tuple(one["text"] for one in person["marketing_permissions"]) for person in people} == {PERMISSIONS}
    assert 0.85 < sum(map(is_given, people)) / len(people) < 1


def test_ids_differ_from_list_to_list() -> None:
    """The texts are the same, so a program that goes by ids finds nothing on the next list."""
    sandbox = box_with()
    sandbox.add_account(sandbox.mailchimp_key, sandbox.ometria_key, {"9f8e7d6c5b": 1})
    one, other = sandbox.audience().members[0], sandbox.audience("9f8e7d6c5b").members[0]
    ids = [{each["marketing_permission_id"] for each in person["marketing_permissions"]} for person in (one, other)]
    assert [len(each) for each in ids] == [3, 3]
    assert not ids[0] & ids[1]


def test_a_list_can_do_without_and_its_people_stay_who_they_are() -> None:
    """Whether there are permissions changes nothing else about anybody."""
    withs, withouts = box_with().audience().members, box_with(permissions=()).audience().members
    for person, same in zip(withs, withouts, strict=True):
        assert same["marketing_permissions"] == []
        assert {**person, "marketing_permissions": []} == dict(same)


@pytest.mark.parametrize("texts", [PERMISSIONS, ()])
def test_the_list_says_whether_it_has_them(texts: tuple[str, ...]) -> None:
    """`marketing_permissions` is true or false there, as in the real API."""
    with (
        box_with(permissions=texts) as sandbox,
        httpx.Client(auth=("x", sandbox.mailchimp_key), trust_env=False) as client,
    ):
        answer = client.get(
            f"{sandbox.mailchimp_url}/lists/{sandbox.list_key}", params={"fields": "marketing_permissions"}
        )
    assert answer.json() == {"marketing_permissions": bool(texts)}


@pytest.mark.parametrize("moves", [True, False])
def test_a_permission_is_given_and_withdrawn(*, moves: bool) -> None:
    """The status stays; whether `last_changed` moves is a knob, for nobody knows."""
    audience = box_with(permissions_move=moves).audience()
    person = audience.add(email_address="ada@example.com", at=int(NOW) - 900)
    assert is_given(person)
    (after,) = audience.withdraw_permission(who=[person])
    assert not is_given(after)
    assert is_given(after, "Direct Mail")
    assert after["status"] == "subscribed"
    assert (after["last_changed"] != person["last_changed"]) is moves
    (again,) = audience.give_permission(who=[person])
    assert is_given(again)
