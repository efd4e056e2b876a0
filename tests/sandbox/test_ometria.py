"""The fake Ometria, asked by an independent client; by plain HTTP for what that client does not look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import httpx
import ometria
import pytest
from conftest import PLAIN

from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings


@pytest.fixture(name="sandbox")
def a_box() -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")  # the client goes through the environment's proxy otherwise
        with Sandbox(SandboxSettings(size=0, settling=0, pushes_per_second=100, reads_per_second=100)) as sandbox:
            yield sandbox


def client(sandbox: Sandbox, key: str | None = None) -> Any:
    made = ometria.Client(key=key or sandbox.ometria_key, version="2")
    made.base_url = f"{sandbox.ometria_url}/"
    return made


def contact(number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "@type": "contact",
        "@collection": "mailchimp",
        "id": f"list-{number}",
        "email": f"person{number}@example.com",
        "marketing_optin": "NOT_SPECIFIED",
        **more,
    }


def push(sandbox: Sandbox, records: Any) -> httpx.Response:
    return httpx.post(
        f"{sandbox.ometria_url}/push",
        json=records,
        headers={"X-Ometria-Auth": sandbox.ometria_key},
        trust_env=False,
        verify=PLAIN,
    )


def test_a_push_is_received_and_stored(sandbox: Sandbox) -> None:
    """202, a request id, how many, and how full the queue is."""
    answer = client(sandbox).push.post(data=[contact(1), contact(2)])
    assert answer.response.status_code == 202
    assert answer.data.pop("request_id")
    assert answer.data == {"status": "OK", "accepted": 2, "rejected": 0}
    assert answer.response.headers["X-QueueSize-Limit"] == answer.response.headers["X-QueueSize-Remaining"] == "50000"
    assert sandbox.contacts() == {("mailchimp", f"list-{n}"): contact(n) for n in (1, 2)}


def test_a_record_is_merged_into_the_one_with_its_id(sandbox: Sandbox) -> None:
    """What is not named stays, custom fields one by one; another collection is another contact."""
    client(sandbox).push.post(data=[contact(1, firstname="Ada", properties={"size": "L", "points": 1})])
    client(sandbox).push.post(data=[contact(1, email="new@example.com", properties={"points": 2})])
    client(sandbox).push.post(data=[{**contact(1), "@collection": "shop"}])
    merged = sandbox.contacts()["mailchimp", "list-1"]
    assert (merged["firstname"], merged["email"]) == ("Ada", "new@example.com")
    assert merged["properties"] == {"size": "L", "points": 2}
    assert ("shop", "list-1") in sandbox.contacts()


def test_a_part_of_a_known_contact_is_enough(sandbox: Sandbox) -> None:
    """The address is needed only once."""
    part = {name: value for name, value in contact(1).items() if name != "email"}
    client(sandbox).push.post(data=[part])
    assert sandbox.contacts() == {}
    client(sandbox).push.post(data=[contact(1)])
    client(sandbox).push.post(data=[part | {"marketing_optin": "EXPLICITLY_OPTEDOUT"}])
    assert sandbox.contacts()["mailchimp", "list-1"]["marketing_optin"] == "EXPLICITLY_OPTEDOUT"


def test_a_wrong_key_is_403(sandbox: Sandbox) -> None:
    """On every address."""
    with pytest.raises(ValueError, match="may not") as refused:
        client(sandbox, "wrong").push.post(data=[contact()])
    assert refused.value.args
    assert httpx.get(f"{sandbox.ometria_url}/contacts", trust_env=False, verify=PLAIN).status_code == 403
    assert sandbox.contacts() == {}


def test_accounts_hold_their_own_contacts(sandbox: Sandbox) -> None:
    """What is pushed with one key is seen with that key alone, until the key is renewed."""
    sandbox.add_account("0" * 32 + "-us6", "second", {"bbbbbbbbbb": 0})
    client(sandbox, "second").push.post(data=[contact()])
    assert sandbox.contacts() == {}
    sandbox.renew_ometria_key("second", "third")
    assert list(sandbox.contacts("third")) == [("mailchimp", "list-1")]
    with pytest.raises(ValueError, match="may not"):
        client(sandbox, "second").push.post(data=[contact()])


def test_an_account_may_have_two_keys(sandbox: Sandbox) -> None:
    """What is pushed with one is seen with the other."""
    sandbox.add_ometria_key(sandbox.ometria_key, "second")
    client(sandbox, "second").push.post(data=[contact()])
    assert list(sandbox.contacts()) == list(sandbox.contacts("second")) == [("mailchimp", "list-1")]


def test_one_listing_that_is_opted_out_outweighs_all_that_are_opted_in(sandbox: Sandbox) -> None:
    """An address may be mailed where one listing says yes and none says no, in whichever collection and spelling."""
    yes, no = {"marketing_optin": "EXPLICITLY_OPTEDIN"}, {"marketing_optin": "EXPLICITLY_OPTEDOUT"}
    client(sandbox).push.post(
        data=[
            contact(1, **yes),
            contact(2, email="PERSON1@example.com "),
            contact(3, **yes),
            {**contact(4, email="Person3@Example.com", **no), "@collection": "shop"},
            contact(5),
            contact(6, email="Person6@example.com", **yes),
        ]
    )
    assert sandbox.mailable() == {"person1@example.com", "person6@example.com"}


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([], 400),
        ({"@type": "contact"}, 400),
        (["text"], 400),
        ([contact(n) for n in range(101)], 400),
        ([contact(1), {"@type": "order", "id": "1"}], 400),
        ([{"@type": "pigeon", "id": "1"}], 400),
        ([contact(1, properties={"note": "é" * 30_000})], 413),
        ([contact(n) for n in range(100)], 202),
        ([contact(1, properties={"note": "é" * 29_900})], 202),
    ],
    ids=["none", "no array", "no records", "101", "two types", "unknown type", "over 60 KB", "100", "under 60 KB"],
)
def test_the_shape_of_a_push_is_checked_at_once(sandbox: Sandbox, records: Any, status: int) -> None:
    """1 to 100 records of one known type, each at most 60,000 bytes; else nothing of it is taken."""
    body = httpx.Request("POST", "http://example.com", json=records).content
    headers = {"X-Ometria-Auth": sandbox.ometria_key}
    answer = httpx.post(f"{sandbox.ometria_url}/push", content=body, headers=headers, trust_env=False, verify=PLAIN)
    assert answer.status_code == status
    assert bool(sandbox.contacts()) == (status == 202)


WRONG: dict[str, Any] = {
    "id": "ada@example.com",
    "email": "nobody",
    "marketing_optin": "YES",
    "timestamp_acquired": "2026-01-01T00:00:00",
    "timestamp_subscribed": "",
    "country_id": "uk",
    "phone_number": "07700 900123",
    "date_of_birth": "01/31",
    "gender": "x",
    "firstname": 7,
    "properties": {"Has Blanks": 1},
    "channels": {"sms": {"allow_marketing": "yes"}},
    "nickname": "A",
}


@pytest.mark.parametrize("name", WRONG)
def test_validation_comes_later_and_refuses_a_wrong_field(sandbox: Sandbox, name: str) -> None:
    """The push is accepted; the record is not stored; the error says where, not whose."""
    answer = client(sandbox).push.post(data=[contact() | {name: WRONG[name]}, contact(2)])
    assert answer.data["accepted"] == 2
    (error,) = client(sandbox).push._errors.get().data
    assert error["error_path"] == f"root > {name}"
    assert error.keys() == {"error_message", "error_path"}
    assert list(sandbox.contacts()) == [("mailchimp", "list-2")]


def test_a_full_contact_passes_validation(sandbox: Sandbox) -> None:
    """Every field that is known, filled."""
    full = contact(
        firstname="Ada", middlename="M", lastname="Moreno", prefix="Dr", gender="f", date_of_birth="1990-02-28",
        phone_number="+447700900123", country_id="GB", timezone="Europe/London", customer_id="c1", store_ids=["1"],
        timestamp_acquired="2026-01-01T00:00:00+00:00", timestamp_subscribed="2026-01-01T00:00:00Z",
        timestamp_unsubscribed="2026-01-02T00:00:00+02:00", channels={"sms": {"allow_marketing": True}},
        properties={"address": {"city": "Leeds"}, "tags": ["a", "b"], "points": 1.5, "vip": False},
    )  # fmt: skip
    client(sandbox).push.post(data=[full])
    assert sandbox.contacts()["mailchimp", "list-1"] == full
    assert sandbox.push_errors() == []


def test_the_latest_hundred_errors_are_kept(sandbox: Sandbox) -> None:
    """Older ones are forgotten."""
    for first in range(0, 150, 50):
        client(sandbox).push.post(data=[contact(n, email=f"wrong{first}") for n in range(50)])
    assert len(client(sandbox).push._errors.get().data) == 100


def test_contacts_are_read_back_in_the_order_of_their_first_arrival(sandbox: Sandbox) -> None:
    """At most 250 at once, of one collection."""
    for first in range(0, 300, 100):
        client(sandbox).push.post(data=[contact(n) for n in range(first, first + 100)])
    client(sandbox).push.post(
        data=[{**contact(0), "@collection": "shop"}, {**contact(5, lastname="B"), "@collection": "shop"}]
    )
    pages = [
        client(sandbox).contacts.get(params={"collection": "mailchimp", "limit": 250, "offset": n}).data
        for n in (0, 250)
    ]
    assert [one["id"] for page in pages for one in page] == [f"list-{n}" for n in range(300)]
    assert len(pages[0]) == 250
    assert [one["id"] for one in client(sandbox).contacts.get(params={"collection": "shop"}).data] == [
        "list-0",
        "list-5",
    ]
    assert client(sandbox).contacts("shop")("list-5").get().data["lastname"] == "B"
    with pytest.raises(ValueError, match="limit"):
        client(sandbox).contacts.get(params={"limit": 251})


def test_a_contact_that_is_taken_out_moves_all_that_came_later(sandbox: Sandbox) -> None:
    """By one place a contact; one that is pushed again is a new one, and comes last."""
    client(sandbox).push.post(data=[contact(n) for n in range(6)])
    sandbox.delete_contacts([("mailchimp", "list-1"), ("mailchimp", "list-3")])
    assert ids_read(sandbox, offset=1, limit=2) == ["list-2", "list-4"]
    client(sandbox).push.post(data=[contact(1)])
    assert ids_read(sandbox) == [f"list-{n}" for n in (0, 2, 4, 5, 1)]
    assert ids_read(sandbox, collection="shop") == []


def test_a_filter_that_does_not_work_answers_with_every_collection(sandbox: Sandbox) -> None:
    """Nobody is told; each contact says itself where it belongs."""
    client(sandbox).push.post(data=[contact(1), {**contact(2), "@collection": "shop"}])
    assert ids_read(sandbox, collection="shop") == ["list-2"]
    sandbox.settings.collection_ignored = True
    assert ids_read(sandbox, collection="shop") == ["list-1", "list-2"]


def test_another_program_may_overwrite_a_contact(sandbox: Sandbox) -> None:
    """Merged, as by a push, and in no ledger."""
    client(sandbox).push.post(data=[contact(1, firstname="Ada")])
    sandbox.clear_requests()
    sandbox.store_contacts([{"id": "list-1", "email": "else@example.com"}])
    assert sandbox.contacts()["mailchimp", "list-1"] == contact(1, firstname="Ada", email="else@example.com")
    assert sandbox.requests == []


def ids_read(sandbox: Sandbox, **params: Any) -> list[str]:
    return [one["id"] for one in client(sandbox).contacts.get(params={"collection": "mailchimp", **params}).data]


def test_pushed_contacts_are_not_there_before_they_are_validated(sandbox: Sandbox) -> None:
    """Reading back lags behind; looking into the sandbox does not."""
    sandbox.settings.settling = 60
    client(sandbox).push.post(data=[contact()])
    assert client(sandbox).contacts.get().data == []
    assert len(sandbox.contacts()) == 1


def test_more_pushes_than_the_limit_in_a_second_are_429_in_html(sandbox: Sandbox) -> None:
    """Whatever is refused was not stored; the measure counts the refused, too."""
    sandbox.settings.pushes_per_second = 3
    answers = [push(sandbox, [contact(n)]) for n in range(6)]
    codes = [answer.status_code for answer in answers]
    assert codes == [202, 202, 202, 429, 429, 429]
    assert answers[-1].headers["content-type"].startswith("text/html")
    assert "retry-after" not in answers[-1].headers
    assert len(sandbox.contacts()) == 3
    assert sandbox.pushes_in_any_second() == 6


def test_more_reads_than_the_limit_in_a_second_are_429(sandbox: Sandbox) -> None:
    """Reads have a limit of their own, lower than that of pushes."""
    sandbox.settings.reads_per_second = 4
    headers = {"X-Ometria-Auth": sandbox.ometria_key}
    codes = [
        httpx.get(f"{sandbox.ometria_url}/push/_errors", headers=headers, trust_env=False, verify=PLAIN).status_code
        for _ in range(5)
    ]
    assert codes == [200] * 4 + [429]
    assert push(sandbox, [contact()]).status_code == 202


def test_a_record_can_be_rejected_without_a_word_about_which(sandbox: Sandbox) -> None:
    """One less is accepted; or the whole batch is refused."""
    sandbox.settings.rejects = {"list-3"}
    answer = push(sandbox, [contact(n) for n in range(10)])
    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (202, 9, 1)
    assert ("mailchimp", "list-3") not in sandbox.contacts()
    sandbox.settings.reject_batches = True
    assert push(sandbox, [contact(n) for n in range(3, 20)]).status_code == 400
    assert len(sandbox.contacts()) == 9


@pytest.mark.parametrize("email", [None, "", " "])
def test_a_record_without_an_address_is_refused_or_dropped_where_that_is_set(
    sandbox: Sandbox, email: str | None
) -> None:
    """Though its id is known: refused by the push, without a word about which, or accepted and never stored."""
    push(sandbox, [contact(n) for n in range(2)])
    without = {**contact(0, email=email), "marketing_optin": "EXPLICITLY_OPTEDOUT"}
    if email is None:
        del without["email"]
    cases: list[tuple[Literal["refused", "dropped"], int, list[str]]] = [
        ("refused", 1, []),
        ("dropped", 2, ["root > email"]),
    ]
    for knob, accepted, errors in cases:
        sandbox.settings.without_address = knob
        answer = push(sandbox, [without, contact(1, firstname=knob)]).json()
        assert (answer["accepted"], answer["rejected"]) == (accepted, 2 - accepted)
        assert [error["error_path"] for error in sandbox.push_errors()] == errors
        assert sandbox.contacts()["mailchimp", "list-0"] == contact(0)
        assert sandbox.contacts()["mailchimp", "list-1"]["firstname"] == knob


def test_a_record_can_be_dropped_whatever_it_holds(sandbox: Sandbox) -> None:
    """It is accepted, and a contact that is there stays as it was."""
    push(sandbox, [contact(1)])
    assert sandbox.push_errors() == []  # validated
    sandbox.settings.drops = {"list-1"}
    assert push(sandbox, [contact(1, firstname="Ada"), contact(2)]).json()["accepted"] == 2
    assert list(sandbox.contacts().values()) == [contact(1), contact(2)]
    assert [error["error_path"] for error in sandbox.push_errors()] == ["root > email"]


def test_a_full_queue_says_so_before_and_refuses_then(sandbox: Sandbox) -> None:
    """The header tells what is left; what does not fit is a 429; it drains."""
    sandbox.settings.queue_limit, sandbox.settings.queue_drain = 150, 0
    assert push(sandbox, [contact(n) for n in range(100)]).headers["X-QueueSize-Remaining"] == "50"
    assert push(sandbox, [contact(n) for n in range(100)]).status_code == 429
    sandbox.settings.queue_drain = 1e9
    assert push(sandbox, [contact(n) for n in range(100)]).status_code == 202


def test_a_first_opt_in_with_its_time_is_a_subscription_event(sandbox: Sandbox) -> None:
    """Once a contact; an opt-in without its time starts nothing, then or later."""
    opted = {"marketing_optin": "EXPLICITLY_OPTEDIN"}
    dated = opted | {"timestamp_subscribed": "2026-01-01T00:00:00Z"}
    for record in (contact(1, **dated), contact(1, **dated), contact(2, **opted), contact(2, **dated), contact(3)):
        client(sandbox).push.post(data=[record])
    assert sandbox.subscription_events() == {"mailchimp": 1}


def test_the_ledger_tells_what_was_pushed(sandbox: Sandbox) -> None:
    """Records, their ids, bytes, status."""
    push(sandbox, [contact(1), contact(2)])
    (line,) = sandbox.requests
    assert (line.service, line.method, line.path, line.status) == ("ometria", "POST", "/push", 202)
    assert (line.count, line.ids, line.key) == (2, ("list-1", "list-2"), sandbox.ometria_key)
    assert line.bytes > 200
    assert line.at <= line.finished
    sandbox.clear_requests()
    assert sandbox.requests == []
