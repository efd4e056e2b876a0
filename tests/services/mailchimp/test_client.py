"""Mailchimp's end: what is asked for and how, which answers are believed, and that nobody is taken for nobody."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest

from mcimport.engine.page.context import PageContext
from mcimport.engine.page.process import process_page
from mcimport.engine.page.result import PageResult
from mcimport.errors import (
    FatalError,
    InterruptedRunError,
    NotFoundError,
    RetriableError,
    ServiceTimeoutError,
    ThrottledError,
    UnreachableError,
)
from mcimport.models import Bounds, ListFields, Member, Page, Skipped, Window
from mcimport.models.timestamps import iso
from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.stored_member import ABSENT
from mcimport.sandbox.request_log import Request, max_open
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.http import decode_slot, retry
from mcimport.services.http.client import HttpClient
from mcimport.services.http.connection_limit import ConnectionLimit
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.client import EmptyPageError, MailchimpClient
from mcimport.services.mailchimp.list_fields import read_list_fields
from mcimport.services.mailchimp.same_second import UnstableSecondError, read_same_second
from services.http.test_client import Server, answer

T = 1_700_000_000
WINDOW = Window(0, "listed", T - 1, T + 1_000, page=100)

LONDON = {"country_code": "GB", "timezone": "Europe/London"}

ACCOUNTS = count(1)

Made = tuple[Sandbox, Audience, MailchimpClient]


def client(
    sandbox: Sandbox, *, key: str = "", patience: RetryPolicy | None = None, timeout: float = 60
) -> MailchimpClient:
    secret = base64.b64encode(f"anybody:{key or sandbox.mailchimp_key}".encode()).decode()
    wire = HttpClient("Mailchimp", sandbox.mailchimp_url, {"Authorization": f"Basic {secret}"}, timeout=timeout)
    return MailchimpClient(wire, patience or RetryPolicy(wait=0), ConnectionLimit(10))


class Maker(Protocol):
    """Makes a sandbox with nobody in it, its audience and its client."""

    def __call__(self, *, timeout: float = 60, **knobs: Any) -> Made: ...


@pytest.fixture(scope="module", name="shared")
def a_sandbox() -> Iterator[Sandbox]:
    """One for all tests: to start and to stop it takes longer than most of them."""
    with Sandbox(SandboxSettings(size=0)) as sandbox:
        yield sandbox


@pytest.fixture(name="make")
def a_maker(shared: Sandbox) -> Iterator[Maker]:
    """An account of its own for the test, with the knobs as they are by default but for those named."""
    with ExitStack() as stack:

        def make(*, timeout: float = 60, **knobs: Any) -> Made:
            vars(shared.settings).update(vars(SandboxSettings(**{"size": 0, **knobs})))
            number = next(ACCOUNTS)
            shared.mailchimp_key, shared.ometria_key = f"{number:032x}-us6", f"{number:032x}"
            shared.add_account(shared.mailchimp_key, shared.ometria_key, {LIST_KEY: 0})
            shared.clear_requests()
            mailchimp = client(shared, timeout=timeout)
            stack.callback(mailchimp.close)
            return shared, shared.audience(mailchimp_key=shared.mailchimp_key), mailchimp

        yield make


def people(audience: Audience, seconds: Sequence[int]) -> list[str]:
    """One member for each second; their names."""
    return [name_of(audience.join_in_second(1, second)[0]) for second in seconds]


def name_of(person: Mapping[str, Any]) -> str:
    """Old accounts know no `contact_id`."""
    return str(person.get("contact_id") or person["web_id"])


def who(members: Sequence[Member]) -> list[str]:
    return [str(pagination.identity(member)) for member in members]


def queries(sandbox: Sandbox) -> list[dict[str, str]]:
    return [request.query for request in sandbox.requests]


def only_members(fault: str) -> Callable[[Request], str | None]:
    """The fault strikes every request for members."""
    return lambda request: fault if request.path.endswith("/members") else None


def first_times(fault: str, times: int) -> Callable[[Request], str | None]:
    """The fault strikes so many requests of each path."""
    asked = Counter[str]()

    def decide(request: Request) -> str | None:
        asked[request.path] += 1
        return fault if asked[request.path] <= times else None

    return decide


# ---- what is asked for


def test_a_page_is_asked_for_by_time_in_whole_seconds_sorted_and_with_what_is_used_alone(make: Maker) -> None:
    """`count` always; both bounds, encoded so that `+` arrives; one second more where a bound is not known."""
    sandbox, audience, mailchimp = make()
    people(audience, [T, T + 5])
    mailchimp.next_page(LIST_KEY, WINDOW, 100)
    (query,) = queries(sandbox)
    fields = query.pop("fields").split(",")
    assert query == {
        "sort_field": "last_changed",
        "sort_dir": "ASC",
        "since_last_changed": iso(T - 1),
        "before_last_changed": iso(T + 1_001),
        "count": "100",
        "offset": "0",
    }
    whole = {f"members.{name}" for name in Member.__struct_fields__ if name not in {"location", "tags"}}
    parts = {"members.location.country_code", "members.location.timezone", "members.tags.name"}
    assert set(fields) == {"total_items", *whole, *parts}
    assert not {"members.id", "members._links", "_links"} & set(fields)


@pytest.mark.parametrize("parts", ["absent", "empty", "refused"])
def test_where_the_parts_of_fields_do_not_come_the_page_is_read_again_with_whole_fields(
    make: Maker, parts: str
) -> None:
    """Once a client: every later page is requested so from the beginning, and no member lacks a place or a tag."""
    sandbox, audience, mailchimp = make(field_parts=parts)
    for second in (T, T + 5):
        audience.add(at=second, location=LONDON, tags=[{"id": 1, "name": "VIP"}], tags_count=1)
    for _ in range(2):
        members = mailchimp.next_page(LIST_KEY, WINDOW, 100).members
        assert [member.location["timezone"] for member in members] == ["Europe/London"] * 2
        assert [tag["name"] for member in members for tag in member.tags] == ["VIP", "VIP"]
    in_parts, *whole = [query["fields"].split(",") for query in queries(sandbox)]
    assert "members.location.timezone" in in_parts
    assert len(whole) == 2
    assert all({"members.location", "members.tags"} <= set(fields) for fields in whole)


def test_tags_that_nobody_has_are_no_reason_to_read_a_page_again(make: Maker) -> None:
    """By their count: the parts of `tags` cannot come. Without a count they might be there, so it is read again."""
    sandbox, audience, mailchimp = make()
    audience.add(at=T, location=LONDON, tags=[], tags_count=0)
    mailchimp.next_page(LIST_KEY, WINDOW, 100)
    assert len(queries(sandbox)) == 1
    audience.add(at=T + 9, location=LONDON, tags=[], tags_count=ABSENT)
    mailchimp.next_page(LIST_KEY, WINDOW, 100)
    assert len(queries(sandbox)) == 3


def test_a_refusal_after_parts_have_come_has_another_reason_and_is_not_tried_again(make: Maker) -> None:
    """Or a list that is refused for good would be asked twice for every page."""
    sandbox, audience, mailchimp = make()
    audience.add(at=T, location=LONDON, tags=[], tags_count=0)
    mailchimp.next_page(LIST_KEY, WINDOW, 100)
    sandbox.settings.field_parts = "refused"
    with pytest.raises(FatalError, match="400"):
        mailchimp.next_page(LIST_KEY, WINDOW, 100)
    assert len(queries(sandbox)) == 2


def test_the_archived_are_asked_for_by_their_status_and_the_listed_without_one(make: Maker) -> None:
    """They are absent from an unfiltered list."""
    sandbox, audience, mailchimp = make()
    (kept, gone) = people(audience, [T, T + 5])
    audience.archive(who=[gone])
    assert who(mailchimp.first_page(LIST_KEY, "listed", None, 100).members) == [kept]
    assert who(mailchimp.first_page(LIST_KEY, "archived", None, 100).members) == [gone]
    assert [query.get("status") for query in queries(sandbox)] == [None, "archived"]
    assert not any("before_last_changed" in query or "since_last_changed" in query for query in queries(sandbox))


@pytest.mark.parametrize("since", [False, True])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_page_brings_everybody_of_the_span_however_the_bounds_are(
    make: Maker,
    since: bool,  # noqa: FBT001 - a column of the table
    before: bool,  # noqa: FBT001 - the same
    known: bool,  # noqa: FBT001 - the same
) -> None:
    """Whether it is not known yet or learned already; at the first second of the span and at the last."""
    _, audience, mailchimp = make(since_includes=since, before_includes=before)
    people(audience, [T - 1, T + 1_001])
    inside = people(audience, [T, T + 500, T + 1_000])
    bounds = Bounds(since_includes=since, before_includes=before) if known else Bounds()
    window = Window(0, "listed", T - 1, T + 1_000, bounds=bounds)
    page = mailchimp.next_page(LIST_KEY, window, 100)
    assert set(inside) <= set(who(page.members))
    assert set(inside) == set(who(pagination.split_page(window, page, 100).kept))


def test_a_look_up_says_the_second_of_whoever_stands_there_and_asks_for_nobody_else(make: Maker) -> None:
    """None beyond the end; the answer holds a time and no more."""
    sandbox, audience, mailchimp = make()
    people(audience, [T + 9, T, T + 4])
    assert [mailchimp.last_changed_at(LIST_KEY, WINDOW, offset) for offset in range(4)] == [T, T + 4, T + 9, None]
    assert {(query["count"], query["fields"]) for query in queries(sandbox)} == {
        ("1", "members.last_changed,total_items")
    }


@pytest.mark.parametrize("last_changed", ["", None, ABSENT, "never"])
def test_a_member_without_a_time_is_never_taken_for_nobody(make: Maker, last_changed: object) -> None:
    """Whoever asked would end the window there, with everybody behind them."""
    _, audience, mailchimp = make()
    audience.add(at=T, last_changed=last_changed)
    with pytest.raises(RetriableError):
        mailchimp.last_changed_at(LIST_KEY, WINDOW, 0, quick=True)


def test_a_glance_tells_how_many_there_are_without_reading_anybody(make: Maker) -> None:
    """For a first page that is broken: nobody of it is shown, and it is asked for once."""
    sandbox, audience, mailchimp = make(broken=[(T - 1, T)])
    people(audience, [T, T + 1, T + 2])
    page = mailchimp.probe(LIST_KEY, "listed", None, 1000)
    assert (page.members, page.total, page.asked) == ((), 3, 1000)
    sandbox.settings.error_rate = 1.0
    sandbox.clear_requests()
    with pytest.raises(RetriableError):
        mailchimp.probe(LIST_KEY, "listed", None, 1000)
    assert len(sandbox.requests) == 1


def test_a_member_is_found_by_their_contact_id_also_in_the_archive(make: Maker) -> None:
    """Only who is not there is missing: at once, for a replay takes that for an answer."""
    sandbox, audience, mailchimp = make()
    one, other = people(audience, [T, T + 1])
    audience.archive(who=[other])
    assert mailchimp.member(LIST_KEY, one).contact_id == one
    assert mailchimp.member(LIST_KEY, other).status == "archived"
    audience.delete(who=[one])
    sandbox.clear_requests()
    with pytest.raises(NotFoundError):
        mailchimp.member(LIST_KEY, one)
    assert len(sandbox.requests) == 1


def test_the_lists_own_fields_are_read_whole_with_the_names_of_its_interests(make: Maker) -> None:
    """More than the ten that come without `count`; options as they are; an interest's name by its id."""
    sandbox, audience, mailchimp = make()
    fields = read_list_fields(mailchimp, LIST_KEY)
    assert len(fields.merge_fields) == 13
    assert (fields.merge_fields["PHONE"].type, fields.merge_fields["PHONE"].options) == (
        "phone",
        {"phone_format": "none"},
    )
    assert set(fields.interests) == {one for some in audience.identity.interests for one in some}
    assert len(sandbox.requests) == 2 + len(audience.identity.categories)
    assert all(query["count"] == "1000" for query in queries(sandbox))


