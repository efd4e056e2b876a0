"""The sandbox as a whole: limits, latency, faults, churn, starting and stopping."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from conftest import PLAIN

from mcimport.sandbox.faults import BROKEN_RESPONSES, ERROR_RESPONSES, FAULTS
from mcimport.sandbox.request_log import Request, max_in_any_second
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings

NOW = 1_780_000_000.0
CONTACT = {
    "@type": "contact",
    "@collection": "mailchimp",
    "id": "list-1",
    "email": "person@example.com",
    "marketing_optin": "NOT_SPECIFIED",
}


@pytest.fixture(name="sandbox")
def a_box() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(size=300, seed=5, start=NOW)) as sandbox:
        yield sandbox


def members(sandbox: Sandbox, **query: Any) -> httpx.Response:
    path = f"{sandbox.mailchimp_url}/lists/{LIST_KEY}/members"
    return httpx.get(path, params=query, auth=("x", sandbox.mailchimp_key), trust_env=False, verify=PLAIN, timeout=10)


def push(sandbox: Sandbox, timeout: float = 10) -> httpx.Response:
    headers = {"X-Ometria-Auth": sandbox.ometria_key}
    return httpx.post(
        f"{sandbox.ometria_url}/push", json=[CONTACT], headers=headers, trust_env=False, verify=PLAIN, timeout=timeout
    )


# -- limits


def test_the_eleventh_open_request_is_429_without_retry_after(sandbox: Sandbox) -> None:
    """Ten are answered; the measure tells how many there were."""
    together = threading.Barrier(11)
    sandbox.settings.latency = 0.5

    def ask(_: int) -> httpx.Response:
        together.wait()
        return members(sandbox, count=1)

    with ThreadPoolExecutor(11) as pool:
        answers = list(pool.map(ask, range(11)))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429]
    (refused,) = (answer for answer in answers if answer.status_code == 429)
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert "retry-after" not in refused.headers
    assert sandbox.max_open() == 11
    sandbox.settings.latency = 0
    assert members(sandbox).status_code == 200


def test_a_request_that_is_over_is_not_open(sandbox: Sandbox) -> None:
    """However many come one after another, never more than one is counted."""
    for _ in range(30):
        members(sandbox, count=100)
    assert sandbox.max_open() == 1


def test_one_too_many_can_be_a_bare_403(sandbox: Sandbox) -> None:
    """As has been seen: the refusal in disguise, without JSON."""
    sandbox.settings.connections, sandbox.settings.over_limit = 0, "403-bare"
    answer = members(sandbox)
    assert (answer.status_code, answer.content) == (403, b"")


def test_a_page_above_the_limit_is_a_504_of_the_edge(sandbox: Sandbox) -> None:
    """HTML; a smaller page is answered."""
    sandbox.settings.max_page = 100
    answer = members(sandbox, count=101)
    assert answer.status_code == 504
    assert answer.headers["content-type"].startswith("text/html")
    assert members(sandbox, count=100).status_code == 200


def test_the_measure_of_any_second_finds_the_densest() -> None:
    """A second is half-open: what is a whole second later is not in it."""
    assert max_in_any_second([0.0, 0.125, 0.25, 0.5, 1.0]) == 4
    assert max_in_any_second([0.0, 1.0, 2.0]) == 1
    assert max_in_any_second([]) == 0


# -- what cannot be read


def test_whoever_is_broken_breaks_every_page_they_are_on(sandbox: Sandbox) -> None:
    """Ranks name them when they are first met; the pages around them, and tiny look-ups, are answered."""
    sandbox.settings.broken = ["100-104"]
    order = {"sort_field": "last_changed"}
    assert members(sandbox, **order, offset=90, count=10).status_code == 200
    assert members(sandbox, **order, offset=90, count=11).status_code == 500
    assert members(sandbox, **order, offset=104, count=1).status_code == 500
    assert members(sandbox, **order, offset=105, count=100).status_code == 200
    assert members(sandbox, **order, offset=102, count=1, fields="members.last_changed,total_items").status_code == 200
    sandbox.audience().delete(who=[sandbox.audience().listed()[0]])
    assert members(sandbox, **order, offset=103, count=1).status_code == 500
    assert members(sandbox, **order, offset=104, count=1).status_code == 200
    sandbox.settings.broken_lookups = True
    assert members(sandbox, **order, offset=102, count=1, fields="members.last_changed").status_code == 500
    sandbox.settings.broken = []
    assert members(sandbox, **order, offset=90, count=100).status_code == 200


def test_a_span_of_time_can_be_broken(sandbox: Sandbox) -> None:
    """`(since, until]`, whoever is in it."""
    one = sandbox.audience().add(at=int(NOW) - 50)
    sandbox.settings.broken = [(NOW - 51, NOW - 50)]
    assert members(sandbox, sort_field="last_changed", sort_dir="DESC").status_code == 500
    sandbox.settings.broken = [(NOW - 50, NOW)]
    assert members(sandbox, sort_field="last_changed", sort_dir="DESC").status_code == 200
    assert sandbox.audience().find(one["contact_id"]) == one


# -- time


def test_latency_is_spent_on_every_answer_and_the_first_page_may_have_its_own(sandbox: Sandbox) -> None:
    """A first page: from offset 0 on, several asked for, no end named."""
    sandbox.settings.first_page_latency = 0.4
    members(sandbox, count=1000, sort_field="last_changed")
    members(sandbox, count=1000, sort_field="last_changed", before_last_changed="2026-01-01T00:00:00Z")
    members(sandbox, count=1, sort_field="last_changed")
    sandbox.settings.latency = 0.2
    push(sandbox)
    spent = [line.finished - line.at for line in sandbox.requests]
    assert spent[0] >= 0.39
    assert spent[3] >= 0.19
    assert [line.status for line in sandbox.requests] == [200, 200, 200, 202]


def test_what_happens_after_a_page_is_not_on_it(sandbox: Sandbox) -> None:
    """Ten are archived after each page: whoever pages by offset misses those who slid past."""
    sandbox.settings.after_page = lambda audience: audience.archive(10)
    seen: set[int] = set()
    offset = 0
    everybody = {one["web_id"] for one in sandbox.audience().listed()}
    while page := members(sandbox, count=50, offset=offset, sort_field="last_changed").json()["members"]:
        seen |= {one["web_id"] for one in page}
        offset += 50
    still_there = everybody & {one["web_id"] for one in sandbox.audience().listed()}
    assert still_there - seen


def test_churn_changes_the_list_while_it_serves(sandbox: Sandbox) -> None:
    """From another thread, until it is told to stop."""
    before = {one.number: one for one in sandbox.audience().members}
    sandbox.settings.churn = 400
    changed = threading.Event()
    seen: list[int] = []

    def count(number: int) -> None:
        seen.append(number)
        if len(seen) > 200:
            changed.set()

    sandbox.audience().listeners.append(count)
    assert changed.wait(20)
    sandbox.settings.churn = 0
    after = {one.number: one for one in sandbox.audience().members}
    assert after.keys() - before.keys()
    assert any(after[number] != before[number] for number in before.keys() & after.keys())
    assert members(sandbox).status_code == 200


# -- faults


@pytest.mark.parametrize("fault", ERROR_RESPONSES)
@pytest.mark.parametrize("side", ["mailchimp", "ometria"])
def test_a_fault_is_answered_instead_and_nothing_is_done(sandbox: Sandbox, side: str, fault: str) -> None:
    """On the side that it is set for, and only there."""
    sandbox.settings.faults = {f"{side}:{fault}": 1.0}
    answers = {"mailchimp": members(sandbox), "ometria": push(sandbox)}
    status = int(fault[:3]) if fault[:3].isdecimal() else 200
    assert answers[side].status_code == status
    assert not _is_sound(answers[side]) or answers[side].json() == {"members": [], "total_items": 0}
    assert (sandbox.contacts() == {}) == (side == "ometria")
    del answers[side]
    assert all(map(_is_sound, answers.values()))
    assert [line.fault for line in sandbox.requests if line.service == side] == [fault]


def _is_sound(answer: httpx.Response) -> bool:
    if not (answer.is_success and answer.headers["content-type"].startswith("application/json") and answer.content):
        return False
    body = answer.json()
    return isinstance(body.get("members"), list) or isinstance(body.get("accepted"), int)


def test_retry_after_comes_only_where_it_is_asked_for(sandbox: Sandbox) -> None:
    """Both kinds of 429 have been seen."""
    for fault, has in {"429": False, "429-retry-after": True}.items():
        sandbox.settings.faults = {fault: 1.0}
        assert ("retry-after" in members(sandbox).headers) == has
        assert ("retry-after" in push(sandbox).headers) == has


@pytest.mark.parametrize("fault", BROKEN_RESPONSES)
def test_a_spoilt_answer_does_not_arrive_but_the_push_is_stored(sandbox: Sandbox, fault: str) -> None:
    """So whoever pushes again pushes twice. An endless body comes in drops: no time-out for a single read ends it."""
    sandbox.settings.faults = {fault: 1.0}
    sandbox.settings.silence = 0.5
    if fault == "truncated":
        with pytest.raises(ValueError, match=r"."):
            push(sandbox).json()
    else:
        with pytest.raises(httpx.TransportError):
            push(sandbox)
    assert len(sandbox.contacts()) == 1
    assert [line.fault for line in sandbox.requests] == [fault]


@pytest.mark.parametrize("fault", ["reset", "silent"])
def test_an_unanswered_request_did_nothing(sandbox: Sandbox, fault: str) -> None:
    """The connection is reset at once, or nothing is ever said."""
    sandbox.settings.faults = {fault: 1.0}
    with pytest.raises(httpx.ReadError if fault == "reset" else httpx.ReadTimeout):
        push(sandbox, timeout=0.5)
    assert sandbox.contacts() == {}
    assert [line.status for line in sandbox.requests] == [0]


def test_the_server_gives_up_a_silent_request_in_the_end(sandbox: Sandbox) -> None:
    """And counts it as open until then."""
    sandbox.settings.silence = 0.3
    sandbox.settings.faults = {"silent": 1.0}
    with pytest.raises(httpx.TransportError):
        members(sandbox)
    sandbox.settings.faults = {}
    assert members(sandbox).status_code == 200
    assert sandbox.max_open() == 1


def test_rates_strike_the_same_requests_with_the_same_seed() -> None:
    """About as many as they say, and others with another seed."""

    def story(seed: int) -> list[int]:
        knobs = SandboxSettings(size=20, seed=seed, error_rate=0.2, throttle_rate=0.1)
        with (
            Sandbox(knobs) as sandbox,
            httpx.Client(auth=("x", sandbox.mailchimp_key), trust_env=False, verify=PLAIN) as client,
        ):
            return [client.get(f"{sandbox.mailchimp_url}/lists").status_code for _ in range(150)]

    first = story(1)
    assert first == story(1) != story(2)
    assert 15 < first.count(500) < 45
    assert 5 < first.count(429) < 28


def test_a_test_may_decide_by_itself_what_goes_wrong(sandbox: Sandbox) -> None:
    """By anything that the ledger tells of a request."""

    def third_page_is_404(request: Request) -> str | None:
        return "404" if request.service == "mailchimp" and request.nth == 2 else None

    sandbox.settings.fault = third_page_is_404
    assert [members(sandbox).status_code for _ in range(4)] == [200, 200, 404, 200]


@pytest.mark.parametrize("name", ["5000", "mailchmp:500"])
def test_a_misspelt_fault_is_told(name: str) -> None:
    """It must not pass for a quiet day."""
    sandbox = Sandbox(SandboxSettings(size=20, faults={name: 0.5}))
    sandbox.start()
    assert members(sandbox).status_code == 500
    with pytest.raises(RuntimeError) as told:
        sandbox.stop()
    assert isinstance(told.value.__cause__, LookupError)


def test_every_fault_has_a_test_above() -> None:
    """Whoever adds one says what it does."""
    assert set(FAULTS) == {*ERROR_RESPONSES, *BROKEN_RESPONSES, "reset", "silent"}


# -- starting and stopping


def test_while_it_is_away_connections_are_refused_and_nothing_is_forgotten(sandbox: Sandbox) -> None:
    """The same port, people and contacts afterwards."""
    push(sandbox)
    before = list(sandbox.audience().members)
    with sandbox.offline(), pytest.raises(httpx.ConnectError):
        members(sandbox)
    assert members(sandbox).status_code == 200
    assert list(sandbox.audience().members) == before
    assert len(sandbox.contacts()) == 1


def test_stopping_ends_silent_answers(sandbox: Sandbox) -> None:
    """Nobody waits for them for two minutes."""
    sandbox.settings.faults = {"silent": 1.0}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(members, sandbox)
        while not sandbox.requests:
            assert not waiting.done()
        sandbox.stop()
        with pytest.raises(httpx.TransportError):
            waiting.result(10)


def test_a_mistake_in_a_hook_does_not_pass_for_a_fault() -> None:
    """The answer can only be a 500; the test that hung in the hook must hear of it."""

    def wrong(_audience: object) -> None:
        raise LookupError

    sandbox = Sandbox(SandboxSettings(size=20, on_page=wrong))
    sandbox.start()
    assert members(sandbox).status_code == 500
    with pytest.raises(RuntimeError, match="hook"):
        sandbox.stop()


def test_a_taken_port_is_told(sandbox: Sandbox) -> None:
    """Before anything is served."""
    with pytest.raises(OSError, match="in use"):
        Sandbox(SandboxSettings(size=0), port=sandbox.port).start()


# -- cost


def test_a_page_that_was_written_before_is_cheap_and_a_look_up_cheaper() -> None:
    """In processor time of this process, client included: each costs less than the one before."""
    with (
        Sandbox(SandboxSettings(size=25_000)) as sandbox,
        httpx.Client(auth=("x", sandbox.mailchimp_key), trust_env=False, verify=PLAIN) as client,
    ):
        path = f"{sandbox.mailchimp_url}/lists/{LIST_KEY}/members"
        fields = "members.email_address,members.status,members.merge_fields,members.last_changed,total_items"
        page = {"count": "1000", "sort_field": "last_changed", "fields": fields}
        look_up = {**page, "count": "1", "offset": "20000", "fields": "members.last_changed,total_items"}
        anew = min(_cost(client, path, {**page, "offset": str(1000 * n)}) for n in range(10))
        again = min(_cost(client, path, {**page, "offset": str(1000 * n)}) for n in range(10))
        assert again < anew
        assert min(_cost(client, path, look_up) for _ in range(10)) < again


def _cost(client: httpx.Client, path: str, query: dict[str, str]) -> float:
    before = time.process_time()
    assert client.get(path, params=query).status_code == 200
    return time.process_time() - before
