"""Odd answers of both services met in the wild, one test a case, each named by what was seen."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Literal

import pytest
from conftest import (
    CONFIG,
    CommandResult,
    Importer,
    MakeImporter,
    another_program_pushes_invalid_contact,
    expected_ids,
    imported_ids,
)
from passing import time_passes

from mcimport.models.timestamps import iso
from mcimport.sandbox.request_log import Request

SMALL_PAGES = CONFIG + "mailchimp.window = 100\n"
Fault = Callable[[Request], str | None]


def members(fault: str, *nths: int) -> Fault:
    """The fault strikes these requests for members."""
    return lambda one: fault if one.path.endswith("/members") and one.nth in nths else None


def every_push(fault: str, below: int) -> Fault:
    return lambda one: fault if one.path.endswith("/push") and one.nth < below else None


def queries(importer: Importer) -> list[dict[str, str]]:
    return [one.query for one in importer.sandbox.requests if one.path.endswith("/members")]


def all_arrive(importer: Importer, result: CommandResult, *, code: int = 0) -> None:
    assert result.code == code, result.err
    assert imported_ids(importer) == expected_ids(importer)


def test_since_fraction_plus_whole_seconds_and_an_escaped_plus_are_sent(make_importer: MakeImporter) -> None:
    """`since-fraction-plus`: times in queries have no fraction, and their plus arrives as a plus."""
    importer = make_importer(size=300)
    importer("sync")
    importer.sandbox.clear_requests()
    importer("sync")
    asked = [query["since_last_changed"] for query in queries(importer)]
    assert len(asked) == 2
    assert all(time.endswith("+00:00") and "." not in time and " " not in time for time in asked)


def test_since_fraction_plus_a_filter_that_is_ignored_fails_loudly(make_importer: MakeImporter) -> None:
    """`since-fraction-plus`: members older than asked for are an error that fails the run, never an import of all."""
    importer = make_importer(size=300)
    importer("sync")
    before = importer("status", "--json").lines[0]["sync_point"]
    time_passes(600)
    importer.sandbox.clear_requests()

    def ignore_the_filter(request: Request) -> None:
        request.query.pop("since_last_changed", None)

    importer.sandbox.settings.fault = ignore_the_filter
    result = importer("sync")
    assert result.code == 1
    assert "ignored since_last_changed" in result.err
    assert [one for one in importer.sandbox.requests if one.service == "ometria"] == []
    assert importer("status", "--json").lines[0]["sync_point"] == before


def test_page_default_ten_the_count_is_always_sent(make_importer: MakeImporter) -> None:
    """`page-default-ten`: no request for members leaves the number to the server, and a short page is not the end."""
    importer = make_importer(size=700)
    importer.configure(SMALL_PAGES)
    all_arrive(importer, importer("sync"))
    assert all("count" in query for query in queries(importer))


def test_page_count_1001_is_never_asked_for(make_importer: MakeImporter) -> None:
    """`page-count-1001`: must be at most 1000 members are asked for at once."""
    importer = make_importer(size=1_500)
    all_arrive(importer, importer("sync", "--window", "1000"))
    assert max(int(query["count"]) for query in queries(importer)) == 1000


def test_one_401_in_the_middle_is_tried_again(make_importer: MakeImporter) -> None:
    """`one-401-in-the-middle`: a key that was accepted a moment ago is not called wrong for one answer."""
    importer = make_importer(size=900)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = members("401", 5)
    all_arrive(importer, importer("sync"))
    importer.sandbox.audience().change(250)
    pushes = itertools.count()
    importer.sandbox.settings.fault = lambda one: "401" if one.path.endswith("/push") and next(pushes) == 1 else None
    time_passes(60)
    all_arrive(importer, importer("sync"))


def test_page_member_count_the_plan_is_made_from_total_items(make_importer: MakeImporter) -> None:
    """`page-member-count`: what the list itself counts only speaks against an answer that holds hardly anybody."""
    importer = make_importer(size=1_200)
    all_arrive(importer, importer("sync"))
    asked = [one for one in importer.sandbox.requests if one.path.endswith(f"/lists/{importer.sandbox.list_key}")]
    assert {one.query["fields"] for one in asked} == {"marketing_permissions", "stats.member_count"}


def test_page_total_zero_is_nothing_to_do_and_moves_the_sync_point(make_importer: MakeImporter) -> None:
    """`page-total-zero`: nobody changed: exit 0, and the next run begins later."""
    importer = make_importer(size=0)
    importer("sync")
    before = importer("status", "--json").lines[0]["sync_point"]
    time_passes(100)
    result = importer("sync", "--json")
    assert result.code == 0
    assert result.line["members_read"] == 0
    assert importer("status", "--json").lines[0]["sync_point"] > before


def test_err_429_is_retried_with_fewer_connections(make_importer: MakeImporter) -> None:
    """`err-429`: too many connections: everybody arrives, and no try is spent on it."""
    importer = make_importer(size=900, throttle_rate=0.2)
    importer.configure(SMALL_PAGES.replace("wait = 0", "wait = 0\nretries = 0"))
    all_arrive(importer, importer("sync"))


def test_err_403_akamai_stays_and_is_said_in_words(make_importer: MakeImporter) -> None:
    """`err-403-akamai`: a block page that stays names the edge and its reference, and does not blame the key."""
    importer = make_importer(size=100)
    importer.sandbox.settings.fault = lambda one: "403-blocked" if one.service == "mailchimp" else None
    result = importer("sync")
    assert result.code == 1
    assert "blocking this machine's IP address, reference 18.0a0b0c0d" in result.err
    assert "key is not the problem" in result.err


def test_err_403_json_is_not_retried(make_importer: MakeImporter) -> None:
    """`err-403-json`: a 403 that says why ends the run after the first page, and the count asked for beside it."""
    importer = make_importer(size=100)
    importer.sandbox.settings.fault = members("403", *range(99))
    result = importer("sync")
    assert result.code == 1
    assert "User action not permitted" in result.err
    assert 1 <= len(importer.sandbox.requests) <= 2


def test_err_404_passing_in_the_middle_is_retried_and_then_a_dead_letter_of_transport(
    make_importer: MakeImporter,
) -> None:
    """`err-404-passing`: mid-run a 404 is retried; what stays so is on record as transport, never "nobody"."""
    importer = make_importer(size=900)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = members("404", 12, 14, 17)
    all_arrive(importer, importer("sync"))
    importer.sandbox.audience().change(150)
    time_passes(5)
    second = iso(int(time.time()))
    importer.sandbox.audience().change(350)
    importer.sandbox.settings.fault = lambda one: (
        "404" if one.query.get("before_last_changed", "") >= second and one.query["count"] != "1" else None
    )
    time_passes(5)
    result = importer("sync")
    assert result.code == 3
    letters = importer("dlq", "list", "--json").lines
    assert {letter["cause"] for letter in letters} == {"transport"}
    importer.sandbox.settings.fault = None
    importer("sync")
    assert importer("dlq", "list", "--json").lines == []


def test_err_404_passing_at_the_first_look_is_1_and_never_an_empty_list(make_importer: MakeImporter) -> None:
    """`err-404-passing`: at the first look the list is unknown, and the sync point stays."""
    importer = make_importer(size=300)
    importer("sync")
    before = importer("status", "--json").lines[0]["sync_point"]
    time_passes(60)
    importer.sandbox.settings.fault = lambda one: "404" if one.path.endswith("/members") else None
    assert importer("sync").code == 1
    assert importer("status", "--json").lines[0]["sync_point"] == before


@pytest.mark.parametrize(
    "fault",
    ["500", "504", "empty", "error-object", "truncated"],
    ids=["err-500-blank", "err-504-html", "err-200-empty", "err-200-error-object", "err-200-truncated"],
)
def test_an_answer_that_is_no_page_is_retried_as_a_whole(make_importer: MakeImporter, fault: str) -> None:
    """An error, an empty body, half a page, an object without members: asked for again, nobody is taken for gone."""
    importer = make_importer(size=900)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = members(fault, 0, 2, 5, 11, 15, 16)
    result = importer("sync", "--json")
    all_arrive(importer, result)
    assert result.line["contacts_pushed"] == len(expected_ids(importer))


def test_om_202_queue_a_low_remainder_slows_the_pushes(make_importer: MakeImporter) -> None:
    """`om-202-queue`: a 202 is a success, and little room in the queue slows what follows before it refuses."""
    importer = make_importer(size=1_000, queue_limit=900, queue_drain=300.0)
    importer.configure(CONFIG.replace("= 500", "= 40"))
    all_arrive(importer, importer("sync"))
    gaps = sorted(one.at for one in importer.sandbox.requests if one.service == "ometria")
    assert (len(gaps) - 1) / (gaps[-1] - gaps[0]) < 20


def test_om_partial_reject_is_halved_and_the_others_count_once(make_importer: MakeImporter) -> None:
    """`om-partial-reject`: one of a hundred is found; 99 are delivered and counted once."""
    importer = make_importer(size=100)
    bad = next(one for one in importer.sandbox.audience().listed() if one.get("contact_id") and one["email_address"])
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{bad['contact_id']}"}
    result = importer("sync", "--json")
    assert result.code == 3
    assert (result.line["contacts_pushed"], result.line["contacts_rejected"]) == (len(expected_ids(importer)) - 1, 1)
    assert expected_ids(importer) - imported_ids(importer) == {bad["contact_id"]}


def test_om_errors_anonymous_are_a_hint_and_make_no_letters(make_importer: MakeImporter) -> None:
    """`om-errors-anonymous`: what Ometria's error list says of anybody's records is attributed to nobody."""
    importer = make_importer(size=300)
    another_program_pushes_invalid_contact(importer)
    assert len(importer.sandbox.push_errors()) == 1
    result = importer("sync", "--json")
    assert (result.code, result.line["contacts_rejected"]) == (0, 0)
    assert importer("dlq", "list", "--all", "--json").lines == []


def test_om_429_html_is_waited_for_without_spending_tries(make_importer: MakeImporter) -> None:
    """`om-429-html`: more refusals than tries, without a word of when: nothing is lost, nothing becomes a letter."""
    importer = make_importer(size=100)
    importer.configure(CONFIG.replace("wait = 0", "wait = 0\nretries = 1"))
    importer.sandbox.settings.fault = every_push("429", below=4)
    all_arrive(importer, importer("sync"))
    assert importer("dlq", "list", "--all", "--json").lines == []


def test_om_cleared_field_stays_and_the_readme_says_so(make_importer: MakeImporter) -> None:
    """`om-cleared-field`: an emptied value is not sent, so the old one stays; consent is sent all the same."""
    importer = make_importer(size=0)
    one = importer.sandbox.audience().add(
        email_address="ada@example.com", status="subscribed", merge_fields={"FNAME": "Ada", "PHONE": "+447911123456"}
    )
    importer("sync")
    time_passes(30)
    audience = importer.sandbox.audience()
    audience.delete(who=[one])
    audience.add(
        email_address="ada@example.com",
        contact_id=one["contact_id"],
        status="unsubscribed",
        merge_fields={"FNAME": "Ada", "PHONE": ""},
    )
    importer("sync")
    (contact,) = importer.sandbox.contacts().values()
    assert contact["phone_number"] == "+447911123456"
    assert contact["marketing_optin"] == "EXPLICITLY_OPTEDOUT"


def test_om_sms_collection_is_refused_at_the_start(make_importer: MakeImporter) -> None:
    """`om-sms-collection`: a collection that texts everybody who is pushed is a configuration error."""
    importer = make_importer(size=10)
    importer.configure(CONFIG + 'ometria.collection = "optin:sms"\n')
    assert importer("sync").code == 2
    assert importer.sandbox.requests == []


def places_and_tags(importer: Importer) -> dict[tuple[str, str], tuple[object, ...]]:
    """What comes from parts of fields, by contact."""
    contacts = importer.sandbox.contacts().items()
    return {
        key: (one.get("timezone"), one.get("country_id"), one["properties"].get("mailchimp_tags"))
        for key, one in contacts
    }


@pytest.mark.parametrize("parts", ["absent", "empty", "refused"])
def test_a_server_without_dotted_parts_of_fields_costs_no_member_a_place_or_a_tag(
    make_importer: MakeImporter, parts: Literal["absent", "empty", "refused"]
) -> None:
    """Ometria holds the same of these as where parts come; `reconcile`, which asks for others, finds no difference."""
    importer = make_importer(size=300, settling=0.0)
    importer.configure(SMALL_PAGES)
    all_arrive(importer, importer("sync"))
    usual = places_and_tags(importer)
    assert all(any(values) for values in zip(*usual.values(), strict=True))
    importer.sandbox.delete_contacts(usual)
    importer.sandbox.settings.field_parts = parts
    all_arrive(importer, importer("sync", "--full"))
    assert places_and_tags(importer) == usual
    compared = importer("reconcile", "--json")
    assert compared.code == 0, compared.err
    assert {compared.line[kind] for kind in ("missing", "stale", "gone")} == {0}