# ---- the clock


def test_settled_is_over_when_the_page_is_asked_for_however_long_it_takes(make: Maker) -> None:
    """The answer is dated at its end; the time that it took comes off."""
    _, audience, mailchimp = make(first_page_latency=1.3)
    people(audience, [T])
    before = time.time()
    page = mailchimp.first_page(LIST_KEY, "listed", None, 100)
    assert page.settled <= before - 2
    assert page.clock_warning == ""


@pytest.mark.parametrize("skew", [-900, 900])
def test_a_server_whose_clock_is_a_quarter_of_an_hour_off_is_read_by_its_own_with_a_warning(
    make: Maker, skew: int
) -> None:
    """`last_changed` is by its clock, too; where this machine's is behind, the words say what that costs."""
    _, audience, mailchimp = make(clock_skew=skew)
    people(audience, [T])
    page = mailchimp.first_page(LIST_KEY, "listed", None, 100)
    assert page.settled - time.time() == pytest.approx(skew, abs=60)
    assert "five minutes" in page.clock_warning
    assert ("the last 15 min again" in page.clock_warning) is (skew > 0)


def test_without_a_clock_of_the_servers_this_machines_counts_less_five_minutes(make: Maker) -> None:
    """A sync point in the future would lose whoever changes until then; a person is told."""
    _, audience, mailchimp = make(no_date=True)
    people(audience, [T])
    before = time.time()
    page = mailchimp.first_page(LIST_KEY, "listed", None, 100)
    assert page.settled <= before - 300
    assert "no Date header" in page.clock_warning


