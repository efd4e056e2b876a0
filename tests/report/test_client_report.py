"""The report for a client: text that fits a terminal, rows that add up to the document, a page that is safe."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcimport.models.activity import ClientActivity, ListActivity, RunSums
from mcimport.report.client_report import COLUMNS, CSV_HEADS, csv_rows, document, lines
from mcimport.report.client_report_html import chart, page

NOW = 1_795_507_200  # 2026-11-24 08:00:00 UTC
DAY = 86_400
COUNTS = st.integers(0, 10**12)
SUMS = st.builds(RunSums, *[COUNTS] * len(RunSums.__struct_fields__))
MOMENTS = st.none() | st.integers(0, 2 * NOW)
COMPARED = st.dictionaries(
    st.sampled_from(["missing", "stale", "gone", "said_no", "not_taken", "unclear", "unread", "mended", "left"]),
    COUNTS,
).map(lambda counts: {"unclear": 0, **counts})
LISTS = st.builds(
    ListActivity,
    list_key=st.text("0123456789abcdefXYZ", min_size=1, max_size=40),
    sums=SUMS,
    letters_opened=COUNTS,
    letters_open=COUNTS,
    synced_at=MOMENTS,
    compared_at=MOMENTS,
    compared=COMPARED,
)
ACTIVITIES = st.builds(
    ClientActivity,
    client=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True),
    since=st.integers(0, NOW),
    until=st.just(NOW),
    lists=st.lists(LISTS, max_size=3).map(tuple),
    days=st.integers(0, 100).flatmap(
        lambda size: st.lists(COUNTS, min_size=size, max_size=size).map(
            lambda counts: {f"day {place:03}": count for place, count in enumerate(counts)}
        )
    ),
    whole_since=MOMENTS,
)


class Page(HTMLParser):
    """What a browser sees of a page: its elements, whatever could load or run something, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.harmful: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.harmful += [
            name for name, _ in attrs if name in ("src", "href", "srcset", "action") or name.startswith("on")
        ]
        self.harmful += [tag] if tag in ("script", "link", "iframe", "object", "embed", "img", "base", "form") else []

    def handle_data(self, data: str) -> None:
        self.words += data


def an_activity(**more: Any) -> ClientActivity:
    part = ListActivity(
        "1a2d7ebf82", RunSums(168, 1, 100, 1_000, 4, 800, 2, 500, 250, 40), 2, 1, NOW, NOW - DAY, {"left": 0}
    )
    days = {"2026-11-22": 300, "2026-11-23": 0, "2026-11-24": 500}
    return ClientActivity(
        **{"client": "acme", "since": NOW - 7 * DAY, "until": NOW, "lists": (part,), "days": days, **more}
    )


@given(ACTIVITIES, st.booleans())
def test_no_line_of_the_text_is_longer_than_80_columns(found: ClientActivity, plain: bool) -> None:  # noqa: FBT001 - Hypothesis hands it over
    """Whatever the names and the numbers."""
    assert max(map(len, lines(found, plain=plain))) <= COLUMNS == 80


def test_the_text_says_what_was_done() -> None:
    """In one block, list by list, with a bar for each day."""
    assert lines(an_activity(), plain=True) == [
        "acme: 2026-11-17 08:00:00 to 2026-11-24 08:00:00 UTC",
        "  runs             168, 1 failed",
        "  members          1,000 read, 100 of them to compare both sides",
        "  contacts         800 imported, 2 rejected",
        "  consent          500 opted in, 250 opted out, 50 unspecified",
        "  events           40 subscription events",
        "  dead letters     2 opened, 1 open now",
        "  contacts a day   +_#",
        "  list 1a2d7ebf82  800 contacts imported",
        "                   last synced 2026-11-24 08:00:00 UTC",
        "                   last compared 2026-11-23 08:00:00 UTC: both sides matched",
    ]


@given(ACTIVITIES)
def test_the_rows_of_csv_add_up_to_the_document(found: ClientActivity) -> None:
    """A row for each list, each number below its head."""
    whole = document(found)
    rows = [dict(zip(CSV_HEADS, row, strict=True)) for row in csv_rows(found)]
    assert [row["list_key"] for row in rows] == [part["list_key"] for part in whole["lists"]]
    for name in CSV_HEADS[4:16]:
        assert sum(int(row[name]) for row in rows) == whole[name], name


@given(ACTIVITIES)
def test_the_page_loads_and_runs_nothing(found: ClientActivity) -> None:
    """No script, no handler, no address of another file, whatever was done."""
    shown = Page(page([found, found]))
    assert shown.harmful == []
    assert shown.elements["svg"] == shown.elements["h2"] == 2
    assert shown.elements["rect"] == 2 * sum(count > 0 for count in found.days.values())
    assert f"{found.sums.contacts_pushed:,} imported" in shown.words


def test_everything_on_the_page_is_escaped() -> None:
    """A name that looks like HTML is shown, not obeyed."""
    name = "<script>alert('&')</script>"
    part = ListActivity(name, RunSums())
    shown = Page(page([an_activity(client=name, lists=(part,), days={name: 1})]))
    assert shown.harmful == []
    assert shown.words.count(name) >= 3


@pytest.mark.parametrize("days", [{}, {"2026-11-24": 0}, {"2026-11-24": 7}])
def test_a_chart_of_few_days_can_be_drawn(days: dict[str, int]) -> None:
    """Of none, of one without contacts, and of one with some."""
    shown = Page(chart(days))
    assert shown.elements["rect"] == sum(count > 0 for count in days.values())
    assert shown.elements["text"] == len(days)


def test_a_log_that_was_thinned_is_told_everywhere() -> None:
    """Nobody takes sums that are too low for all that was done."""
    found = an_activity(whole_since=NOW - DAY)
    words = "may not hold all runs before 2026-11-23 08:00:00 UTC"
    assert words in " ".join(" ".join(lines(found, plain=True)).split())
    assert words in page([found])
    assert document(found)["log_complete_since"] == "2026-11-23T08:00:00+00:00"
