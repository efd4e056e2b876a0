"""The fake Mailchimp, asked by Mailchimp's own client; by plain HTTP where that client does not look."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import quote

import httpx
import mailchimp_marketing
import pytest
from conftest import PLAIN
from mailchimp_marketing.api_client import ApiClientError

from mcimport.sandbox.audience.stored_member import ABSENT
from mcimport.sandbox.clock import epoch, iso
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings

NOW = 1_780_000_000.0


@pytest.fixture(scope="module", name="sandbox")
def a_box() -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")  # the vendors' clients go through the environment's proxy otherwise
        with Sandbox(SandboxSettings(size=600, seed=3, start=NOW)) as sandbox:
            yield sandbox


@pytest.fixture(autouse=True)
def _quiet(sandbox: Sandbox) -> Iterator[None]:
    """Each test finds the knobs as they are by default."""
    before = dict(vars(sandbox.settings))
    yield
    vars(sandbox.settings).update(before)


def client(sandbox: Sandbox, key: str | None = None) -> Any:
    made = mailchimp_marketing.Client({"api_key": key or sandbox.mailchimp_key})
    made.api_client.host = sandbox.mailchimp_url
    return made


def members(sandbox: Sandbox, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client(sandbox).lists.get_list_members_info(LIST_KEY, **query)
    return answer


def get(sandbox: Sandbox, path: str, **headers: str) -> httpx.Response:
    """As typed, without the encoding that a client would add."""
    auth = None if headers else ("anybody", sandbox.mailchimp_key)
    return httpx.get(sandbox.mailchimp_url + path, auth=auth, headers=headers, trust_env=False, verify=PLAIN)


def refused_status(sandbox: Sandbox, **query: Any) -> int:
    with pytest.raises(ApiClientError) as refused:
        members(sandbox, **query)
    return int(refused.value.status_code)


# -- keys


def test_the_right_key_is_let_in_with_any_user_name(sandbox: Sandbox) -> None:
    """Basic authentication looks at the password alone."""
    assert client(sandbox).ping.get() == {"health_status": "Everything's Chimpy!"}


def test_a_bearer_token_is_let_in(sandbox: Sandbox) -> None:
    """An OAuth token is sent as a bearer and carries no data centre."""
    made = mailchimp_marketing.Client({"access_token": sandbox.mailchimp_key.partition("-")[0], "server": "us6"})
    made.api_client.host = sandbox.mailchimp_url
    assert made.ping.get()["health_status"]


@pytest.mark.parametrize(
    ("key", "status"), [("0" * 32 + "-us6", 401), ("no key", 401), ("", 401), ("0" * 32 + "-us7", 403)]
)
def test_a_wrong_key_is_refused_as_problem_json(sandbox: Sandbox, key: str, status: int) -> None:
    """Unknown keys are 401; a data centre that is not served here is 403."""
    answer = httpx.get(f"{sandbox.mailchimp_url}/ping", auth=("x", key), trust_env=False, verify=PLAIN)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert {"type", "title", "detail", "instance"} <= answer.json().keys()


def test_a_known_key_with_another_data_centre_is_403(sandbox: Sandbox) -> None:
    """The data centre is part of the key."""
    with pytest.raises(ApiClientError) as refused:
        client(sandbox, sandbox.mailchimp_key.replace("-us6", "-us19")).ping.get()
    assert refused.value.status_code == 403


def test_an_account_sees_its_own_lists_alone(sandbox: Sandbox) -> None:
    """Another account's list is as unknown as one that does not exist."""
    sandbox.add_account("f" * 32 + "-us19", "other", {"aaaaaaaaaa": 20})
    other = client(sandbox, "f" * 32 + "-us19")
    assert [one["id"] for one in other.lists.get_all_lists()["lists"]] == ["aaaaaaaaaa"]
    assert len(other.lists.get_list_members_info("aaaaaaaaaa", count=100)["members"]) <= 20
    with pytest.raises(ApiClientError) as refused:
        other.lists.get_list_members_info(LIST_KEY)
    assert refused.value.status_code == 404


# -- the list


def test_an_unknown_list_is_404_and_nothing_redirects(sandbox: Sandbox) -> None:
    """An address that is nearly right is not found, rather than led elsewhere."""
    for path in ("/lists/0000000000/members", f"/lists/{LIST_KEY}/", "/nothing"):
        assert get(sandbox, path).status_code == 404


