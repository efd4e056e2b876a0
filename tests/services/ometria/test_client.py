"""Ometria's end: batches at their turn, refused records found by halving, nothing counted that was not taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.errors import FatalError, InterruptedRunError, RetriableError, UnreachableError
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.http import retry
from mcimport.services.http.client import HttpClient
from mcimport.services.http.rate_limit import RateLimiter
from mcimport.services.http.retry import RetryPolicy
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.ometria.client import ALL_REFUSED, HINTS, OmetriaClient, Pushed
from services.http.test_client import answer, saying, serving

ACCOUNTS = count(1)
FAST = 1_000_000.0  # pushes a second: the pace is the matter of other tests


class Boxes(Protocol):
    """Makes a sandbox, an Ometria that no pace holds back, and its client."""

    def __call__(self, *, batch: int = 100, **knobs: Any) -> tuple[Sandbox, OmetriaClient]: ...


def client(sandbox: Sandbox, *, batch: int = 100, key: str = "", patience: RetryPolicy | None = None) -> OmetriaClient:
    wire = HttpClient("Ometria", sandbox.ometria_url, {"X-Ometria-Auth": key or sandbox.ometria_key})
    return OmetriaClient(wire, patience or RetryPolicy(wait=0), RateLimiter(FAST), batch)


@pytest.fixture(scope="module", name="shared")
def a_sandbox() -> Iterator[Sandbox]:
    """One for all tests: to start and to stop it takes longer than most of them."""
    with Sandbox(SandboxSettings(size=0)) as sandbox:
        yield sandbox


@pytest.fixture(name="make")
def a_maker(shared: Sandbox) -> Iterator[Boxes]:
    """An account of its own for the test, with the knobs as they are by default but for those named."""
    with ExitStack() as stack:

        def make(*, batch: int = 100, **knobs: Any) -> tuple[Sandbox, OmetriaClient]:
            ometria = new_account(shared, batch, **knobs)
            stack.callback(ometria.close)
            return shared, ometria

        yield make


def new_account(sandbox: Sandbox, batch: int, **knobs: Any) -> OmetriaClient:
    vars(sandbox.settings).update(
        vars(SandboxSettings(**{"size": 0, "pushes_per_second": 10**6, "reads_per_second": 10**6, **knobs}))
    )
    number = next(ACCOUNTS)
    sandbox.mailchimp_key, sandbox.ometria_key = f"{number:032x}-us6", f"{number:032x}"
    sandbox.add_account(sandbox.mailchimp_key, sandbox.ometria_key, {})
    sandbox.clear_requests()
    return client(sandbox, batch=batch)


def first_times(fault: str, times: int) -> Callable[[Request], str | None]:
    """The fault strikes so many requests, then no more."""
    left = iter([fault] * times)
    return lambda _: next(left, None)


def after(times: int, fault: str) -> Callable[[Request], str | None]:
    """So many requests are answered, then the fault strikes all."""
    spared = iter(range(times))
    return lambda _: None if next(spared, None) is not None else fault


@contextmanager
def saying_always(raw: bytes, pacer: RateLimiter | None = None) -> Iterator[OmetriaClient]:
    """An Ometria that gives one answer to everything."""
    with serving(saying(raw)) as server:
        ometria = OmetriaClient(HttpClient("Ometria", server.url, {}), RetryPolicy(wait=0), pacer or RateLimiter(FAST))
        try:
            yield ometria
        finally:
            ometria.close()


def records(count: int) -> list[bytes]:
    return [
        json.dumps(
            {
                "@type": "contact",
                "@collection": "mailchimp",
                "id": f"l-{number}",
                "email": f"c{number}@example.com",
                "marketing_optin": "NOT_SPECIFIED",
            }
        ).encode()
        for number in range(count)
    ]


def stored(sandbox: Sandbox) -> set[str]:
    return {contact_id for _, contact_id in sandbox.contacts()}


def ids(places: range | tuple[int, ...]) -> set[str]:
    return {f"l-{place}" for place in places}


# ---- pushing


@pytest.mark.parametrize(("batch", "sizes"), [(100, [100, 100, 50]), (60, [60, 60, 60, 60, 10])])
def test_records_go_out_in_batches_in_their_order(make: Boxes, batch: int, sizes: list[int]) -> None:
    """As many a push as configured; all of them are taken and stored."""
    sandbox, ometria = make(batch=batch)
    assert ometria.push(records(250)) == Pushed(tuple(range(250)), ())
    assert [one.count for one in sandbox.requests] == sizes
    assert [who for one in sandbox.requests for who in one.ids] == [f"l-{number}" for number in range(250)]
    assert stored(sandbox) == ids(range(250))


def test_nobody_to_push_costs_no_request(make: Boxes) -> None:
    """Nor a turn of the pace."""
    sandbox, ometria = make()
    assert ometria.push([]) == Pushed((), ())
    assert sandbox.requests == []


@pytest.mark.parametrize("whole", [False, True], ids=["rejected above zero", "the whole batch is a 400"])
def test_one_refused_record_is_found_by_halving_and_the_other_99_are_delivered(
    make: Boxes,
    whole: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """With a reason; in no more requests than halving takes; everybody else is taken, once each in the count."""
    sandbox, ometria = make(rejects={"l-37"}, reject_batches=whole)
    pushed = ometria.push(records(100))
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
    pushed = ometria.push(records(25))
    ometria.close()
    assert {place for place, _ in pushed.refused} == refused
    assert sorted(pushed.taken) == sorted(set(range(25)) - refused)
    assert stored(shared) == ids(pushed.taken)


@pytest.mark.parametrize("fault", ["500", "502", "reset", "reset-body", "truncated", "empty", "html", "error-object"])
def test_a_push_without_a_receipt_is_sent_again(make: Boxes, fault: str) -> None:
    """Also when the records were stored and only the answer was lost: they are upserts, twice is harmless."""
    sandbox, ometria = make(fault=first_times(fault, 2))
    assert ometria.push(records(10)) == Pushed(tuple(range(10)), ())
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
        pushed = ometria.push(records(3))
    assert (pushed.taken, pushed.refused) == ((), ())
    assert type(pushed.error) is RetriableError


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_with_a_receipt_is_one_and_rejected_may_be_left_out(status: int) -> None:
    """The documentation says 200 in one place and 202 in another."""
    with saying_always(answer(b'{"status":"OK","accepted":3}', status=status)) as ometria:
        assert ometria.push(records(3)).taken == (0, 1, 2)


def test_what_was_taken_before_ometria_went_away_is_known(make: Boxes) -> None:
    """The first batch is taken, the second is tried four times, the third is not tried: in neither list."""
    sandbox, ometria = make(fault=after(1, "500"))
    pushed = ometria.push(records(250))
    assert pushed.taken == tuple(range(100))
    assert pushed.refused == ()
    assert type(pushed.error) is RetriableError
    assert len(sandbox.requests) == 1 + 4


def test_an_ometria_that_is_not_there_is_told_from_one_that_is_broken(make: Boxes) -> None:
    """So that nobody asks for less of it."""
    sandbox, ometria = make()
    with sandbox.offline():
        assert type(ometria.push(records(3)).error) is UnreachableError


@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_key_that_is_not_accepted_ends_the_push_at_once(make: Boxes, fault: str) -> None:
    """No second try; nothing of the key or the records in the words."""
    sandbox, ometria = make(fault=lambda _: fault)
    with pytest.raises(FatalError, match="key") as refused:
        ometria.push(records(3))
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
    assert ometria.push(records(3)).taken == (0, 1, 2)
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
        ometria.push(records(1))
    assert pacer._room == pytest.approx(share)


def test_an_absurd_remainder_breaks_nothing() -> None:
    """More digits than Python turns into a number: the push was taken all the same."""
    with saying_always(answer(b'{"accepted":1}', status=202, X_QueueSize_Remaining="9" * 5_000)) as ometria:
        assert ometria.push(records(1)).taken == (0,)


def test_a_404_is_a_wrong_address_only_where_the_account_is_not_known_to_accept_records() -> None:
    """In the first run of all it ends the run; once records were accepted it is an incident, which is retried."""
    with saying_always(answer(b"{}", status=404, Connection="close")) as ometria:
        with pytest.raises(FatalError, match="nothing can be pushed to this address"):
            ometria.push(records(1))
        pushed = ometria.push(records(1), account_known_good=True)
        assert (pushed.taken, pushed.refused, type(pushed.error)) == ((), (), RetriableError)
        assert ometria.perhaps_accepted == 0


@pytest.mark.parametrize("account_known_good", [True, False])
def test_refusals_of_everything_are_a_wrong_setting_only_where_the_account_is_not_known_to_accept_records(
    make: Boxes, *, account_known_good: bool
) -> None:
    """A hundred records refused one by one: each is a dead letter of its own, or all of them are no record's fault."""
    _, ometria = make(batch=1, rejects={f"l-{place}" for place in range(ALL_REFUSED)})
    if account_known_good:
        pushed = ometria.push(records(ALL_REFUSED), account_known_good=True)
        assert [place for place, _ in pushed.refused] == list(range(ALL_REFUSED))
    else:
        with pytest.raises(FatalError, match="Ometria refused the first 100 records"):
            ometria.push(records(ALL_REFUSED))


