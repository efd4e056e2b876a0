"""The sender: full batches within the rate limit, refused records found by halving, none counted that was not taken."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.errors import FatalError, InterruptedRunError, RetriableError, UnreachableError
from mcimport.sandbox.request_log import Request, max_open
from mcimport.sandbox.server import Sandbox
from mcimport.services.http import retry
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.ometria.client import MOST_PUSHES, OmetriaClient
from mcimport.services.ometria.delivery import Pushed
from mcimport.services.ometria.sender import ALL_REFUSED, BatchSender
from services.http.test_client import answer
from services.ometria.accounts import (
    FAST,
    Boxes,
    after,
    client,
    first_times,
    ids,
    new_account,
    records,
    saying_always,
    stored,
)


def push(ometria: OmetriaClient, some: Sequence[bytes], *, account_known_good: bool = False) -> Pushed:
    """As one page of a run of its own."""
    ids = [json.loads(record)["id"] for record in some]
    return BatchSender(ometria, account_known_good=account_known_good).push(ids, some)


@pytest.mark.parametrize(("batch", "sizes"), [(100, [100, 100, 50]), (60, [60, 60, 60, 60, 10])])
def test_records_go_out_in_full_batches_the_first_of_them_alone(make: Boxes, batch: int, sizes: list[int]) -> None:
    """As many a push as configured, each record once; the others leave when the first batch is answered."""
    sandbox, ometria = make(batch=batch)
    assert push(ometria, records(250)) == Pushed(tuple(range(250)), ())
    assert sorted((one.count for one in sandbox.requests), reverse=True) == sizes
    assert sandbox.requests[0].ids == tuple(f"l-{number}" for number in range(batch))
    assert all(one.at >= sandbox.requests[0].finished for one in sandbox.requests[1:])
    assert sorted(who for one in sandbox.requests for who in one.ids) == sorted(ids(range(250)))
    assert stored(sandbox) == ids(range(250))


def test_a_batch_that_was_taken_in_part_counts_as_perhaps_taken_when_it_cannot_be_sent_again(make: Boxes) -> None:
    """Ometria says how many it took, and not which: whose opt-out that lifted cannot be told any more."""
    sandbox, ometria = make()
    sandbox.settings.rejects = {"l-7"}
    pushes = iter(range(1_000))
    sandbox.settings.fault = lambda request: "404" if request.path == "/push" and next(pushes) else None
    pushed = push(ometria, records(10), account_known_good=True)
    assert (pushed.taken, pushed.refused, pushed.perhaps_taken) == ((), (), True)
    assert len(stored(sandbox)) == 9


def test_nobody_to_push_costs_no_request(make: Boxes) -> None:
    """Nor a turn of the pace."""
    sandbox, ometria = make()
    assert push(ometria, []) == Pushed((), ())
    assert sandbox.requests == []


@pytest.mark.parametrize("whole", [False, True], ids=["rejected above zero", "the whole batch is a 400"])
def test_one_refused_record_is_found_by_halving_and_the_other_99_are_delivered(
    make: Boxes,
    whole: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """With a reason; in no more requests than halving takes; everybody else is taken, once each in the count."""
    sandbox, ometria = make(rejects={"l-37"}, reject_batches=whole)
    pushed = push(ometria, records(100))
    assert sorted(pushed.taken) == [place for place in range(100) if place != 37]
    assert [place for place, _ in pushed.refused] == [37]
    assert pushed.refused[0][1]
    assert pushed.error is None
    assert stored(sandbox) == ids(range(100)) - {"l-37"}
    assert len(sandbox.requests) <= 1 + 2 * 7


@settings(derandomize=True, deadline=None, max_examples=25)
@given(refused=st.sets(st.integers(0, 24)), batch=st.integers(1, 25), whole=st.booleans())
def test_every_record_is_either_taken_or_refused(
    shared: Sandbox,
    refused: set[int],
    batch: int,
    whole: bool,  # noqa: FBT001 - as Hypothesis hands it over
) -> None:
    """Whichever are refused, and however the batches fall: the two parts make up the whole and nobody is in both."""
    rejects = {f"l-{place}" for place in refused}
    ometria = new_account(shared, batch, rejects=rejects, reject_batches=whole)
    pushed = push(ometria, records(25))
    ometria.close()
    assert {place for place, _ in pushed.refused} == refused
    assert sorted(pushed.taken) == sorted(set(range(25)) - refused)
    assert stored(shared) == ids(pushed.taken)


@pytest.mark.parametrize("fault", ["500", "502", "reset", "reset-body", "truncated", "empty", "html", "error-object"])
def test_a_push_without_a_receipt_is_sent_again(make: Boxes, fault: str) -> None:
    """Also when the records were stored and only the answer was lost: they are upserts, twice is harmless."""
    sandbox, ometria = make(fault=first_times(fault, 2))
    assert push(ometria, records(10)) == Pushed(tuple(range(10)), ())
    assert len(sandbox.requests) == 3
    assert stored(sandbox) == ids(range(10))


@pytest.mark.parametrize(
    "receipt",
    [
        {"accepted": 2, "rejected": 0},
        {"accepted": 3, "rejected": 1},
        {"accepted": 0, "rejected": 0},
        {"accepted": None, "rejected": 0},
        {"rejected": 3},
        {"accepted": "3"},
        [],
    ],
)
def test_a_receipt_that_does_not_add_up_is_none(receipt: object) -> None:
    """Records that nobody says were taken are not counted as taken, however successful the status."""
    with saying_always(answer(json.dumps(receipt).encode(), status=202)) as ometria:
        pushed = push(ometria, records(3))
    assert (pushed.taken, pushed.refused) == ((), ())
    assert type(pushed.error) is RetriableError


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_with_a_receipt_is_one_and_rejected_may_be_left_out(status: int) -> None:
    """The documentation says 200 in one place and 202 in another."""
    with saying_always(answer(b'{"status":"OK","accepted":3}', status=status)) as ometria:
        assert push(ometria, records(3)).taken == (0, 1, 2)


def test_what_was_taken_before_ometria_went_away_is_known(make: Boxes) -> None:
    """The first batch is taken; the others, each tried four times at most, are in neither list."""
    sandbox, ometria = make(fault=after(1, "500"))
    pushed = push(ometria, records(250))
    assert pushed.taken == tuple(range(100))
    assert pushed.refused == ()
    assert type(pushed.error) is RetriableError
    assert 1 + 4 <= len(sandbox.requests) <= 1 + 4 + 4


def test_an_ometria_that_is_not_there_is_told_from_one_that_is_broken(make: Boxes) -> None:
    """So that nobody asks for less of it."""
    sandbox, ometria = make()
    with sandbox.offline():
        assert type(push(ometria, records(3)).error) is UnreachableError


@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_key_that_is_not_accepted_ends_the_push_at_once(make: Boxes, fault: str) -> None:
    """No second try; nothing of the key or the records in the words."""
    sandbox, ometria = make(fault=lambda _: fault)
    with pytest.raises(FatalError, match="key") as refused:
        push(ometria, records(3))
    assert len(sandbox.requests) == 1
    for secret in (sandbox.ometria_key, "example.com", "l-0"):
        assert secret not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize("fault", ["429", "429-retry-after"])
def test_a_busy_account_costs_no_tries_and_slows_the_pace(
    make: Boxes, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused once more than a failure would be forgiven: the batch arrives, and is paced from then on."""
    monkeypatch.setattr(retry, "BUSY_FIRST", 0.0)
    sandbox, _ = make(fault=first_times(fault, 2))
    pacer = RateLimiter(FAST)
    ometria = OmetriaClient(
        HttpClient("Ometria", sandbox.ometria_url, {"X-Ometria-Auth": sandbox.ometria_key}),
        RetryPolicy(retries=0, wait=0),
        pacer,
    )
    assert push(ometria, records(3)).taken == (0, 1, 2)
    ometria.close()
    assert [one.status for one in sandbox.requests] == [429, 429, 202]
    assert pacer._rate < FAST