@pytest.mark.parametrize("years", [-5, 5])
def test_a_clock_that_is_years_off_is_never_made_a_sync_point(make: Maker, years: int) -> None:
    """Whichever of the two is wrong: the run ends in words instead of ending all imports to come in silence."""
    _, audience, mailchimp = make(clock_skew=years * 366 * 86_400)
    people(audience, [T])
    with pytest.raises(FatalError, match="years apart"):
        mailchimp.first_page(LIST_KEY, "listed", None, 100)


# ---- answers that are none

NO_ANSWER = ["empty", "html", "error-object", "wrong-shape", "truncated", "reset", "reset-body", "500", "404"]


@pytest.mark.parametrize("fault", NO_ANSWER)
def test_an_answer_that_is_none_is_asked_for_again_and_never_taken_for_nobody(make: Maker, fault: str) -> None:
    """Three times; then it is an error. A 404 in the middle of a run is one of them, not the end of the list."""
    sandbox, audience, mailchimp = make(fault=first_times(fault, 3))
    ids = people(audience, [T, T + 1])
    assert who(mailchimp.next_page(LIST_KEY, WINDOW, 100).members) == ids
    sandbox.clear_requests()
    sandbox.settings.fault = only_members(fault)
    with pytest.raises(RetriableError):
        mailchimp.next_page(LIST_KEY, WINDOW, 100)
    # A connection that ends when it is used again is no try: the request is sent once more on a new one.
    assert len(sandbox.requests) == (5 if fault == "reset" else 4)
    sandbox.clear_requests()
    with pytest.raises(RetriableError):
        mailchimp.next_page(LIST_KEY, WINDOW, 100, quick=True)
    assert len(sandbox.requests) == 1


