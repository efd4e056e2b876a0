"""The invented audience: who they are, and that the list stays in order whatever happens to it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.sandbox.audience.audience import Audience, random_change
from mcimport.sandbox.audience.countries import COUNTRIES
from mcimport.sandbox.audience.field_selection import parse_selection
from mcimport.sandbox.audience.member_list import MemberView
from mcimport.sandbox.audience.query import MemberQuery, run_query
from mcimport.sandbox.audience.stored_member import number_of, second_of
from mcimport.sandbox.clock import Clock, epoch
from mcimport.sandbox.settings import SandboxSettings

NOW = 1_780_000_000.0


def audience(size: int, seed: int = 7, **knobs: Any) -> Audience:
    settled = SandboxSettings(size=size, seed=seed, start=NOW, **knobs)
    return Audience("1a2d7ebf82", size, settled, Clock(settled))


@pytest.fixture(scope="module", name="crowd")
def a_crowd() -> list[MemberView]:
    return list(audience(8000).members)


def share(people: list[MemberView], fits: Callable[[MemberView], bool]) -> float:
    return sum(map(fits, people)) / len(people)


def test_the_same_seed_invents_the_same_people() -> None:
    """And another seed invents others."""
    first, second, other = list(audience(300).members), list(audience(300).members), list(audience(300, seed=8).members)
    assert first == second
    assert not {one["email_address"] for one in first} & {one["email_address"] for one in other} - {""}


def test_statuses_come_in_the_shares_of_a_real_list(crowd: list[MemberView]) -> None:
    """Every status is there, subscribers most of all."""
    counts = Counter(one["status"] for one in crowd)
    expected = {"subscribed": 70, "unsubscribed": 18, "cleaned": 4, "pending": 2, "transactional": 2, "archived": 4}
    assert {status: round(100 * n / len(crowd)) for status, n in counts.items()} == pytest.approx(expected, abs=1.5)


def test_addresses_and_ids_are_unique_and_invented(crowd: list[MemberView]) -> None:
    """Mixed case, some with a plus, all of them under names kept for examples."""
    addresses = [one["email_address"].lower() for one in crowd if one["email_address"]]
    assert len(set(addresses)) == len(addresses)
    domains = {address.partition("@")[2] for address in addresses}
    assert all(domain.endswith((".example", "example.com", "example.org", "example.net")) for domain in domains)
    assert 0.02 < share(crowd, lambda one: "+" in one["email_address"]) < 0.06
    assert any(one["email_address"] != one["email_address"].lower() for one in crowd)
    for field in ("web_id", "contact_id"):
        ids = [one[field] for one in crowd if field in one]
        assert len(set(ids)) == len(ids)


def test_some_are_old_accounts_and_a_few_have_no_address(crowd: list[MemberView]) -> None:
    """No contact_id; SMS only, which has no MD5 either."""
    assert 0.005 < share(crowd, lambda one: "contact_id" not in one) < 0.04
    sms_only = [one for one in crowd if not one["email_address"]]
    assert 0 < len(sms_only) < 0.02 * len(crowd)
    assert all(one["id"] == "" and one["sms_phone_number"].startswith("+") for one in sms_only)


def test_people_come_from_many_countries_and_scripts(crowd: list[MemberView]) -> None:
    """Accents, other scripts, now and then an emoji; a member fits their country."""
    assert len({one["merge_fields"]["COUNTRY"] for one in crowd} - {""}) == len(COUNTRIES) >= 12
    names = "".join(one["full_name"] for one in crowd)
    assert set("éüßłÅ花ЮΕλرद🌻") <= set(names)
    homes = [one for one in crowd if isinstance(one["merge_fields"]["ADDRESS"], dict)]
    assert {one["merge_fields"]["ADDRESS"]["country"] for one in homes} == {country.code for country in COUNTRIES}


def test_unset_values_are_empty_texts_and_set_ones_have_their_types(crowd: list[MemberView]) -> None:
    """As in the real thing, on the same page."""
    fields = [one["merge_fields"] for one in crowd]
    for tag, kind in {"ADDRESS": dict, "POINTS": int, "PHONE": str, "BIRTHDAY": str, "SINCE": str}.items():
        filled = [one[tag] for one in fields if one[tag] != ""]
        assert 0 < len(filled) < len(fields), tag
        assert {type(value) for value in filled} == {kind}, tag
    placeholder = {"addr1": "", "addr2": "", "city": "", "state": "", "zip": "", "country": "US"}
    assert placeholder in [one["ADDRESS"] for one in fields]
    for field in ("timestamp_opt", "timestamp_signup", "language"):
        assert 0 < [one[field] for one in crowd].count("") < 0.6 * len(crowd)
    assert 0.2 < share(crowd, lambda one: one["location"]["country_code"] == "") < 0.4


def test_most_numbers_are_valid_in_their_country_and_some_are_anything(crowd: list[MemberView]) -> None:
    """National and international writing, and what people type who do not want to be called."""
    typed = [(one["merge_fields"]["PHONE"], _country(one)) for one in crowd]
    filled = [(number, country) for number, country in typed if number and country]
    valid = [number for number, country in filled if _is_valid(number, country)]
    assert 0.8 < len(valid) / len(filled) < 0.95
    assert 0.2 < sum(number.startswith("+") for number in valid) / len(valid) < 0.8
    assert all(_is_valid(one["sms_phone_number"], "") for one in crowd if one["sms_phone_number"])


def _country(one: MemberView) -> str:
    return next((country.code for country in COUNTRIES if country.name == one["merge_fields"]["COUNTRY"]), "")


def _is_valid(number: str, country: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, country or None))
    except phonenumbers.NumberParseException:
        return False


def test_tags_interests_ratings_and_vips_vary(crowd: list[MemberView]) -> None:
    """Now and then somebody has more tags than a member lists."""
    assert any(one["tags_count"] > 50 for one in crowd)
    assert any(one["tags_count"] == 0 for one in crowd)
    assert all(len(one["interests"]) == 7 for one in crowd)
    assert {one["member_rating"] for one in crowd} == {1, 2, 3, 4, 5}
    assert 0.002 < share(crowd, lambda one: one["vip"]) < 0.03


def test_changes_spread_over_three_years_and_many_share_one_second(crowd: list[MemberView]) -> None:
    """The newest is a few minutes old; a CSV import gave one second to every seventh."""
    times = [epoch(one["last_changed"]) for one in crowd]
    assert NOW - 3.1 * 365 * 86_400 < min(times) < NOW - 2.9 * 365 * 86_400
    assert NOW - 86_400 < max(times) < NOW - 200
    assert Counter(times).most_common(1)[0][1] == 1200


def test_nobody_opted_in_after_their_last_change(crowd: list[MemberView]) -> None:
    """And whoever never did has no time of it."""
    for one in crowd:
        if one["timestamp_opt"]:
            assert one["timestamp_signup"] <= one["timestamp_opt"] <= one["last_changed"]
        if one["status"] in {"pending", "transactional"}:
            assert one["timestamp_opt"] == ""


# -- what happens to them


def test_what_happens_to_a_member_moves_last_changed_to_now() -> None:
    """And does what its name says, to as many as asked for."""
    people = audience(200)
    now = "2026-05-28T20:26:40+00:00"
    renamed = people.change(3)
    assert len(renamed) == 3
    assert all(one["last_changed"] >= now and one["merge_fields"]["POINTS"] >= 5000 for one in renamed)
    assert all(one["status"] == "archived" and one["last_changed"] >= now for one in people.archive(4))
    for one in people.unarchive(2):
        assert (one["status"], one["last_changed"] >= now) == ("subscribed", True)
        assert one["timestamp_opt"] < now
    assert all(one["timestamp_opt"] == one["last_changed"] >= now for one in people.join(5))
    assert {one["status"] for one in people.unsubscribe(5)} == {"unsubscribed"}
    assert all(one["status"] == "subscribed" and one["timestamp_opt"] >= now for one in people.subscribe(5))
    (tagged,) = people.add_tag(name="new tag")
    assert (tagged["tags"][-1]["name"], tagged["tags_count"]) == ("new tag", len(tagged["tags"]))
    assert tagged["last_changed"] >= now
    (texted,) = people.set_sms_status(status="pending", number="+447911123456", language="de")
    assert (texted["sms_subscription_status"], texted["sms_phone_number"]) == ("pending", "+447911123456")
    assert (texted["language"], texted["last_changed"] >= now) == ("de", True)


def test_a_tag_moves_nobody_if_the_knob_says_so() -> None:
    """Whether the real one does is not known."""
    people = audience(50, tags_move=False)
    before = {one.number: one["last_changed"] for one in people.members}
    (one,) = people.add_tag()
    assert one["last_changed"] == before[one.number]


def test_a_change_that_nobody_is_told_of_moves_nobody() -> None:
    """Names and consent differ; `last_changed`, and the place in the order, do not."""
    people = audience(200)
    order = list(people.listed().numbers)
    before = {one.number: (one["last_changed"], one["status"], one["full_name"]) for one in people.members}
    renamed, left = people.change_unseen(5), people.unsubscribe_unseen(5)
    assert all(one["full_name"] != before[one.number][2] for one in renamed)
    assert all((one["status"], before[one.number][1]) == ("unsubscribed", "subscribed") for one in left)
    assert {one.number: one["last_changed"] for one in people.members} == {n: was[0] for n, was in before.items()}
    assert list(people.listed().numbers) == order


def test_the_numbers_of_members_follow_what_happened() -> None:
    """Joined and archived, come back and deleted."""
    people = audience(200)
    listed, archived = len(people.listed()), len(people.archived())
    people.join(10)
    people.archive(7)
    people.unarchive(2)
    people.delete(4)
    assert len(people.listed()) == listed + 10 - 7 + 2 - 4
    assert len(people.archived()) == archived + 7 - 2
    assert len(people.members) == len(people.listed()) + len(people.archived())


def test_a_moved_address_keeps_the_person_and_changes_the_hash() -> None:
    """By whatever name they are handed in."""
    people = audience(100)
    before = next(one for one in people.listed() if one["email_address"] and "contact_id" in one)
    for who in (before, before["web_id"], before["contact_id"]):
        (after,) = people.change_address(who=[who])
        assert after["web_id"] == before["web_id"]
        assert after["contact_id"] == before["contact_id"]
        assert after["id"] != before["id"]
        assert after["email_address"] != before["email_address"]
        assert people.find(after["email_address"].upper()) == after
        assert people.find(before["email_address"]) is None
        before = after


def test_who_is_asked_for_by_a_name_nobody_has_is_an_error() -> None:
    """A test that names somebody wants somebody."""
    with pytest.raises(KeyError):
        audience(10).change(who=["nobody@example.com"])


def test_a_crowd_shares_its_second() -> None:
    """As many as asked for, all subscribed."""
    people = audience(10)
    at = int(NOW) - 5000
    crowd = people.join_in_second(30, at)
    assert {epoch(one["last_changed"]) for one in crowd} == {at}
    assert {one["status"] for one in crowd} == {"subscribed"}
    assert len(people.listed()) >= 30


def test_the_same_seed_picks_the_same_members() -> None:
    """So that a failure can be repeated."""

    def story() -> list[int]:
        people = audience(300)
        return [one.number for part in (people.change(5), people.archive(5), people.change_address(5)) for one in part]

    assert story() == story()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), steps=st.integers(0, 150))
def test_the_orders_hold_everybody_in_place_whatever_happens(seed: int, steps: int) -> None:
    """Sorted, each member once, where their status and their `last_changed` belong."""
    people = audience(40, seed=seed)
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    for _ in range(steps):
        random_change(people, chance)
    for name, order in people.orders.items():
        assert order == sorted(order)
        for key in order:
            one = people.member(number_of(key))
            assert epoch(one["last_changed"]) == second_of(key)
            assert one["status"] == name or (name == "listed" and one["status"] != "archived")
    assert len(people.listed()) + len(people.archived()) == len(people.members)
    by_status = sum(len(order) for name, order in people.orders.items() if name != "listed")
    assert by_status == len(people.members)


SECONDS = st.integers(0, 12)
BASE = 1_700_000_000


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    seconds=st.lists(SECONDS, max_size=25),
    since=st.none() | SECONDS,
    before=st.none() | SECONDS,
    includes=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    page=st.tuples(st.integers(0, 12), st.integers(1, 12)),
    descending=st.booleans(),
)
def test_a_page_is_what_filtering_sorting_and_slicing_by_hand_give(
    seconds: list[int],
    since: int | None,
    before: int | None,
    includes: tuple[bool, bool, bool],
    page: tuple[int, int],
    *,
    descending: bool,
) -> None:
    """For every combination of bounds; among equals any order will do, and an unstable one is chosen afresh."""
    since_includes, before_includes, unstable = includes
    people = audience(0, since_includes=since_includes, before_includes=before_includes, unstable_order=unstable)
    for second in seconds:
        people.add(at=BASE + second)
    expected = sorted(
        (
            second
            for second in seconds
            if (since is None or second > since or (since_includes and second == since))
            and (before is None or second < before or (before_includes and second == before))
        ),
        reverse=descending,
    )
    question = MemberQuery(
        since=None if since is None else BASE + since,
        before=None if before is None else BASE + before,
        sort_field="last_changed",
        descending=descending,
        offset=page[0],
        count=page[1],
    )
    numbers, total = run_query(people, question, random.Random(1))  # noqa: S311 - repeatable, not secret
    assert [second_of(people.rows[n].key) - BASE for n in numbers] == expected[page[0] :][: page[1]]
    assert len(set(numbers)) == len(numbers)
    assert total == len(expected)


PATHS = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join), min_size=1, max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner) | st.lists(inner, max_size=2)
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(value=st.dictionaries(st.sampled_from("abc"), VALUES), paths=PATHS)
def test_what_fields_keeps_and_what_exclude_fields_drops_never_meet(value: dict[str, Any], paths: list[str]) -> None:
    """No leaf is lost, and none is in both."""
    names = ",".join(paths)
    kept, dropped = parse_selection(names, None).apply(value), parse_selection(None, names).apply(value)
    assert _leaves(kept) + _leaves(dropped) >= _leaves(value)
    for path in paths:
        if "." not in path and path in value:
            assert kept[path] == value[path]
            assert path not in dropped


def _leaves(value: Any, path: str = "") -> Counter[str]:
    if isinstance(value, dict):
        return sum((_leaves(part, f"{path}.{name}") for name, part in value.items()), Counter[str]())
    if isinstance(value, list):
        return sum((_leaves(part, path) for part in value), Counter[str]())
    return Counter([f"{path}={value}"])


def test_fields_and_exclude_fields_together_are_an_error() -> None:
    """The API takes one or the other."""
    with pytest.raises(ValueError, match="both"):
        parse_selection("a", "b")