@pytest.mark.parametrize(
    ("remaining", "share"), [("50000", 1.0), ("5000", 0.5), ("812", 0.0812), ("0", 0.02), ("", 1.0), ("soon", 1.0)]
)
def test_a_queue_that_says_it_is_nearly_full_is_slowed_for(remaining: str, share: float) -> None:
    """Below 10,000 in proportion; a header that is missing or no number changes nothing."""
    pacer = RateLimiter(FAST)
    raw = answer(b'{"accepted":1}', status=202, X_QueueSize_Limit="50000", X_QueueSize_Remaining=remaining)
    with saying_always(raw, pacer) as ometria:
        push(ometria, records(1))
    assert pacer._room == pytest.approx(share)


def test_an_absurd_remainder_breaks_nothing() -> None:
    """More digits than Python turns into a number: the push was taken all the same."""
    with saying_always(answer(b'{"accepted":1}', status=202, X_QueueSize_Remaining="9" * 5_000)) as ometria:
        assert push(ometria, records(1)).taken == (0,)


def test_a_404_is_a_wrong_address_only_where_the_account_is_not_known_to_accept_records() -> None:
    """In the first run of all it ends the run; once records were accepted it is an incident, which is retried."""
    with saying_always(answer(b"{}", status=404, Connection="close")) as ometria:
        with pytest.raises(FatalError, match="nothing can be pushed to this address"):
            push(ometria, records(1))
        pushed = push(ometria, records(1), account_known_good=True)
        assert (pushed.taken, pushed.refused, type(pushed.error)) == ((), (), RetriableError)
        assert ometria.perhaps_accepted == 0