def test_a_stop_at_once_ends_a_push_between_two_batches(make: Boxes) -> None:
    """What was sent was sent; the rest is not begun."""
    sandbox, _ = make()
    stop = StopSignal()
    stop.abort()
    ometria = client(sandbox, patience=RetryPolicy(stop, wait=0))
    with pytest.raises(InterruptedRunError):
        ometria.push(records(3))
    ometria.close()
    assert sandbox.requests == []


# ---- reading back


def test_the_key_is_checked_without_storing_anything(make: Boxes) -> None:
    """One read; a wrong key is refused with the words that lead to it."""
    sandbox, ometria = make()
    ometria.check_key()
    wrong = client(sandbox, key="0123456789abcdef")
    with pytest.raises(FatalError, match="key"):
        wrong.check_key()
    wrong.close()
    assert [(one.method, one.path) for one in sandbox.requests] == [("GET", "/push/_errors")] * 2
    assert stored(sandbox) == set()


def test_the_latest_validation_errors_are_a_few_words_each() -> None:
    """Path and message, five at most."""
    body = json.dumps([{"error_message": "not a valid value", "error_path": f"root > f{n}"} for n in range(9)])
    with saying_always(answer(body.encode())) as ometria:
        hints = ometria.latest_errors()
    assert hints == [f"root > f{n}: not a valid value" for n in range(HINTS)]
    assert HINTS == 5


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("root > properties > mmerge7", "not a valid value", "root > properties > mmerge7: not a valid value"),
        ("root > email", "'Ann Lee' is not valid", "root > email: … is not valid"),
        ("root > email", "\u201cAnn Lee\u201d is not valid", "root > email: … is not valid"),
        ("root > email", "ann@example.com is not valid", "root > email: … is not valid"),
        ("root > phone_number", "+447911123456 is too long", "root > phone_number: … is too long"),
        ("ann@example.com", "not a valid value\n", "…: not a valid value "),
        ("root > email", '"Ann', "root > email: …"),
    ],
)
def test_a_hint_repeats_nothing_that_may_be_personal(path: str, message: str, hint: str) -> None:
    """Names of fields stay; what is quoted, and whatever holds a digit or an @, does not."""
    body = json.dumps([{"error_message": message, "error_path": path}])
    with saying_always(answer(body.encode())) as ometria:
        assert ometria.latest_errors() == [hint]


@pytest.mark.parametrize("body", [b"", b"{}", b"[7]", b"<html>", b"[" * 100_000])
def test_hints_that_cannot_be_read_are_none(body: bytes) -> None:
    """They are worth no error and no second request."""
    with saying_always(answer(body)) as ometria:
        assert ometria.latest_errors() == []


def test_hints_are_asked_for_once(make: Boxes) -> None:
    """A failing hint is no reason to wait."""
    sandbox, ometria = make(fault=lambda _: "500")
    with pytest.raises(RetriableError):
        ometria.latest_errors()
    assert len(sandbox.requests) == 1
