"""Ometria's contacts read back: all of them, though contacts come and go while it reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.errors import FatalError, IgnoredParameterError, InterruptedRunError, RetriableError
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services import ometria
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.ometria.contacts import Contacts, UnknownContactError
from services.http.test_client import saying, serving, wired

ACCOUNTS = count(1)
FAST = 1_000_000.0


@pytest.fixture(scope="module", name="sandbox")
def a_sandbox() -> Iterator[Sandbox]:
    """One for all tests; each test takes an account of its own."""
    with Sandbox(SandboxSettings(size=0, reads_per_second=10**6)) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def as_it_was(sandbox: Sandbox) -> Iterator[None]:
    """No test leaves a knob turned."""
    yield
    vars(sandbox.settings).update(vars(SandboxSettings(size=0, reads_per_second=10**6)))
    sandbox.clear_requests()


@contextmanager
def account(sandbox: Sandbox, contacts: int, patience: RetryPolicy | None = None) -> Iterator[tuple[str, Contacts]]:
    """Its key and its reader; it holds c0, c1, …"""
    key = f"{next(ACCOUNTS):032x}"
    sandbox.add_account(f"{key}-us6", key, {})
    store(sandbox, key, range(contacts))
    wire = HttpClient("Ometria", sandbox.ometria_url, {"X-Ometria-Auth": key})
    try:
        yield key, Contacts(wire, patience or RetryPolicy(wait=0), RateLimiter(FAST))
    finally:
        wire.close()


def store(sandbox: Sandbox, key: str, numbers: range, collection: str = "mailchimp") -> None:
    some = ({"@collection": collection, "id": f"c{n}", "email": f"c{n}@example.com"} for n in numbers)
    sandbox.store_contacts(some, key)


def seen(contacts: Contacts) -> list[str]:
    return [str(one.id) for page in contacts.listing("mailchimp") for one in page]


@pytest.mark.parametrize("many", [0, 1, 2, 249, 250, 251, 499, 1_000])
def test_everybody_is_read_to_the_end(sandbox: Sandbox, many: int) -> None:
    """In order, whatever the number; only the one at a page's edge may come twice."""
    with account(sandbox, many) as (_, contacts):
        found = seen(contacts)
    assert list(dict.fromkeys(found)) == [f"c{number}" for number in range(many)]
    assert len(found) <= many + many // 249 + 1


@settings(max_examples=40)
@given(
    many=st.integers(0, 60),
    moments=st.dictionaries(st.integers(0, 14), st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=5),
    early=st.booleans(),
)
def test_contacts_that_come_and_go_hide_nobody(
    sandbox: Sandbox, many: int, moments: dict[int, tuple[int, int]], *, early: bool
) -> None:
    """Whoever is there from beginning to end is read, at whichever request some are taken out and others join."""
    with account(sandbox, many) as (key, contacts), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ometria.contacts, "PAGE", 10)
        asked, joined = count(), count(many)

        def move(request: Request) -> None:
            if request.path != "/contacts" or request.key != key:
                return
            out, joins = moments.get(next(asked), (0, 0))
            there = list(sandbox.contacts(key))
            sandbox.delete_contacts(there[:out] if early else there[len(there) // 2 :][:out], key)
            for _ in range(joins):
                number = next(joined)
                store(sandbox, key, range(number, number + 1))

        sandbox.settings.fault = move
        found = set(seen(contacts))
        sandbox.settings.fault = None
        stayed = {own for _, own in sandbox.contacts(key)} & {f"c{number}" for number in range(many)}
    assert stayed <= found


def test_who_joins_while_it_reads_is_met_last(sandbox: Sandbox) -> None:
    """They stand at the end, and the end is looked for until nobody stands behind it."""
    with account(sandbox, 400) as (key, contacts):

        def join(request: Request) -> None:
            if request.query.get("offset") == "249":
                store(sandbox, key, range(400, 405))

        sandbox.settings.fault = join
        assert {f"c{number}" for number in range(400)} <= set(seen(contacts))


def test_an_answer_that_is_empty_once_is_no_end(sandbox: Sandbox) -> None:
    """The page is asked for again from further before, until somebody known stands there."""
    with account(sandbox, 40) as (key, contacts), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ometria.contacts, "PAGE", 10)
        asked = count()

        def empty_once(_request: Request) -> None:
            number = next(asked)
            if number == 2:
                sandbox.delete_contacts(list(sandbox.contacts(key)), key)
            elif number == 3:
                store(sandbox, key, range(40))

        sandbox.settings.fault = empty_once
        assert {f"c{number}" for number in range(40)} == set(seen(contacts))


def test_contacts_of_other_collections_are_left_out_and_counted(sandbox: Sandbox) -> None:
    """A filter that does not work is noticed by what comes back; beyond a bound nothing more is read."""
    with account(sandbox, 300) as (key, contacts):
        store(sandbox, key, range(280), "shop")
        sandbox.settings.collection_ignored = True
        listing = contacts.listing("mailchimp")
        assert {one.collection for page in listing for one in page} == {"mailchimp"}
        assert listing.others == 280
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ometria.contacts, "MOST_OTHERS", 200)
            with pytest.raises(FatalError, match="did not filter by collection"):
                seen(contacts)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"id":', b"<html>"], ids=repr)