def test_a_request_for_a_page_does_not_hold_the_decode_slot(make: Maker) -> None:
    """Another page can be decoded until the answer is there."""
    sandbox, audience, mailchimp = make()
    ids = people(audience, [T, T + 1])
    free: list[bool] = []

    def decode_another() -> None:
        with decode_slot.held():
            free.append(True)

    def while_asked(_: Request) -> None:
        thread = threading.Thread(target=decode_another, daemon=True)
        thread.start()
        thread.join(5)

    sandbox.settings.fault = while_asked
    with decode_slot.held():
        assert who(mailchimp.next_page(LIST_KEY, WINDOW, 100).members) == ids
    assert free == [True]


def test_a_passing_404_in_the_middle_of_a_run_ends_nothing(make: Maker) -> None:
    """Not a look-up, not a crowded second, not the list's fields: each is tried again, and fails as others do."""
    sandbox, audience, mailchimp = make(fault=first_times("404", 2))
    ids = people(audience, [T] * 3)
    assert mailchimp.last_changed_at(LIST_KEY, WINDOW, 0) == T
    assert len(read_list_fields(mailchimp, LIST_KEY).merge_fields) == 13
    sandbox.settings.fault = None
    assert sorted(crowd(mailchimp, T, 2)) == sorted(ids)
    sandbox.settings.fault = lambda _: "404"
    for asking in (
        lambda: mailchimp.last_changed_at(LIST_KEY, WINDOW, 0),
        lambda: read_list_fields(mailchimp, LIST_KEY),
        lambda: crowd(mailchimp, T, 2),
    ):
        with pytest.raises(RetriableError):
            asking()


def test_a_list_that_is_unknown_at_the_first_look_is_final(make: Maker) -> None:
    """At once, in words that name the list and nothing else."""
    sandbox, _, mailchimp = make()
    with pytest.raises(FatalError, match="no list 0000000000") as unknown:
        mailchimp.first_page("0000000000", "listed", None, 100)
    assert (len(sandbox.requests), unknown.value.status) == (1, 404)
    assert sandbox.mailchimp_key not in str(unknown.value)


def test_an_address_without_the_version_is_told_at_the_first_request(make: Maker) -> None:
    """A 404 at `/ping` is no passing fault: the url lacks its end, and the words ask for it."""
    sandbox, _, _ = make()
    wire = HttpClient("Mailchimp", sandbox.mailchimp_url.removesuffix("/3.0"), {}, timeout=60)
    mailchimp = MailchimpClient(wire, RetryPolicy(wait=0), ConnectionLimit(10))
    with pytest.raises(FatalError, match="404") as error:
        mailchimp.ping()
    mailchimp.close()
    assert "end in /3.0" in error.value.hint


@pytest.mark.parametrize("key", ["0123456789abcdef0123456789abcdef-us6", "0123456789abcdef0123456789abcdef-us99"])
def test_a_wrong_key_is_final_and_not_repeated_in_the_words(make: Maker, key: str) -> None:
    """Neither another account's nor another data centre's is tried twice."""
    sandbox, _, _ = make()
    mailchimp = client(sandbox, key=key)
    with pytest.raises(FatalError) as refused:
        mailchimp.ping()
    mailchimp.close()
    assert len(sandbox.requests) == 1
    assert key[:12] not in f"{refused.value} {refused.value.hint}"


def test_nobody_listening_is_told_from_a_broken_service(make: Maker) -> None:
    """Every other question would fail alike."""
    sandbox, _, mailchimp = make()
    with sandbox.offline(), pytest.raises(UnreachableError):
        mailchimp.next_page(LIST_KEY, WINDOW, 100)


# ---- a service of a few lines, for what the sandbox does not do

Script = Callable[[dict[str, str]], object]


@contextmanager
def scripted(script: Script, *, status: int = 200) -> Iterator[MailchimpClient]:
    """Answers each request with what the script says to its query: an object, or bytes as they are."""
    lock_holder: list[Server] = []

    def handler(connection: socket.socket) -> None:
        target = lock_holder[0].requests[-1].split(b" ")[1].decode()
        query = {name: value for name, (value, *_) in parse_qs(urlsplit(target).query).items()}
        said = script(query)
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        connection.sendall(answer(body, status=status))

    server = Server(handler)
    lock_holder.append(server)
    mailchimp = MailchimpClient(HttpClient("Mailchimp", server.url, {}), RetryPolicy(wait=0), ConnectionLimit(1))
    try:
        yield mailchimp
    finally:
        mailchimp.close()
        server.close()


def row(name: str, second: int = T) -> dict[str, object]:
    return {"contact_id": name, "last_changed": iso(second)}


def page_of(*rows: dict[str, object], total: int | None = None) -> dict[str, object]:
    return {"members": list(rows), "total_items": len(rows) if total is None else total}


