"""An answer that holds nobody is a whole and proper answer: it is believed where nothing speaks against it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.models.timestamps import epoch
from mcimport.sandbox.request_log import Request
from mcimport.services.mailchimp.windows import OVERLAP

SMALL_PAGES = CONFIG + "mailchimp.window = 200\nometria.batch = 25\n"


def members_asked(importer: Importer) -> int:
    return len([one for one in importer.sandbox.requests if one.path.endswith("/members")])


def empty(importer: Importer, *, status: str | None = None) -> None:
    """From now on Mailchimp says that there is nobody; of the archived alone with `status`."""

    def fault(request: Request) -> str | None:
        is_meant = request.path.endswith("/members") and (status is None or request.query.get("status") == status)
        return "nobody" if is_meant else None

    importer.sandbox.settings.fault = fault


def opted_out_stay_mailed(importer: Importer) -> set[str]:
    people = importer.sandbox.audience().members
    noes = {str(one["email_address"]).lower() for one in people if one["status"] != "subscribed"}
    return noes & importer.sandbox.mailable()


def test_a_first_sync_that_is_shown_nobody_fails_and_the_next_one_brings_everybody(make_importer: MakeImporter) -> None:
    """The list counts its members: exit 1 in words, no sync point, and nothing to forget or to repair."""
    importer = make_importer(size=1_500)
    empty(importer)
    result = importer("sync", "--json")
    assert (result.code, result.line["status"]) == (1, "failed")
    assert "Mailchimp returned 0 members of the list, but reported" in result.err
    assert importer("status", "--json").line["sync_point"] is None
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_one_wrong_answer_to_a_first_sync_is_asked_for_again(make_importer: MakeImporter) -> None:
    """The second answer is right, and the sync goes on with it."""
    importer = make_importer(size=300)
    importer.sandbox.settings.fault = lambda one: "nobody" if one.path.endswith("/members") and one.nth == 1 else None
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_a_full_sync_that_is_shown_nobody_of_a_list_that_was_synced_fails(make_importer: MakeImporter) -> None:
    """The sync point stays where it was."""
    importer = make_importer(size=100)
    importer("sync")
    before = importer("status", "--json").line["sync_point"]
    empty(importer)
    assert importer("sync", "--full").code == 1
    assert importer("status", "--json").line["sync_point"] == before


def test_a_list_with_nobody_on_it_is_synced(make_importer: MakeImporter) -> None:
    """It counts nobody, too: whoever joins later is new."""
    importer = make_importer(size=0)
    assert importer("sync").code == 0
    importer.sandbox.audience().join(3)
    time_passes(100)
    assert importer("sync").code == 0
    assert len(imported_ids(importer)) == len(expected_ids(importer)) > 0


def test_a_window_in_which_nobody_is_shown_any_more_is_looked_at_twice(make_importer: MakeImporter) -> None:
    """Pages that turn empty for a moment in the middle of a first sync lose nobody."""
    importer = make_importer(size=2_000)
    importer.configure(SMALL_PAGES)
    importer.sandbox.settings.fault = lambda one: (
        "nobody" if one.path.endswith("/members") and one.query.get("count") == "200" and one.nth % 7 == 0 else None
    )
    assert importer("sync").code == 0
    importer.sandbox.settings.fault = None
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_a_run_whose_pages_turn_empty_for_good_is_not_believed(make_importer: MakeImporter, kind: str) -> None:
    """It began with hundreds and read a few: exit 1, nothing of it counts, and the next run reads them all."""
    importer = make_importer(size=2_000)
    importer.configure(SMALL_PAGES)
    if kind == "incremental":
        importer("sync")
        time_passes(600)
        importer.sandbox.audience().unsubscribe(900)
        time_passes(5)
    pages = iter(range(10_000))
    importer.sandbox.settings.fault = lambda one: (
        "nobody" if one.path.endswith("/members") and one.query.get("count") == "200" and next(pages) > 1 else None
    )
    result = importer("sync", "--json")
    assert (result.code, result.line["status"]) == (1, "failed")
    importer.sandbox.settings.fault = None
    assert importer("sync", "--json").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert not opted_out_stay_mailed(importer)


@pytest.mark.parametrize("hours", [1, 3])
@pytest.mark.parametrize("status", [None, "archived"], ids=["all", "the archived alone"])
def test_an_hourly_sync_that_was_shown_nobody_by_mistake_is_made_good_by_the_next(
    make_importer: MakeImporter, status: str | None, hours: int
) -> None:
    """Twenty opt-outs and five archived, hidden by empty answers for hours: opted out by the first right one."""
    importer = make_importer(size=300)
    importer("sync")
    time_passes(3_600)
    importer.sandbox.audience().change(3)
    importer("sync")
    time_passes(1_800)
    importer.sandbox.audience().unsubscribe(20)
    importer.sandbox.audience().archive(5)
    empty(importer, status=status)
    for _ in range(hours):
        time_passes(3_600)
        assert importer("sync").code == 0
    importer.sandbox.settings.fault = None
    time_passes(3_600)
    assert importer("sync").code == 0
    assert not opted_out_stay_mailed(importer)


def test_an_idle_list_costs_two_requests_and_no_push_however_long_it_is_idle(make_importer: MakeImporter) -> None:
    """Each time again, from the last moment on at which somebody was shown."""
    importer = make_importer(size=200)
    importer("sync")
    importer.sandbox.audience().change(5)
    importer("sync")
    time_passes(70)
    importer("sync")
    for _ in range(4):
        importer.sandbox.clear_requests()
        assert importer("sync").code == 0
        assert [(one.service, one.path[-8:]) for one in importer.sandbox.requests] == [("mailchimp", "/members")] * 2
        time_passes(50)


def some_answers_are_empty(importer: Importer, times: int) -> None:
    """Of each question about members but the very first, so many answers say that there is nobody."""
    asked: Counter[tuple[tuple[str, str], ...]] = Counter()

    def fault(request: Request) -> str | None:
        if not request.path.endswith("/members") or request.nth == 1:
            return None
        question = tuple(sorted(request.query.items()))
        asked[question] += 1
        return "nobody" if 1 < asked[question] <= 1 + times else None

    importer.sandbox.settings.fault = fault


@pytest.mark.parametrize("lie", [40, -3, 0])
def test_an_empty_answer_to_a_second_look_takes_nobody_back(make_importer: MakeImporter, lie: int) -> None:
    """A page that is short of its own count is looked at again: whom it showed are carried, whatever that look says."""
    importer = make_importer(size=230, count_lies=lie)
    importer.configure(SMALL_PAGES)
    some_answers_are_empty(importer, 2)
    result = importer("sync")
    if result.code:  # so few were seen that the run is no success: the next one brings them
        importer.sandbox.settings.fault = None
        assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)


def test_an_empty_answer_in_a_second_larger_than_a_page_hides_nobody(make_importer: MakeImporter) -> None:
    """An import file's second is read in passes: a page that holds nobody, twice, is no proof that nobody is left."""
    importer = make_importer(size=20, count_lies=40)
    importer.configure(CONFIG + "mailchimp.window = 50\n")
    second = importer.sandbox.clock.second() - 600
    for number in range(420):
        importer.sandbox.audience().add(email_address=f"file{number}@example.com", status="subscribed", at=second)
    asked = iter(range(1_000))

    def fault(request: Request) -> str | None:
        is_meant = request.path.endswith("/members") and request.query.get("offset") == "100"
        return "nobody" if is_meant and request.query.get("count") == "50" and next(asked) < 2 else None

    importer.sandbox.settings.fault = fault
    assert importer("sync").code == 0
    assert imported_ids(importer) == expected_ids(importer)
    assert next(asked) > 2