def test_an_answer_of_another_shape_is_an_error_and_never_nobody(body: bytes) -> None:
    """It is asked for again, and in the end raised."""
    raw = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with serving(saying(raw)) as server, wired(server.url, service="Ometria") as wire:
        contacts = Contacts(wire, RetryPolicy(wait=0), RateLimiter(FAST))
        with pytest.raises(RetriableError, match="not a list of contacts"):
            seen(contacts)


def test_a_server_that_ignores_the_offset_is_no_endless_list() -> None:
    """The same page again and again is an error, and not a reason to go on for ever."""
    body = b"[" + b",".join(b'{"@collection":"mailchimp","id":"c%d"}' % number for number in range(250)) + b"]"
    raw = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with serving(saying(raw)) as server, wired(server.url, service="Ometria") as wire:
        contacts = Contacts(wire, RetryPolicy(wait=0), RateLimiter(FAST))
        with pytest.raises(IgnoredParameterError, match="ignored offset"):
            seen(contacts)


def test_a_404_may_pass(sandbox: Sandbox) -> None:
    """It is tried again, and raised with a hint when it stays."""
    with account(sandbox, 5) as (_, contacts):
        faults = iter(["404", "404"])
        sandbox.settings.fault = lambda _: next(faults, None)
        assert len(set(seen(contacts))) == 5
        sandbox.settings.fault = lambda _: "404"
        with pytest.raises(RetriableError, match="no contacts can be read there") as raised:
            seen(contacts)
        assert "`url` in" in raised.value.hint


def test_a_stop_ends_it_between_two_pages(sandbox: Sandbox) -> None:
    """Nothing more is asked for."""
    stop = StopSignal()
    with account(sandbox, 600, RetryPolicy(stop, wait=0)) as (_, contacts):
        pages = iter(contacts.listing("mailchimp"))
        next(pages)
        stop.request()
        with pytest.raises(InterruptedRunError):
            list(pages)


# ---- single contacts


def test_a_single_contact_is_read_by_its_id_and_one_that_is_not_there_is_none(sandbox: Sandbox) -> None:
    """A 404 is believed when it is said twice and another contact of the collection is found in the same way, once."""
    with account(sandbox, 3) as (_, contacts):
        assert contacts.contact("mailchimp", "c9") is None
        found = contacts.contact("mailchimp", "c1")
        assert found is not None
        assert found.email == "c1@example.com"
        assert contacts.contact("mailchimp", "c8") is None
    asked = [one.path.rpartition("/")[2] for one in sandbox.requests]
    assert asked == ["c9", "contacts", "c0", "c9", "c1", "c8", "c8"]


def test_where_single_contacts_are_not_answered_a_404_says_nothing(sandbox: Sandbox) -> None:
    """Found out once, by a contact that was just listed; nobody is asked for after that."""
    sandbox.settings.single_contacts = False
    with account(sandbox, 3) as (_, contacts):
        for _ in range(2):
            with pytest.raises(UnknownContactError, match="does not return single contacts"):
                contacts.contact("mailchimp", "c1")
    assert len(sandbox.requests) == 3


def test_of_an_empty_collection_a_404_is_right_for_everybody(sandbox: Sandbox) -> None:
    """There is nobody who could be found in the same way, and nobody who could be missed."""
    with account(sandbox, 0) as (_, contacts):
        assert contacts.contact("mailchimp", "c1") is None


@pytest.mark.parametrize("fault", ["500", "401", "empty", "html", "wrong-shape", "reset"])
def test_a_contact_that_cannot_be_read_is_unknown_not_absent(sandbox: Sandbox, fault: str) -> None:
    """Whatever else is answered, nothing is known of the contact, and nothing is tried again."""
    with account(sandbox, 3) as (_, contacts):
        sandbox.settings.fault = lambda _: fault
        with pytest.raises(UnknownContactError):
            contacts.contact("mailchimp", "c1")
    assert len(sandbox.requests) == 1
