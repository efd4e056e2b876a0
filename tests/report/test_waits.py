"""What a list waits for, in words, below its row: the most important of it, as soon as it begins."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mcimport.models import Outcome, Window
from mcimport.models.results import ListResult
from mcimport.models.retries import Retry
from mcimport.report.live_display import MOST_WAITS, render
from mcimport.report.progress import MANY_LOOK_UPS, UNPLANNED_FOR, ProgressTracker

ACME = ("acme", "1a2d7ebf82")
PAGE = Outcome(Window(number=0, sweep="listed", since=None, until=1), members=100, pushed=100)
BROKEN = Retry("Mailchimp answered 500", 5.0, 3, 4)


class Clock:
    """Monotonic seconds, which the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> ProgressTracker:
    """One of a list of which a page is recorded."""
    found = ProgressTracker(clock)
    found.planned(*ACME, "full", 8_640, 10)
    found.page_recorded(*ACME, PAGE)
    return found


def below(tracker: ProgressTracker) -> str:
    """What stands below the rows."""
    out = io.StringIO()
    Console(file=out, width=100).print(render(tracker.snapshot(), 100, 40))
    return out.getvalue().splitlines()[len(tracker.snapshot().live) + 1 :][0].strip()


def words(tracker: ProgressTracker) -> list[str]:
    return [text for _, text in tracker.snapshot().waits]


def test_a_retry_says_why_when_and_which_try_it_is(tracker: ProgressTracker, clock: Clock) -> None:
    """In its pause and while it is under way; nothing is left of it when the request has ended."""
    tracker.retries(*ACME, BROKEN)
    assert words(tracker) == ["Mailchimp answered 500, trying again in 5 s, 3 of 4"]
    clock.now = 3.5
    assert words(tracker) == ["Mailchimp answered 500, trying again in 2 s, 3 of 4"]
    clock.now = 5.0
    assert below(tracker) == "Mailchimp answered 500, trying again, 3 of 4"
    tracker.retries(*ACME, None)
    assert words(tracker) == []


def test_a_busy_account_is_tried_without_a_last_time(tracker: ProgressTracker) -> None:
    """There is no number of tries that could be used up."""
    tracker.retries(*ACME, Retry("Ometria answered 429", 60.0, 7))
    assert words(tracker) == ["Ometria answered 429, trying again in 1 min"]


def test_ometrias_time_is_counted_down_and_a_step_follows(tracker: ProgressTracker, clock: Clock) -> None:
    """The seconds that are left, not those that there were."""
    tracker.settles(*ACME, 40.0)
    clock.now = 4.2
    assert words(tracker) == ["waiting 36 s for Ometria to settle"]
    tracker.step(*ACME, "reading back from Ometria what was fixed")
    assert words(tracker) == ["reading back from Ometria what was fixed"]
    tracker.step(*ACME, "")
    assert words(tracker) == []


def test_look_ups_that_a_page_waits_for_are_counted(tracker: ProgressTracker, clock: Clock) -> None:
    """How many of how many and, once some were enough to tell, how long the others take: no page ends meanwhile."""
    tracker.looks_up(*ACME, 100)
    tracker.looks_up(*ACME, 80)
    tracker.looks_up(*ACME, -1)
    clock.now = 8.0
    tracker.looks_up(*ACME, 1)
    assert words(tracker) == ["looking up opt-outs in Ometria: 1 of 181 contacts"]
    clock.now = 10.0
    for _ in range(39):
        tracker.looks_up(*ACME, -1)
    assert words(tracker) == ["looking up opt-outs in Ometria: 40 of 181 contacts, 0:35 left"]
    tracker.looks_up(*ACME, -141)
    assert words(tracker) == []


def test_time_left_is_not_told_by_pages_that_wait_for_look_ups(clock: Clock) -> None:
    """It is blank meanwhile, and measured anew from their end: for the list, and for all together."""
    tracker = ProgressTracker(clock)
    for key in ("one", "two"):
        tracker.planned("acme", key, "full", 10_100, 10)
    tracker.looks_up("acme", "one", MANY_LOOK_UPS)
    clock.now = 300.0
    for key in ("one", "two"):
        tracker.page_recorded("acme", key, PAGE)
    assert [row.left(300.0) for row in tracker.snapshot().live] == [None, 30_000.0]
    assert tracker.snapshot().left is None
    tracker.looks_up("acme", "one", -MANY_LOOK_UPS)
    tracker.ended(ListResult("acme", "two", "completed"))
    clock.now = 310.0
    tracker.page_recorded("acme", "one", Outcome(PAGE.window, members=2_000, pushed=2_000))
    assert tracker.snapshot().left == tracker.snapshot().live[0].left(310.0) == 40.0


def test_a_few_look_ups_do_not_hide_the_time_left(tracker: ProgressTracker, clock: Clock) -> None:
    """Nearly every page may have one, and they take moments."""
    tracker.looks_up(*ACME, MANY_LOOK_UPS - 1)
    clock.now = 10.0
    assert tracker.snapshot().live[0].left(10.0) == 854.0