def test_many_who_are_archived_while_a_run_begins_are_the_next_ones(make_importer: MakeImporter) -> None:
    """They were counted, and changed after what the run reads up to: that is no answer that shows too few."""
    importer = make_importer(size=120)
    importer.configure(CONFIG + "mailchimp.window = 10\n")
    assert importer("sync").code == 0
    time_passes(600)
    importer.sandbox.audience().change(1)
    time_passes(20)
    left: list[Any] = []

    def leaves(request: Request) -> None:
        if request.query.get("status") == "archived" and not left:
            time_passes(5)
            left.extend(importer.sandbox.audience().archive(60))

    importer.sandbox.settings.fault = leaves
    result = importer("sync")
    assert result.code == 0, result.err
    assert len(left) == 60
    time_passes(600)
    assert importer("sync").code == 0
    assert not importer.sandbox.mailable() & {str(one["email_address"]).lower() for one in left}


@pytest.mark.parametrize("window", [20, 1_000])
def test_members_of_the_very_second_that_a_run_begins_after_are_not_missed(
    make_importer: MakeImporter, window: int
) -> None:
    """Where Mailchimp's bound includes that second it counts them, but they were imported before: the run ends well."""
    importer = make_importer(size=100, since_includes=True)
    importer.configure(CONFIG + f"mailchimp.window = {window}\n")
    importer("sync")
    point = epoch(importer("status", "--json").line["sync_point"])
    assert point is not None
    time_passes(100)
    importer.sandbox.audience().join_in_second(40, point - OVERLAP)
    importer.sandbox.audience().change(4)
    time_passes(3)
    result = importer("sync", "--json")
    assert (result.code, result.line["members_read"]) == (0, 4)


def test_members_archived_in_the_very_second_that_the_archive_is_read_after_are_not_missed(
    make_importer: MakeImporter,
) -> None:
    """The archive is read from a later second on than the list; whom the bound includes is counted, and not read."""
    importer = make_importer(size=100, since_includes=True)
    assert importer("sync", "--since", "now").code == 0
    with closing(sqlite3.connect(importer.db)) as state:
        first = epoch(state.execute("SELECT first_sync_at FROM lists").fetchone()[0])
    assert first is not None
    importer.sandbox.audience().change(30)
    for number in range(60):
        importer.sandbox.audience().add(email_address=f"gone{number}@x.example", status="archived", at=first - 61)
    time_passes(100)
    result = importer("sync", "--json")
    assert (result.code, result.line["members_read"]) == (0, 30), result.err
    assert result.line["members_total"] == 90  # as many as Mailchimp counted