@pytest.mark.parametrize(
    "said",
    [
        page_of(row("old", T - 2)),
        page_of(row("b", T + 5), row("a", T + 4)),
        {"members": [row("a")]},
        {"total_items": 1},
        {"members": None, "total_items": 0},
        {"members": [None], "total_items": 1},
        {"members": [row("a")], "total_items": "1"},
        {"members": {"0": row("a")}, "total_items": 1},
        b"null",
        b"[" * 100_000,
    ],
    ids=["older", "unsorted", "no count", "no members", "null", "a null in it", "text", "object", "nothing", "depth"],
)
def test_an_answer_to_another_question_or_of_another_shape_is_an_error(said: object) -> None:
    """The filter or the order ignored, the array or the count missing: never believed, never "nobody"."""
    with scripted(lambda _: said) as mailchimp, pytest.raises(RetriableError):
        mailchimp.next_page(LIST_KEY, WINDOW, 100)


@pytest.mark.parametrize("status", [400, 422])
def test_a_request_that_mailchimp_does_not_understand_is_final(status: int) -> None:
    """It would not understand it the next time either."""
    with scripted(lambda _: {"title": "Invalid Resource"}, status=status) as mailchimp, pytest.raises(FatalError):
        mailchimp.next_page(LIST_KEY, WINDOW, 100)


@pytest.mark.parametrize(
    "member",
    [
        b'{"last_changed":"2023-11-14T22:13:20+00:00","merge_fields":{"FNAME":"\\ud83d"}}',
        b'{"last_changed":"2023-11-14T22:13:20+00:00","member_rating":NaN}',
        b'{"last_changed":"2023-11-14T22:13:20+00:00","merge_fields":{"FNAME":"\xe9"}}',
        b'{"last_changed":"2023-11-14T22:13:20+00:00","merge_fields":[],"location":"","tags":7,"new":{"field":1}}',
        b"{}",
    ],
    ids=["half a pair", "not a number", "not UTF-8", "other types", "nothing"],
)
def test_one_odd_member_does_not_make_a_page_unreadable(member: bytes) -> None:
    """What a lenient reader takes is taken: the others of the page must not wait for it."""
    body = b'{"members":[%s,{"contact_id":"mate","last_changed":"2023-11-14T22:13:21+00:00"}],"total_items":2}' % member
    with scripted(lambda _: body) as mailchimp:
        page = mailchimp.next_page(LIST_KEY, WINDOW, 100)
    assert (len(page.members), page.members[1].contact_id, page.total) == (2, "mate", 2)


# ---- pages that are too slow


@pytest.mark.parametrize(("most", "asked"), [(300, [1000, 500, 250]), (50, [1000, 500, 250, 125, 62, 50])])
def test_a_first_page_that_is_too_slow_is_asked_for_at_half_its_size(make: Maker, most: int, asked: list[int]) -> None:
    """Down to fifty; the page says with which size it came."""
    sandbox, audience, mailchimp = make(max_page=most)
    people(audience, range(T, T + 1_000))
    page = mailchimp.first_page(LIST_KEY, "listed", None, 1000)
    assert [int(query["count"]) for query in queries(sandbox)] == asked
    assert (page.asked, len(page.members), page.total) == (asked[-1], asked[-1], 1_000)


def test_a_page_that_is_too_slow_comes_back_at_once_when_fewer_might_be_answered(make: Maker) -> None:
    """One try for a large one; the usual tries for the smallest."""
    sandbox, audience, mailchimp = make(max_page=10)
    people(audience, range(T, T + 60))
    for size, tries in ((51, 1), (50, 4)):
        sandbox.clear_requests()
        with pytest.raises(ServiceTimeoutError):
            mailchimp.next_page(LIST_KEY, WINDOW, size)
        assert len(sandbox.requests) == tries


def test_a_server_that_falls_silent_is_too_slow(make: Maker) -> None:
    """As a time-out of the service's own."""
    _, audience, mailchimp = make(timeout=0.3, fault=only_members("silent"))
    people(audience, [T])
    with pytest.raises(ServiceTimeoutError):
        mailchimp.next_page(LIST_KEY, WINDOW, 100)


# ---- a list that moves


def test_a_member_who_changes_while_the_first_page_is_written_is_no_disorder(make: Maker) -> None:
    """Dated now, but standing where they stood: the page is good at the first try, every time."""
    sandbox, audience, mailchimp = make()
    ids = people(audience, range(T, T + 200, 10))
    sandbox.settings.on_page = lambda some: some.change(who=[some.listed()[3]])
    page = mailchimp.first_page(LIST_KEY, "listed", None, 1000)
    assert (len(sandbox.requests), set(who(page.members))) == (1, set(ids))


def crowd(mailchimp: MailchimpClient, second: int, page: int, bounds: Bounds | None = None) -> list[str]:
    window = Window(0, "listed", second - 100, second + 100, page=page, bounds=bounds or Bounds())
    return [name for some in read_same_second(mailchimp, LIST_KEY, window, second) for name in who(some)]


