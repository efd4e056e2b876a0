"""Tables and facts: what a screen of any width shows of them, in which colour, and what a pipe gets."""

from __future__ import annotations

import io
import re

import pytest

from mcimport.report.columns import Columns, colour
from mcimport.report.tables import print_facts, print_lines, print_table

KEY = "1a2d7ebf82"
REASON = "Mailchimp answered 500 (Internal Server Error) and then once more: see `mcimport dlq show 1` for the rest"
COLUMNS = Columns(
    heads=("id", "list", "status", "created (UTC)", "retries", "rejected", "reason"),
    below=("reason",),
    dropped=("retries", "created (UTC)", "rejected"),
)
TIME = "2026-11-18 11:06:40"


class Screen(io.StringIO):
    """A terminal as a program sees it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Screen()


def drawn(monkeypatch: pytest.MonkeyPatch, width: int, rows: list[tuple[str, ...]], columns: Columns = COLUMNS) -> str:
    """The table as a screen of that width shows it, without colours."""
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    print_table(out, columns, rows)
    return out.getvalue()


def row(list_key: str = KEY, *, rejected: str = "3", retries: str = "2") -> tuple[str, ...]:
    return ("1", list_key, "open", TIME, retries, rejected, REASON)


# ---- without a screen


def test_a_table_without_a_screen_breaks_no_line() -> None:
    """A row is a line, however long, with all columns, without blanks at its end and without control characters."""
    out, long = io.StringIO(), " ".join(["a reason of many words"] * 800)
    columns = Columns(heads=("id", "reason"), below=("reason",), dropped=("id",))
    print_table(out, columns, [("1", long), ("20", "[bold]two[/bold] :smile:\nsentences")])
    assert out.getvalue().splitlines() == ["id  reason", f" 1  {long}", "20  [bold]two[/bold] :smile:; sentences"]


def test_an_encoding_that_lacks_a_character_stops_no_table() -> None:
    """What an old code page cannot write is escaped."""
    file = io.BytesIO()
    with io.TextIOWrapper(file, encoding="ascii") as stream:
        print_table(stream, Columns(heads=("name",)), [("Zoë",)])
        stream.flush()
        assert b"Zo\\xeb" in file.getvalue()


# ---- on a screen


def test_a_wide_screen_shows_all_columns_and_texts_below_their_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text has the whole width, whatever columns its row has."""
    head, line, text = drawn(monkeypatch, 120, [row()]).splitlines()
    assert head.split() == ["id", "list", "status", "created", "(UTC)", "retries", "rejected"]
    assert line.split() == ["1", KEY, "open", *TIME.split(), "2", "3"]
    assert text == f"  {REASON}"


def test_a_narrower_screen_leaves_out_the_least_important_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, and only as many as it takes."""
    heads = [drawn(monkeypatch, 80, [row("k" * length)]).splitlines()[0].split() for length in (28, 29, 40)]
    assert heads == [
        ["id", "list", "status", "created", "(UTC)", "retries", "rejected"],
        ["id", "list", "status", "created", "(UTC)", "rejected"],
        ["id", "list", "status", "rejected"],
    ]


def test_a_column_without_a_number_in_it_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros make room for what says something, even if it is less important."""
    head = drawn(monkeypatch, 80, [row("k" * 29, rejected="0")]).splitlines()[0]
    assert "retries" in head
    assert "rejected" not in head


@pytest.mark.parametrize(("width", "key"), [(60, KEY), (80, "k" * 77)], ids=["narrow", "long name"])
def test_where_a_table_cannot_fit_each_row_is_a_block_with_all_facts(
    monkeypatch: pytest.MonkeyPatch, width: int, key: str
) -> None:
    """A fact a line, an empty line between two rows, and nothing left out."""
    first, second = drawn(monkeypatch, width, [row(key), row(key)]).split("\n\n")
    assert first.rstrip("\n") == second.rstrip("\n")
    assert re.findall(r"^\w[\w ()]*?(?=  |$)", first, re.MULTILINE) == list(COLUMNS.heads)
    assert {"open", "2", "3"} <= set(first.split())
    assert TIME in first
    assert max(map(len, first.splitlines())) <= width


def test_a_narrow_screen_shows_a_table_that_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is for what does not fit."""
    columns = Columns(heads=("list", "status"))
    assert drawn(monkeypatch, 40, [(KEY, "open")], columns).splitlines() == ["list        status", f"{KEY}  open"]


@pytest.mark.parametrize("width", [44, 60, 80])
def test_sentences_wrap_between_words_and_commands_stay_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No word is cut in two, and a command can be copied from one line."""
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    print_lines(out, [f"acme {KEY}: {REASON}"])
    print_facts(out, [("why", REASON), ("left out", "")])
    below = drawn(monkeypatch, width, [("1", REASON)], Columns(heads=("id", "reason"), below=("reason",)))
    text = out.getvalue() + below
    assert max(map(len, text.splitlines())) <= width
    assert " ".join(text.split()) == f"acme {KEY}: {REASON} why {REASON} id 1 {REASON}"
    assert sum("`mcimport dlq show 1`" in line for line in text.splitlines()) == 3


def test_the_column_of_prose_wraps_where_others_need_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids stay whole; the one column that may wrap takes what is left."""
    columns = Columns(heads=("list", "holds"), wrapped="holds")
    lines = drawn(monkeypatch, 80, [("k" * 50, REASON)], columns).splitlines()
    assert "k" * 50 in lines[1]
    assert max(map(len, lines)) <= 80
    assert " ".join(line[52:] for line in lines[1:]).split() == REASON.split()


# ---- colours


@pytest.mark.parametrize(
    ("head", "text", "expected"),
    [
        ("status", "failed", "red"),
        ("status", "failed: no answer, twice", "red"),
        ("status", "interrupted", "yellow"),
        ("status", "completed", "green"),
        ("status", "-", ""),
        ("dead letters", "2", "red"),
        ("dead letters", "0", ""),
        ("tries", "1", ""),
        ("tries", "3", "yellow"),
        ("note", "OVERDUE", "yellow"),
        ("note", "not configured", ""),
        ("client", "failed", ""),
    ],
)
def test_red_is_failed_yellow_is_retried_or_overdue_and_green_is_well(head: str, text: str, expected: str) -> None:
    """A colour belongs to what a cell says under its head."""
    assert colour(head, text) == expected


def test_a_terminal_shows_colours(screen: Screen) -> None:
    """In the table and in the texts below it."""
    columns = Columns(heads=("status", "note"), below=("note",))
    print_table(screen, columns, [("failed", "OVERDUE"), ("completed", "")])
    for words in ("\x1b[31mfailed", "\x1b[33mOVERDUE", "\x1b[32mcompleted"):
        assert words in screen.getvalue()


def test_no_color_switches_colours_off(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """As https://no-color.org asks."""
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(screen, Columns(heads=("status",)), [("failed",)])
    assert not re.search(r"\x1b\[[\d;]*3\d", screen.getvalue())


def test_a_width_makes_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS sets the width of what is written to a file, which still has no colours."""
    assert "\x1b" not in drawn(monkeypatch, 100, [row()])