def test_lists_are_described_and_member_count_counts_subscribers_only(sandbox: Sandbox) -> None:
    """`member_count` is no measure of what there is to read."""
    (one,) = client(sandbox).lists.get_all_lists()["lists"]
    assert one == client(sandbox).lists.get_list(LIST_KEY)
    assert one["stats"]["member_count"] < members(sandbox)["total_items"]


def test_merge_fields_come_by_tens_with_type_and_options(sandbox: Sandbox) -> None:
    """Who does not say how many gets ten of the thirteen."""
    lists = client(sandbox).lists
    assert len(lists.get_list_merge_fields(LIST_KEY)["merge_fields"]) == 10
    fields = {one["tag"]: one for one in lists.get_list_merge_fields(LIST_KEY, count=1000)["merge_fields"]}
    assert {one["type"] for one in fields.values()} == {
        "text", "address", "phone", "birthday", "dropdown", "number", "date", "radio", "url", "imageurl", "zip",
    }  # fmt: skip
    assert fields["BIRTHDAY"]["options"] == {"date_format": "MM/DD"}
    assert fields.keys() == sandbox.audience().members[0]["merge_fields"].keys()


def test_interest_categories_name_the_interests_of_the_members(sandbox: Sandbox) -> None:
    """Every id in a member's interests has a name."""
    lists = client(sandbox).lists
    categories = lists.get_list_interest_categories(LIST_KEY)["categories"]
    assert len(categories) == 2
    ids = {
        one["id"]
        for category in categories
        for one in lists.list_interest_category_interests(LIST_KEY, category["id"])["interests"]
    }
    assert ids == members(sandbox)["members"][0]["interests"].keys()
    with pytest.raises(ApiClientError):
        lists.list_interest_category_interests(LIST_KEY, "0000000000")


# -- pages


def test_a_page_holds_ten_members_unless_asked_otherwise_and_never_more_than_a_thousand(sandbox: Sandbox) -> None:
    """A count of 0 is the default, one above 1000 is answered as 1000."""
    path = f"/lists/{LIST_KEY}/members?fields=members.id&count="
    sizes = {count: len(get(sandbox, path + count).json()["members"]) for count in ("", "0", "7", "5000")}
    assert sizes == {"": 10, "0": 10, "7": 7, "5000": len(sandbox.audience().listed())}


def test_a_count_above_a_thousand_is_a_thousand() -> None:
    """Measured on a list that has more."""
    with Sandbox(SandboxSettings(size=1200)) as sandbox:
        answer = get(sandbox, f"/lists/{LIST_KEY}/members?count=1001&fields=members.id,total_items")
        assert (answer.status_code, len(answer.json()["members"])) == (200, 1000)
        assert answer.json()["total_items"] > 1000