@pytest.mark.parametrize("since", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_crowded_second_hands_out_everybody_once_and_nobody_of_its_neighbours(
    make: Maker,
    since: bool,  # noqa: FBT001 - a column of the table
    before: bool,  # noqa: FBT001 - the same
) -> None:
    """Whatever the bounds include, and though its neighbours are crowded, too."""
    _, audience, mailchimp = make(since_includes=since, before_includes=before)
    for neighbour in (T - 1, T + 1):
        audience.join_in_second(30, neighbour)
    expected = {name_of(one) for one in audience.join_in_second(50, T)}
    assert Counter(crowd(mailchimp, T, 20)) == Counter(expected)


@pytest.mark.parametrize("unstable", [False, True])
def test_a_crowded_second_hands_out_whoever_stays_while_others_leave(
    make: Maker,
    unstable: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Somebody leaves after every page; who is still there at the end was handed out, once."""
    sandbox, audience, mailchimp = make(unstable_order=unstable)
    audience.join_in_second(60, T)

    def one_leaves(some: Audience) -> None:
        there = [one for one in some.listed() if one["last_changed"] == iso(T)]
        if len(there) > 45:
            some.archive(who=[there[0]])

    sandbox.settings.after_page = one_leaves
    came = Counter(crowd(mailchimp, T, 20))
    stayed = {name_of(one) for one in audience.listed() if one["last_changed"] == iso(T)}
    assert 45 <= len(stayed) < 60
    assert stayed <= set(came)
    assert max(came.values()) == 1


def test_a_member_without_a_time_in_a_crowded_second_is_handed_out_as_well(make: Maker) -> None:
    """The page that the second fills is the only place where they are seen."""
    _, audience, mailchimp = make()
    audience.join_in_second(50, T)
    undated = name_of(audience.add(at=T, last_changed=""))
    assert undated in crowd(mailchimp, T, 20)


def test_a_second_that_never_settles_is_given_up_after_25_passes(make: Maker) -> None:
    """Against all that is known, somebody new turns up in every pass: an error with that reason, not a loop."""
    sandbox, audience, mailchimp = make(count_lies=1_000)
    audience.join_in_second(5, T)
    sandbox.settings.on_page = lambda some: some.join_in_second(1, T)
    with pytest.raises(UnstableSecondError, match="25 passes"):
        crowd(mailchimp, T, 500)
    assert len(sandbox.requests) <= 1 + 25 * 4


def test_a_page_of_a_crowded_second_that_fails_for_good_keeps_back_nobody_else(make: Maker) -> None:
    """All other pages of the pass are handed out before its error is raised."""
    sandbox, audience, mailchimp = make()
    audience.join_in_second(60, T)
    (broken,) = audience.listed()[25:26]
    sandbox.settings.broken = ["25"]
    came: list[str] = []
    window = Window(0, "listed", T - 100, T + 100, page=20)
    second = read_same_second(mailchimp, LIST_KEY, window, T)
    with pytest.raises(RetriableError):
        came.extend(name for some in second for name in who(some))
    assert len(set(came)) == 40
    assert name_of(broken) not in came


def test_pages_of_a_crowded_second_that_are_too_slow_are_halved(make: Maker) -> None:
    """Each member comes once, also those who were on a page before another one was too slow."""
    _, audience, mailchimp = make(max_page=60)
    audience.join_in_second(200, T)
    seen = crowd(mailchimp, T, 100)
    assert len(seen) == len(set(seen)) == 200


def test_a_crowded_second_is_read_with_several_connections_at_once(make: Maker) -> None:
    """All pages before the last one are requested together: seven of eight, for 400 members in pages of 50."""
    sandbox, audience, mailchimp = make(latency=0.05)
    audience.join_in_second(400, T)
    assert len(set(crowd(mailchimp, T, 50))) == 400
    assert max_open(sandbox.requests, sandbox.mailchimp_key) == 7


def test_a_busy_moment_while_a_crowded_second_is_read_is_no_trouble(make: Maker) -> None:
    """Though its members keep changing their order: a 429 hides nobody, so the second ends well."""
    left = iter([None] * 4 + ["429"])
    _, audience, mailchimp = make(unstable_order=True, fault=lambda _: next(left, None))
    audience.join_in_second(150, T)
    assert len(set(crowd(mailchimp, T, 50))) == 150


def test_a_server_that_ignores_the_offset_is_not_asked_for_ever() -> None:
    """Every page of the second is full and always the same: an error some time, not an endless climb."""
    asked = 0

    def script(query: dict[str, str]) -> object:
        nonlocal asked
        asked += 1
        if asked > 100:  # what follows would be endless: it ends here, and the test says so
            return page_of(total=4)
        return page_of(*[row("a"), row("b")][: int(query["count"])], total=4)

    with scripted(script) as mailchimp, pytest.raises(RetriableError):
        crowd(mailchimp, T, 2)
    assert asked <= 100


# ---- pages that are short of their own count


def test_the_same_members_once_more_with_nobody_behind_them_are_the_end(make: Maker) -> None:
    """Whatever is counted: the page comes back with its count corrected."""
    _, audience, mailchimp = make(count_lies=3)
    ids = people(audience, [T, T])
    page = mailchimp.next_page(LIST_KEY, WINDOW, 100)
    assert page.total == 5
    believed, asked = mailchimp.confirm_short_page(LIST_KEY, WINDOW, page, 100)
    assert (sorted(who(believed.members)), believed.total, asked) == (sorted(ids), 2, 100)


@pytest.mark.parametrize("lie", [1, 50])
def test_a_few_who_are_counted_and_never_shown_are_a_count_that_lies(make: Maker, lie: int) -> None:
    """Asked for as often as an error would be; then nobody is nobody."""
    sandbox, _, mailchimp = make(count_lies=lie)
    page = mailchimp.next_page(LIST_KEY, WINDOW, 100)
    sandbox.clear_requests()
    believed, _ = mailchimp.confirm_short_page(LIST_KEY, WINDOW, page, 100)
    assert (believed.members, believed.total) == ((), 0)
    assert len(sandbox.requests) >= 4


def test_many_who_are_counted_and_never_shown_are_a_fault_and_not_the_end(make: Maker) -> None:
    """A broken index at the other end must not pass for an empty window."""
    sandbox, _, mailchimp = make(count_lies=1_234)
    page = mailchimp.next_page(LIST_KEY, WINDOW, 100)
    with pytest.raises(EmptyPageError):
        mailchimp.confirm_short_page(LIST_KEY, WINDOW, page, 100)
    assert sandbox.settings.count_lies == 1_234


class Short:
    """A server that gives one member at a time, whatever is asked for, and one of whose members leaves."""

    def __init__(self, *names: str, leaving_after: int = 99) -> None:
        self.names = list(names)
        self.asked = 0
        self._leaving_after = leaving_after

    def __call__(self, query: dict[str, str]) -> object:
        offset = int(query["offset"])
        said = page_of(*map(row, self.names[offset : offset + 1]), total=len(self.names))
        self.asked += 1
        if self.asked == self._leaving_after:
            del self.names[0]
        return said


def test_somebody_at_the_next_offset_shows_how_short_the_server_cuts_its_pages() -> None:
    """The same members come back with that size as the one asked for: they fill it, so they are not the end."""
    with scripted(Short("a", "b", "c")) as mailchimp:
        page = mailchimp.next_page(LIST_KEY, WINDOW, 100)
        assert (who(page.members), page.total) == (["a"], 3)
        believed, asked = mailchimp.confirm_short_page(LIST_KEY, WINDOW, page, 100)
    assert (who(believed.members), asked) == (["a"], 1)
    assert not pagination.fits_in_one(believed, asked)


@pytest.mark.parametrize("leaving_after", [1, 2, 3])
def test_nobody_slides_past_the_look_at_the_next_offset(leaving_after: int) -> None:
    """Who stands behind a short page moves up when somebody of it leaves: the page must not be taken for the end."""
    script = Short("a", "b", leaving_after=leaving_after)
    with scripted(script) as mailchimp:
        page = mailchimp.next_page(LIST_KEY, WINDOW, 100)
        believed, asked = mailchimp.confirm_short_page(LIST_KEY, WINDOW, page, 100)
    assert "b" in who(believed.members) or not pagination.fits_in_one(believed, asked)


# ---- whole windows, page by page, around somebody who cannot be read


def walked(mailchimp: MailchimpClient, window: Window) -> tuple[set[str], list[tuple[int | None, int | None]]]:
    """Who was read on the way to the window's end, and the spans that could not be."""
    seen: set[str] = set()

    def note(member: Member, _: int | None) -> Skipped:
        seen.update(who([member]))
        return Skipped("only looked at")

    job = PageContext(LIST_KEY, mailchimp, None, note, lambda _: nullcontext(list))
    letters: list[tuple[int | None, int | None]] = []
    rest: Window | None = window
    for _ in range(300):
        if rest is None:
            return seen, letters
        outcome = process_page(rest, job)
        letters += [(letter.since, letter.until) for letter in outcome.letters]
        rest = outcome.rest
    raise AssertionError("the window does not end")


def test_the_next_page_is_requested_while_one_is_converted_but_only_one_page_is_so_far_ahead(make: Maker) -> None:
    """Where a conversion waits for something, the pages behind it must not pile up in memory."""
    _, audience, mailchimp = make()
    people(audience, [T + number for number in range(30)])
    window = Window(0, "listed", T - 1, T + 100, page=10)
    job = PageContext(LIST_KEY, mailchimp, None, lambda _, __: Skipped(""), lambda _: nullcontext(list))
    seen: list[str] = []

    def convert_second(_: PageResult, members: list[Member], __: Callable[[], None]) -> None:
        members.clear()
        seen.append("second converted")

    def convert_first(_: PageResult, members: list[Member], __: Callable[[], None]) -> None:
        members.clear()
        seen.append("first waits")
        process_page(
            window, job, deliver=convert_second, on_read=lambda _: seen.append("second has the next requested")
        )

    process_page(window, job, deliver=convert_first, on_read=lambda _: seen.append("first has the next requested"))
    assert seen == [
        "first has the next requested",
        "first waits",
        "second converted",
        "second has the next requested",
    ]


def covered(second: int, letters: Sequence[tuple[int | None, int | None]]) -> bool:
    return any((since is None or second > since) and until is not None and second <= until for since, until in letters)


@pytest.mark.parametrize("undated", [[], [25], [45], [44, 46], [0, 45]])
@pytest.mark.parametrize("lookups", [False, True])
def test_around_a_member_who_cannot_be_read_everybody_is_read_or_named(
    make: Maker,
    undated: list[int],
    lookups: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Also where members without a time stand beside them or are the ones: nobody ends in neither place."""
    sandbox, audience, mailchimp = make(broken=[(T + 44, T + 45)], broken_lookups=lookups)
    at = {name: T + 10 * number for number, name in enumerate(people(audience, range(T, T + 300, 10)))}
    for place in undated:
        at[name_of(audience.add(at=T + place, last_changed=""))] = T + place
    at |= dict.fromkeys(people(audience, [T + 45]), T + 45)
    seen, letters = walked(mailchimp, Window(0, "listed", T - 10, T + 1_000))
    assert letters
    assert {name for name, second in at.items() if name not in seen and not covered(second, letters)} == set()
    assert len(sandbox.requests) < 120


def test_only_the_second_of_whoever_cannot_be_read_is_set_aside(make: Maker) -> None:
    """Everybody else of a window of three hundred goes through."""
    _, audience, mailchimp = make(broken=[(T + 99, T + 100)])
    ids = people(audience, range(T, T + 300))
    seen, letters = walked(mailchimp, Window(0, "listed", T - 10, T + 1_000))
    assert letters == [(T + 99, T + 100)]
    assert seen == set(ids) - {ids[100]}


def test_a_member_without_a_time_who_fills_a_crowded_page_is_read(make: Maker) -> None:
    """In the middle of a second that is larger than a page."""
    _, audience, mailchimp = make()
    audience.join_in_second(120, T)
    undated = name_of(audience.add(at=T, last_changed=""))
    seen, letters = walked(mailchimp, Window(0, "listed", T - 10, T + 1_000, page=50))
    assert (len(seen), undated in seen, letters) == (121, True, [])


# ---- limits and leaving


@pytest.mark.parametrize("over_limit", ["429", "403-bare"])
def test_an_account_with_fewer_connections_than_configured_answers_everything_in_the_end(
    make: Maker, over_limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal as one too many costs no try, in whatever words it comes."""
    monkeypatch.setattr(retry, "BUSY_FIRST", 0.01)
    monkeypatch.setattr(retry, "BUSY_MOST", 0.05)
    sandbox, audience, mailchimp = make(connections=3, over_limit=over_limit, latency=0.02)
    people(audience, range(T, T + 30))
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda offset: mailchimp.last_changed_at(LIST_KEY, WINDOW, offset), range(30)))
    assert found == list(range(T, T + 30))
    assert sandbox.max_open() <= 10


def test_never_an_eleventh_connection(make: Maker) -> None:
    """Forty threads want one at once: none is refused."""
    sandbox, audience, mailchimp = make(latency=0.02)
    people(audience, range(T, T + 40))
    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(lambda offset: mailchimp.last_changed_at(LIST_KEY, WINDOW, offset), range(40))) == [
            *range(T, T + 40)
        ]
    assert {one.status for one in sandbox.requests} == {200}
    assert 2 <= sandbox.max_open() <= 10