@pytest.mark.parametrize("account_known_good", [True, False])
def test_refusals_of_everything_are_a_wrong_setting_only_where_the_account_is_not_known_to_accept_records(
    make: Boxes, *, account_known_good: bool
) -> None:
    """A hundred records refused one by one: each is a dead letter of its own, or all of them are no record's fault."""
    _, ometria = make(batch=1, rejects={f"l-{place}" for place in range(ALL_REFUSED)})
    if account_known_good:
        pushed = push(ometria, records(ALL_REFUSED), account_known_good=True)
        assert [place for place, _ in pushed.refused] == list(range(ALL_REFUSED))
    else:
        with pytest.raises(FatalError, match="Ometria refused the first 100 records"):
            push(ometria, records(ALL_REFUSED))


def test_a_stop_at_once_ends_a_push_between_two_batches(make: Boxes) -> None:
    """What was sent was sent; the rest is not begun."""
    sandbox, _ = make()
    stop = StopSignal()
    stop.abort()
    ometria = client(sandbox, patience=RetryPolicy(stop, wait=0))
    with pytest.raises(InterruptedRunError):
        push(ometria, records(3))
    ometria.close()
    assert sandbox.requests == []


# ---- several pages at once


def version(contact: int, number: int) -> bytes:
    """A record of a contact that says which version of the member it is."""
    fields = {"id": f"l-{contact}", "firstname": str(number), "email": f"c{contact}@example.com"}
    return json.dumps(
        {"@type": "contact", "@collection": "mailchimp", "marketing_optin": "NOT_SPECIFIED"} | fields
    ).encode()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    pages=st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=2, max_size=8),
    batch=st.integers(1, 4),
    faults=st.lists(st.sampled_from([None, None, None, "500", "reset-body", "429"]), max_size=12),
)
def test_two_versions_of_a_contact_arrive_in_order_whatever_the_answers_do(
    shared: Sandbox, pages: list[set[int]], batch: int, faults: list[str | None]
) -> None:
    """Answers overtake each other, get lost after the records were stored, or are errors: the older never follows."""
    arrived: list[tuple[str, int]] = []
    fault = iter(faults)
    ometria = new_account(
        shared,
        batch,
        fault=lambda _: next(fault, None),
        latency_spread=0.01,
        rejects_record=lambda record: arrived.append((record["id"], int(record["firstname"]))),
    )
    sender = BatchSender(replace_policy(ometria, RetryPolicy(retries=20, wait=0)))
    deliveries = [
        sender.begin([f"l-{contact}" for contact in page], [version(contact, number) for contact in page])
        for number, page in enumerate(pages)
    ]
    assert all(not delivery.result().error for delivery in deliveries)
    ometria.close()
    for contact in range(6):
        versions = [number for who, number in arrived if who == f"l-{contact}"]
        assert versions == sorted(versions)
        assert set(versions) == {number for number, page in enumerate(pages) if contact in page}