@pytest.mark.parametrize("field", ["last_changed", "timestamp_opt", "timestamp_signup"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_pages_in_order_tile_the_list(sandbox: Sandbox, field: str, direction: str) -> None:
    """Without changes, offset paging meets everybody once, in order."""
    seen: list[dict[str, Any]] = []
    while page := members(sandbox, count=97, offset=len(seen), sort_field=field, sort_dir=direction)["members"]:
        seen += page
    times = [one[field] for one in seen]
    assert times == sorted(times, reverse=direction == "DESC")
    assert {one["web_id"] for one in seen} == {one["web_id"] for one in sandbox.audience().listed()}
    assert len(seen) == len(sandbox.audience().listed())


def test_without_sort_field_the_order_is_arbitrary_but_complete(sandbox: Sandbox) -> None:
    """Neither the order of joining nor that of `last_changed`."""
    page = members(sandbox, count=1000)["members"]
    for field in ("web_id", "last_changed"):
        assert [one[field] for one in page] != sorted(one[field] for one in page)
    assert len({one["web_id"] for one in page}) == len(sandbox.audience().listed())


def test_members_of_one_second_stand_in_a_stable_order_that_is_not_their_own(sandbox: Sandbox) -> None:
    """Equals are not in the order in which they came."""
    first, second = (
        members(sandbox, count=90, sort_field="last_changed", **crowd(sandbox))["members"] for _ in range(2)
    )
    ids = [one["web_id"] for one in first]
    assert ids == [one["web_id"] for one in second]
    assert ids != sorted(ids)


def test_an_unstable_order_differs_from_answer_to_answer_and_keeps_the_seconds(sandbox: Sandbox) -> None:
    """Only equals change places, and the page is one of the whole list's possible pages."""
    sandbox.settings.unstable_order = True
    pages = [members(sandbox, count=40, sort_field="last_changed", **crowd(sandbox))["members"] for _ in range(2)]
    assert [one["web_id"] for one in pages[0]] != [one["web_id"] for one in pages[1]]
    everything = members(sandbox, count=1000, sort_field="last_changed")["members"]
    assert [one["last_changed"] for one in everything] == sorted(one["last_changed"] for one in everything)
    assert len({one["web_id"] for one in everything}) == len(sandbox.audience().listed())


def crowd(sandbox: Sandbox) -> dict[str, str]:
    """The span of the second that many share."""
    times = [one["last_changed"] for one in sandbox.audience().listed()]
    at = max(set(times), key=times.count)
    return {"since_last_changed": iso(epoch(at) - 1), "before_last_changed": at}


def test_total_items_counts_what_the_filter_matches(sandbox: Sandbox) -> None:
    """Not the page, and not the list."""
    answer = members(sandbox, status="cleaned", count=3)
    assert answer["total_items"] == len(sandbox.audience().with_status("cleaned")) > 3
    assert {one["status"] for one in answer["members"]} == {"cleaned"}


def test_archived_members_appear_only_when_asked_for(sandbox: Sandbox) -> None:
    """The unfiltered list does not know them."""
    assert "archived" not in {one["status"] for one in members(sandbox, count=1000)["members"]}
    archived = members(sandbox, status="archived", count=1000)
    assert archived["total_items"] == len(archived["members"]) == len(sandbox.audience().archived()) > 0


def test_total_items_may_lie(sandbox: Sandbox) -> None:
    """Always by so much, or now and then."""
    right = members(sandbox)["total_items"]
    sandbox.settings.count_lies = -7
    assert members(sandbox)["total_items"] == right - 7
    sandbox.settings.count_lies_share = 0.5
    assert {members(sandbox, count=1, fields=["total_items"])["total_items"] for _ in range(30)} == {right, right - 7}


# -- spans of time


@pytest.mark.parametrize("since_includes", [False, True])
@pytest.mark.parametrize("before_includes", [False, True])
def test_the_bounds_include_their_second_as_the_knobs_say(
    sandbox: Sandbox, *, since_includes: bool, before_includes: bool
) -> None:
    """Nobody knows how the real ones behave."""
    sandbox.settings.since_includes, sandbox.settings.before_includes = since_includes, before_includes
    audience = sandbox.audience()
    planted = {at: audience.add(at=int(NOW) - 100_000_000 + at)["web_id"] for at in (0, 5, 9)}
    since, before = iso(int(NOW) - 100_000_000), iso(int(NOW) - 100_000_000 + 9)
    answer = members(sandbox, since_last_changed=since, before_last_changed=before, sort_field="last_changed")
    expected = [planted[0]] * since_includes + [planted[5]] + [planted[9]] * before_includes
    assert [one["web_id"] for one in answer["members"]] == expected
    assert answer["total_items"] == len(expected)
    audience.delete(who=list(planted.values()))


@pytest.mark.parametrize("time", ["2026-05-01T00:00:00.5%2B00:00", "2026-05-01T00:00:00+00:00"])
def test_a_time_with_a_fraction_or_a_bare_plus_is_ignored(sandbox: Sandbox, time: str) -> None:
    """Everybody comes back, with 200."""
    answer = get(sandbox, f"/lists/{LIST_KEY}/members?fields=total_items&since_last_changed={time}")
    assert (answer.status_code, answer.json()) == (200, {"total_items": len(sandbox.audience().listed())})


def test_a_time_that_is_encoded_is_heeded(sandbox: Sandbox) -> None:
    """The same instant, in whichever zone it is written."""
    queries = [quote("2026-05-01T00:00:00+00:00"), "2026-05-01T00:00:00Z", quote("2026-05-01T02:00:00+02:00")]
    totals = {
        get(sandbox, f"/lists/{LIST_KEY}/members?fields=total_items&since_last_changed={query}").json()["total_items"]
        for query in queries
    }
    expected = [one for one in sandbox.audience().listed() if one["last_changed"] > "2026-05-01T00:00:00+00:00"]
    assert totals == {len(expected)}
    assert 0 < len(expected) < len(sandbox.audience().listed())


def test_opt_in_times_filter_too(sandbox: Sandbox) -> None:
    """`since_timestamp_opt` looks at the opt-in, not at the change."""
    answer = members(sandbox, since_timestamp_opt="2025-06-01T00:00:00+00:00", count=1000)
    expected = {
        one["web_id"] for one in sandbox.audience().listed() if one["timestamp_opt"] > "2025-06-01T00:00:00+00:00"
    }
    assert {one["web_id"] for one in answer["members"]} == expected != set()


@pytest.mark.parametrize(
    "query",
    [
        {"fields": "members.id", "exclude_fields": "_links"},
        {"count": -1},
        {"offset": -1},
        {"sort_field": "email_address"},
        {"sort_field": "last_changed", "sort_dir": "UP"},
        {"since_last_changed": "yesterdayish"},
        {"before_last_changed": "2026-13-01T00:00:00+00:00"},
        {"status": "asleep"},
    ],
    ids=str,
)
def test_a_bad_parameter_is_400(sandbox: Sandbox, query: dict[str, Any]) -> None:
    """And the answer is problem+json, which the client hands on as text."""
    assert refused_status(sandbox, **query) == 400


def test_a_count_that_is_no_number_is_400(sandbox: Sandbox) -> None:
    """The client would not even send it."""
    assert get(sandbox, f"/lists/{LIST_KEY}/members?count=many").status_code == 400


# -- fields


def test_fields_are_dotted_and_nothing_else_comes(sandbox: Sandbox) -> None:
    """Parts of parts, too, and within lists."""
    answer = members(sandbox, fields=["members.email_address", "members.location.country_code", "members.tags.name"])
    assert answer.keys() == {"members"}
    assert answer["members"][0].keys() == {"email_address", "location", "tags"}
    assert answer["members"][0]["location"].keys() == {"country_code"}


@pytest.mark.parametrize(("parts", "location"), [("absent", None), ("empty", {}), ("come", {"country_code": "US"})])
def test_a_server_may_not_know_the_parts_of_parts(sandbox: Sandbox, parts: str, location: object) -> None:
    """Then the field is absent, or empty, while whole fields come beside it."""
    sandbox.audience().add(location={"country_code": "US", "timezone": ""}, email_address="here@example.com")
    sandbox.settings.field_parts = cast("Any", parts)
    fields = ["members.email_address", "members.location.country_code"]
    found = members(sandbox, fields=fields, sort_field="last_changed", sort_dir="DESC", count=1)["members"][0]
    assert found == {"email_address": "here@example.com"} | ({} if location is None else {"location": location})


def test_a_server_may_refuse_the_parts_of_parts(sandbox: Sandbox) -> None:
    """As a name that it does not know; whole fields it takes."""
    sandbox.settings.field_parts = "refused"
    path = f"/lists/{LIST_KEY}/members?fields="
    assert get(sandbox, f"{path}members.location.country_code").status_code == 400
    assert get(sandbox, f"{path}members.location").status_code == 200


def test_exclude_fields_takes_out_what_it_names(sandbox: Sandbox) -> None:
    """The rest stays as it was."""
    whole = members(sandbox, sort_field="last_changed")
    answer = members(sandbox, sort_field="last_changed", exclude_fields=["_links", "members._links", "members.stats"])
    assert answer.keys() == whole.keys() - {"_links"}
    assert answer["members"][0].keys() == whole["members"][0].keys() - {"_links", "stats"}


def test_links_are_about_two_thirds_of_a_member(sandbox: Sandbox) -> None:
    """As measured on the real thing: ask for what is used."""
    whole = len(get(sandbox, f"/lists/{LIST_KEY}/members?count=200").content)
    lean = len(get(sandbox, f"/lists/{LIST_KEY}/members?count=200&exclude_fields=members._links").content)
    assert 0.55 < 1 - lean / whole < 0.75


def test_a_planted_member_is_served_with_its_odd_fields(sandbox: Sandbox) -> None:
    """Null, an array for an object, and no field at all."""
    audience = sandbox.audience()
    odd = audience.add(
        merge_fields=None, tags=[], interests=ABSENT, status="nonsubscribed", email_address="Odd@Example.com"
    )
    served = client(sandbox).lists.get_list_member(LIST_KEY, "odd@example.com")
    assert (served["merge_fields"], served["status"]) == (None, "nonsubscribed")
    assert "interests" not in served
    assert served["id"] == hashlib.md5(b"odd@example.com", usedforsecurity=False).hexdigest()
    audience.delete(who=[odd])


# -- single members


def test_a_member_is_found_by_hash_address_and_contact_id(sandbox: Sandbox) -> None:
    """In whatever case the address is typed."""
    one = next(one for one in sandbox.audience().listed() if one["email_address"] and "contact_id" in one)
    for key in (one["id"], one["email_address"].upper(), one["contact_id"]):
        assert client(sandbox).lists.get_list_member(LIST_KEY, key)["web_id"] == one["web_id"]


def test_after_a_move_the_new_address_finds_and_the_old_one_does_not(sandbox: Sandbox) -> None:
    """contact_id follows the person, the MD5 does not."""
    audience = sandbox.audience()
    before = next(one for one in audience.listed() if one["email_address"] and "contact_id" in one)
    (after,) = audience.change_address(who=[before])
    lists = client(sandbox).lists
    assert lists.get_list_member(LIST_KEY, after["id"])["email_address"] == after["email_address"]
    assert lists.get_list_member(LIST_KEY, before["contact_id"])["id"] == after["id"] != before["id"]
    for gone in (before["id"], before["email_address"]):
        with pytest.raises(ApiClientError) as refused:
            lists.get_list_member(LIST_KEY, gone)
        assert refused.value.status_code == 404


def test_a_deleted_member_is_404_and_on_no_page(sandbox: Sandbox) -> None:
    """No question about the list mentions them again."""
    (gone,) = sandbox.audience().delete()
    with pytest.raises(ApiClientError) as refused:
        client(sandbox).lists.get_list_member(LIST_KEY, gone["email_address"] or gone["contact_id"])
    assert refused.value.status_code == 404
    assert gone["web_id"] not in {one["web_id"] for one in members(sandbox, count=1000)["members"]}


def test_fifty_tags_are_listed_and_all_can_be_asked_for(sandbox: Sandbox) -> None:
    """`tags_count` says how many there are."""
    tags = [{"id": number, "name": f"tag {number}"} for number in range(63)]
    one = sandbox.audience().add(tags=tags, tags_count=63, email_address="tagged@example.com")
    lists = client(sandbox).lists
    served = lists.get_list_member(LIST_KEY, one["id"])
    assert (len(served["tags"]), served["tags_count"]) == (50, 63)
    answer = lists.get_list_member_tags(LIST_KEY, one["id"], count=1000)
    assert [tag["name"] for tag in answer["tags"]] == [tag["name"] for tag in tags]
    assert answer["total_items"] == 63


# -- a page is not a snapshot


def test_a_member_who_changes_between_choice_and_writing_is_written_as_changed(sandbox: Sandbox) -> None:
    """So a row may be newer than the order in which it stands, or archived on a page of the listed."""
    audience = sandbox.audience()
    one = audience.listed()[0]
    sandbox.settings.on_page = lambda audience: audience.archive(who=[one])
    first = members(sandbox, count=3, sort_field="last_changed")["members"][0]
    assert (first["web_id"], first["status"]) == (one["web_id"], "archived")
    assert first["last_changed"] > one["last_changed"]
    sandbox.settings.on_page = None
    assert members(sandbox, count=3, sort_field="last_changed")["members"][0]["web_id"] != one["web_id"]


def test_who_is_deleted_between_choice_and_writing_leaves_the_page_short(sandbox: Sandbox) -> None:
    """The count was taken before."""
    right = members(sandbox)["total_items"]
    sandbox.settings.on_page = lambda audience: audience.delete(who=[audience.listed()[0]])
    answer = members(sandbox, count=5, sort_field="last_changed")
    assert (len(answer["members"]), answer["total_items"]) == (4, right)


# -- the clock


def test_answers_are_dated_by_the_sandbox_clock(sandbox: Sandbox) -> None:
    """Wrong by the knob, moved on by hand, or not dated at all."""

    def dated() -> float:
        return parsedate_to_datetime(get(sandbox, "/ping").headers["date"]).timestamp()

    assert abs(dated() - sandbox.clock.now()) < 30
    sandbox.settings.clock_skew = 900
    sandbox.clock.advance(100)
    assert dated() - NOW >= 1000
    (one,) = sandbox.audience().change()
    assert epoch(one["last_changed"]) - NOW >= 1000
    sandbox.settings.no_date = True
    assert "date" not in get(sandbox, "/ping").headers
    sandbox.clock.advance(-100)