def test_an_account_that_stays_busy_is_a_failure_after_the_time_it_is_given(make: Maker) -> None:
    """With no time at all, the usual tries are what is left."""
    sandbox, _, _ = make(fault=lambda _: "403-bare")
    mailchimp = client(sandbox, patience=RetryPolicy(retries=0, wait=0, busy_for=-1.0))
    with pytest.raises(ThrottledError):
        mailchimp.ping()
    mailchimp.close()
    assert len(sandbox.requests) == 1


def test_a_stop_at_once_ends_everything_that_asks(make: Maker) -> None:
    """Nothing is asked for any more, by whatever method."""
    sandbox, audience, _ = make()
    people(audience, [T])
    stop = StopSignal()
    stop.abort()
    mailchimp = client(sandbox, patience=RetryPolicy(stop, wait=0))
    page = Page((), 3, 100)
    for asking in (
        mailchimp.ping,
        lambda: mailchimp.first_page(LIST_KEY, "listed", None, 10),
        lambda: mailchimp.next_page(LIST_KEY, WINDOW, 10),
        lambda: mailchimp.confirm_short_page(LIST_KEY, WINDOW, page, 100),
        lambda: read_list_fields(mailchimp, LIST_KEY),
        lambda: crowd(mailchimp, T, 2),
    ):
        with pytest.raises(InterruptedRunError):
            asking()
    mailchimp.close()
    assert sandbox.requests == []
    assert ListFields() == ListFields({}, {})