def test_a_batch_is_filled_from_several_pages(make: Boxes) -> None:
    """Records that wait while the first batch is answered leave together, and each page hears of its own."""
    arrived, go = threading.Event(), threading.Event()

    def hold(_: Request) -> str | None:
        arrived.set()
        return None if go.wait(30) else "500"

    sandbox, ometria = make(fault=hold)
    sender = BatchSender(ometria)
    every = records(120)
    pages = [range(30), range(30, 70), range(70, 120)]
    deliveries = []
    for page in pages:
        deliveries.append(sender.begin([f"l-{place}" for place in page], [every[place] for place in page]))
        assert arrived.wait(30)
    go.set()
    assert [delivery.result() for delivery in deliveries] == [Pushed(tuple(range(len(page))), ()) for page in pages]
    assert [one.count for one in sandbox.requests] == [30, 90]


def test_no_more_than_16_batches_are_on_the_wire(make: Boxes) -> None:
    """Several at once, but never more than that, however many records wait."""
    sandbox, ometria = make(batch=1, latency=0.02)
    assert len(push(ometria, records(200)).taken) == 200
    assert 1 < max_open(sandbox.requests, sandbox.ometria_key) <= MOST_PUSHES == 32


@pytest.mark.parametrize("fault", ["401", "403", "404"])
def test_a_refused_key_or_address_costs_one_request_however_many_pages_wait(make: Boxes, fault: str) -> None:
    """One batch is sent; every page of the run hears why, also one that comes later."""
    sandbox, ometria = make(fault=lambda _: fault)
    sender = BatchSender(ometria)
    deliveries = [sender.begin([f"p{page}-{place}" for place in range(250)], records(250)) for page in range(4)]
    for delivery in deliveries:
        with pytest.raises(FatalError):
            delivery.result()
    with pytest.raises(FatalError):
        sender.push(["later"], records(1))
    assert sender.push([], []) == Pushed((), ())  # a page that has nothing left to send has not failed
    assert len(sandbox.requests) == 1


def test_requests_and_waits_are_counted_for_the_page_that_waited(make: Boxes) -> None:
    """In the page's own thread, and once in all: the sender's threads count nothing for themselves."""
    _, ometria = make(fault=first_times("500", 1))
    push(ometria, records(250))
    usage = ometria.meter.of_this_thread()
    assert (usage.ometria_requests, usage.ometria_retries) == (4, 1)
    assert ometria.meter.drain() == usage


def test_a_forced_stop_ends_the_wait_for_answers(make: Boxes) -> None:
    """At once, though the server says nothing for two minutes."""
    sandbox, _ = make(fault=lambda _: "silent")
    stop = StopSignal()
    ometria = client(sandbox, patience=RetryPolicy(stop, wait=0))
    delivery = BatchSender(ometria).begin(["l-0", "l-1", "l-2"], records(3))
    stop.abort()
    ometria.close()
    with pytest.raises(InterruptedRunError):
        delivery.result()


