"""What the fake Mailchimp does otherwise when a setting says so: each is a way in which the real one may differ."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
import pytest
from conftest import PLAIN

from mcimport.sandbox.clock import epoch, iso
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings

NOW = 1_780_000_000.0
MEMBERS = f"/lists/{LIST_KEY}/members"
SINCE = iso(int(NOW) - 200 * 86_400)


@pytest.fixture(scope="module", name="served")
def a_served_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(size=300, seed=3, start=NOW)) as sandbox:
        yield sandbox


@pytest.fixture(name="sandbox")
def a_sandbox_with_its_settings_as_by_default(served: Sandbox) -> Iterator[Sandbox]:
    before = dict(vars(served.settings))
    yield served
    vars(served.settings).update(before)


def get(sandbox: Sandbox, path: str, *, key: str | None = None, **query: Any) -> httpx.Response:
    auth, url = ("x", key or sandbox.mailchimp_key), sandbox.mailchimp_url + path
    return httpx.get(url, params=query, auth=auth, trust_env=False, verify=PLAIN)


def page(sandbox: Sandbox, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = get(sandbox, MEMBERS, **{"count": 1000, "sort_field": "last_changed", **query}).json()
    return found


def test_several_servers_date_their_answers_by_clocks_of_their_own(sandbox: Sandbox) -> None:
    """The `Date` of the answers jumps within the spread, ahead of the clock that dates changes."""
    sandbox.settings.edge_spread = 600
    dates = [parsedate_to_datetime(get(sandbox, "/ping").headers["date"]).timestamp() for _ in range(12)]
    assert max(dates) - min(dates) > 60
    assert min(dates) - NOW >= -1
    assert max(dates) - sandbox.clock.now() <= 600


def test_the_order_may_be_arbitrary_though_one_is_asked_for(sandbox: Sandbox) -> None:
    """The same members come, and their times do not ascend."""
    ordered = page(sandbox)["members"]
    sandbox.settings.sort_ignored = True
    found = page(sandbox)["members"]
    assert [one["last_changed"] for one in found] != [one["last_changed"] for one in ordered]
    assert {one["web_id"] for one in found} == {one["web_id"] for one in ordered}


@pytest.mark.parametrize("bound", ["since_last_changed", "before_last_changed"])
def test_a_fraction_of_a_second_is_refused_or_cut_off_where_that_is_set(sandbox: Sandbox, bound: str) -> None:
    """Otherwise it makes the bound ignored; whole seconds are taken whichever is set."""
    whole, broken = {bound: SINCE}, {bound: SINCE.replace("+", ".5+")}
    expected, everyone = page(sandbox, **whole)["total_items"], page(sandbox)["total_items"]
    assert 0 < expected < everyone == page(sandbox, **broken)["total_items"]
    sandbox.settings.fractions = "cut"
    assert page(sandbox, **broken)["total_items"] == expected
    sandbox.settings.fractions = "refused"
    assert get(sandbox, MEMBERS, **broken).status_code == 400
    assert page(sandbox, **whole)["total_items"] == expected


def test_the_times_of_members_may_come_without_an_offset(sandbox: Sandbox) -> None:
    """The same times in UTC, also of members that were served before, and empty ones stay empty."""
    before = page(sandbox)["members"]
    sandbox.settings.naive_times = True
    for one, same in zip(page(sandbox)["members"], before, strict=True):
        for field in ("last_changed", "timestamp_opt", "timestamp_signup"):
            assert one[field] == same[field].removesuffix("+00:00")
            assert not one[field] or epoch(one[field]) == epoch(same[field])


ArchivedSetting = Literal["apart", "listed", "hidden", "unbounded"]


@pytest.mark.parametrize(
    ("setting", "is_listed", "share"),
    [("apart", False, "some"), ("listed", True, "some"), ("hidden", False, "none"), ("unbounded", False, "all")],
)
def test_archived_members_may_be_listed_hidden_or_not_bound_by_times(
    sandbox: Sandbox, setting: ArchivedSetting, *, is_listed: bool, share: str
) -> None:
    """By default they come with `status=archived` alone, and bounds of time count for them."""
    sandbox.settings.archived = setting
    listed, archived = page(sandbox), page(sandbox, status="archived", since_last_changed=SINCE)
    assert ("archived" in {one["status"] for one in listed["members"]}) == is_listed
    assert listed["total_items"] == len(listed["members"])
    times = [one["last_changed"] for one in listed["members"]]
    assert times == sorted(times)
    everyone = sandbox.audience().archived()
    expected = {"none": 0, "all": len(everyone), "some": sum(one["last_changed"] > SINCE for one in everyone)}
    assert 0 < expected["some"] < expected["all"]
    assert archived["total_items"] == len(archived["members"]) == expected[share]


def test_total_items_may_count_the_list_whatever_the_filter(sandbox: Sandbox) -> None:
    """The page holds what the filter leaves, and the total is that of the whole list."""
    listed = len(sandbox.audience().listed())
    sandbox.settings.total_of_list = True
    for query in ({"since_last_changed": SINCE}, {"status": "cleaned"}, {"since_timestamp_opt": SINCE}):
        found = page(sandbox, **query)
        assert len(found["members"]) < found["total_items"] == listed


def test_a_field_that_no_member_has_may_be_refused(sandbox: Sandbox) -> None:
    """By default nothing comes of it; those that a member can have are taken."""
    unknown: dict[str, Any] = {"fields": "members.id,members.horoscope", "count": 1}
    assert page(sandbox, **unknown)["members"][0].keys() == {"id"}
    sandbox.settings.unknown_fields_refused = True
    assert get(sandbox, MEMBERS, **unknown).status_code == 400
    for known in ("contact_id", "last_note", "_links", "unsubscribe_reason", "merge_fields.FNAME"):
        assert get(sandbox, MEMBERS, fields=f"members.{known}").status_code == 200


def test_a_page_may_hold_less_than_a_thousand(sandbox: Sandbox) -> None:
    """Without a word about it, and the next page begins where it ended."""
    sandbox.settings.max_count = 100
    found = [page(sandbox, offset=offset)["members"] for offset in (0, 100, 200)]
    assert [len(one) for one in found[:2]] == [100, 100]
    assert len({one["web_id"] for part in found for one in part}) == len(sandbox.audience().listed())


def test_a_page_far_into_the_list_may_take_longer(sandbox: Sandbox) -> None:
    """By so much for each thousand members before it."""
    sandbox.settings.offset_latency = 1.0
    sandbox.clear_requests()
    for offset in (0, 200):
        page(sandbox, offset=offset, count=1)
    _, later = (one.finished - one.at for one in sandbox.requests)
    assert later >= 0.2


@pytest.mark.parametrize(("answer", "status"), [("", 401), ("403-bare", 403), ("404", 404)])
def test_an_unknown_key_may_get_another_answer(sandbox: Sandbox, answer: str, status: int) -> None:
    """As the setting says, and the right key is let in whatever it says."""
    sandbox.settings.wrong_key = answer
    assert get(sandbox, "/ping", key="0" * 32 + "-us6").status_code == status
    assert get(sandbox, "/ping").status_code == 200


@pytest.mark.parametrize(("answer", "status"), [("", 404), ("403", 403), ("nobody", 200)])
def test_an_unknown_list_may_get_another_answer(sandbox: Sandbox, answer: str, status: int) -> None:
    """As the setting says, and the lists of the account are found whatever it says."""
    sandbox.settings.unknown_list = answer
    assert get(sandbox, "/lists/0000000000/members").status_code == status
    assert get(sandbox, MEMBERS).status_code == 200