def test_a_service_that_does_not_answer_is_named_after_seconds(tracker: ProgressTracker, clock: Clock) -> None:
    """Since its last response; one that answers others, or that nothing waits for, is not silent."""
    for _ in range(10):
        tracker.requests(*ACME, "Mailchimp", 1)
    tracker.requests(*ACME, "Ometria", 1)
    clock.now = 4.0
    assert words(tracker) == []
    tracker.requests(*ACME, "Ometria", -1)
    clock.now = 12.0
    assert words(tracker) == ["no response from Mailchimp for 12 s (10 requests)"]
    tracker.requests(*ACME, "Mailchimp", -1)
    assert words(tracker) == []


def test_a_list_is_shown_before_it_is_planned_unless_that_takes_a_moment(clock: Clock) -> None:
    """What the first look-ups wait for is said; lists without changes do not flash by."""
    tracker = ProgressTracker(clock)
    tracker.begun(*ACME, 7)
    tracker.step(*ACME, "reading the first page from Mailchimp")
    assert tracker.snapshot().live == ()
    clock.now = UNPLANNED_FOR
    assert below(tracker) == "reading the first page from Mailchimp"
    tracker.step(*ACME, "")
    tracker.planned(*ACME, "full", 8_640, 10)
    assert below(tracker) == "processing the first pages"
    tracker.page_recorded(*ACME, PAGE)
    assert words(tracker) == []


def test_a_stop_replaces_what_is_waited_for(clock: Clock) -> None:
    """The pages of all lists together, and what a second Ctrl-C does; before these are known, that it stops."""
    tracker = ProgressTracker(clock, lambda: True)
    for key in ("one", "two"):
        tracker.planned("acme", key, "full", 8_640, 10)
        tracker.page_recorded("acme", key, PAGE)
    tracker.retries(*("acme", "one"), BROKEN)
    sum_row = 1
    shown = io.StringIO()
    Console(file=shown, width=100).print(render(tracker.snapshot(), 100, 40))
    assert shown.getvalue().splitlines()[3 + sum_row :] == ["finishing what is under way; Ctrl-C again stops now"]
    tracker.finishes("acme", "one", 4)
    tracker.finishes("acme", "two", 6)
    shown = io.StringIO()
    Console(file=shown, width=100).print(render(tracker.snapshot(), 100, 40))
    assert shown.getvalue().splitlines()[3 + sum_row :] == ["finishing 10 pages; Ctrl-C again stops now"]


def test_many_lists_that_wait_share_a_few_lines(clock: Clock) -> None:
    """Each with its name, the last line with the number of the others; and the picture still fits the screen."""
    tracker = ProgressTracker(clock)
    for number in range(40):
        tracker.planned("acme", f"list{number}", "full", 8_640, 10)
        tracker.retries("acme", f"list{number}", BROKEN)
    out = io.StringIO()
    Console(file=out, width=100).print(render(tracker.snapshot(), 100, 24))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert len(lines) < 24
    assert lines[-MOST_WAITS] == "acme list0: Mailchimp answered 500, trying again in 5 s, 3 of 4"
    assert lines[-1] == f"and {40 - MOST_WAITS + 1} lists more"


def test_a_resumed_run_begins_where_it_is_with_the_speed_of_this_call(tracker: ProgressTracker, clock: Clock) -> None:
    """What an earlier call read is in the bar, and neither in the speed nor in what it foretells."""
    tracker = ProgressTracker(clock)
    tracker.planned(*ACME, "full", 8_640, 10, read=8_039, done=9)
    (row,) = tracker.snapshot().live
    assert (row.read, row.total, row.done, row.windows, row.pushed, row.left(0)) == (8_039, 8_640, 9, 10, 0, None)
    clock.now = 2.0
    tracker.page_recorded(*ACME, PAGE)
    snapshot = tracker.snapshot()
    assert (snapshot.live[0].speed(2.0), snapshot.live[0].left(2.0)) == (50.0, 501 / 50)
    assert snapshot.left == 501 / 50


def test_a_comparison_shows_how_much_is_read_of_both_sides(clock: Clock) -> None:
    """Members first, then contacts; a second pass over the contacts begins at 0."""
    tracker = ProgressTracker(clock)
    tracker.planned(*ACME, "reconcile", 8_640, 10)
    tracker.page_recorded(*ACME, Outcome(PAGE.window, members=8_640))
    clock.now = 10.0
    tracker.reads_back(*ACME, 8_600)
    clock.now = 12.0
    tracker.read_back(*ACME, 250, 240)
    out = io.StringIO()
    Console(file=out, width=90).print(render(tracker.snapshot(), 90, 40))
    head, row = out.getvalue().splitlines()
    assert [part in head for part in ("in Mailchimp", "in Ometria", "read/s")] == [True] * 3
    assert [part in row for part in ("8,640 of 8,640", "240 of 8,600", " 120 ")] == [True] * 3
    tracker.reads_back(*ACME, 8_600)
    assert tracker.snapshot().live[0].held == 0