def test_an_outage_keeps_no_page_waiting_for_records_that_are_not_sent_any_more(make: Boxes) -> None:
    """Of a page with a batch that failed after all tries, nothing more is sent; the other page is tried, too."""
    sandbox, ometria = make(batch=10, fault=lambda _: "500")
    sender = BatchSender(ometria)
    deliveries = [sender.begin([f"p{page}-{place}" for place in range(250)], records(250)) for page in range(2)]
    assert [type(delivery.result().error) for delivery in deliveries] == [RetriableError] * 2
    assert len(sandbox.requests) < 2 * 25 * 4


def test_one_record_that_breaks_ometria_costs_no_other_page_of_its_batch(make: Boxes) -> None:
    """Records of several pages share a batch: each page is tried alone once more, and only one of them fails."""
    _, ometria = make(rejects={"l-3"}, reject_batches=True, reject_status=500)
    sender = BatchSender(ometria, account_known_good=True)
    deliveries = [sender.begin([f"l-{place}"], [record]) for place, record in enumerate(records(8))]
    assert [place for place, delivery in enumerate(deliveries) if delivery.result().error] == [3]


def test_members_who_are_tried_again_one_by_one_never_count_as_an_outage(make: Boxes) -> None:
    """Each was refused before, with good reason: that all are refused again says nothing of Ometria."""
    _, ometria = make(rejects={f"l-{place}" for place in range(60)})
    sender = BatchSender(ometria)
    deliveries = [sender.begin([f"l-{place}"], [record]) for place, record in enumerate(records(60))]
    assert all(delivery.result().refused for delivery in deliveries)


def holding() -> tuple[threading.Event, threading.Event, Callable[[Request], None]]:
    """Tells when a request has arrived, answers it when it is let go, and does so as a fault of the sandbox."""
    arrived, go = threading.Event(), threading.Event()

    def hold(_: Request) -> None:
        arrived.set()
        go.wait(30)

    return arrived, go, hold


def test_a_cancelled_delivery_lets_no_later_version_pass_the_one_on_the_wire(make: Boxes) -> None:
    """It only waited for the earlier version's answer, as the later one goes on to do."""
    arrived, go, hold = holding()
    sandbox, ometria = make(fault=hold)
    sender = BatchSender(ometria)
    first = sender.begin(["l-0"], [version(0, 0)])
    assert arrived.wait(30)
    sender.cancel([sender.begin(["l-0"], [version(0, 1)])])
    last = sender.begin(["l-0"], [version(0, 2)])
    assert [delivery.ids for delivery in sender._waiting] == [["l-0"]]
    go.set()
    assert (first.result().taken, last.result().taken) == ((0,), (0,))
    assert len(sandbox.requests) == 2


def test_nothing_is_sent_of_a_delivery_that_was_cancelled(make: Boxes) -> None:
    """A page that ends with an error has told so: what is sent after that would be nobody's."""
    arrived, go, hold = holding()
    sandbox, ometria = make(fault=hold)
    sender = BatchSender(ometria)
    first, second = (sender.begin([f"p{page}-{place}" for place in range(100)], records(100)) for page in range(2))
    assert arrived.wait(30)
    sender.cancel([second])
    go.set()
    assert first.result().taken == tuple(range(100))
    assert len(sandbox.requests) == 1


def replace_policy(ometria: OmetriaClient, policy: RetryPolicy) -> OmetriaClient:
    ometria.policy = policy
    return ometria


@pytest.mark.parametrize("given", [0, 1, 2])
def test_records_are_sent_also_where_the_machine_gives_no_more_threads(
    make: Boxes, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    """By the threads that there are, or by the page's own: nothing waits for ever."""
    _, ometria = make(batch=10)
    left = iter(range(given))

    def start(_: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        real(_)

    real = threading.Thread.start
    sender = BatchSender(ometria)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        deliveries = [sender.begin([f"p{page}-{place}" for place in range(100)], records(100)) for page in range(3)]
        assert [len(delivery.result().taken) for delivery in deliveries] == [100, 100, 100]
