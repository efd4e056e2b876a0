"""What a person sees of a call: a line or a glance a list, live rows, only errors, and JSON for programs."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, product
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from mcimport.errors import (
    BusyError,
    ConfigError,
    FatalError,
    InterruptedRunError,
    McimportError,
    RetriableError,
    ServiceDownError,
)
from mcimport.models import Outcome, Window
from mcimport.models.records import Run
from mcimport.models.results import ListResult, RunCounts
from mcimport.report.console import make_reporter
from mcimport.report.format import age, clock, duration, escape, moment, pluralize, span, spark
from mcimport.report.live_display import MOST_ROWS, render
from mcimport.report.progress import ProgressTracker
from mcimport.report.summary import error_lines, json_line, short_lines, summary_line, title, verdict
from mcimport.report.totals_table import rows, total_line
from report.screen import Screen

BEGAN = 1_795_000_000  # 2026-11-18 11:06:40 UTC
BUSY = BusyError("acme: another mcimport is already running for this client")


def run(**more: Any) -> Run:
    usual: dict[str, Any] = {
        "id": 7,
        "list_id": 1,
        "client": "acme",
        "list_key": "1a2d7ebf82",
        "kind": "full",
        "status": "completed",
        "since": None,
        "until": BEGAN - 3,
        "members_total": 25_000,
        "members_read": 25_000,
        "members_skipped": 10,
        "contacts_pushed": 24_987,
        "contacts_rejected": 3,
        "opt_ins": 17_500,
        "opt_outs": 5_500,
        "subscription_events": 0,
        "windows_total": 28,
        "windows_dead": 0,
        "started_at": BEGAN,
        "finished_at": BEGAN + 34,
        "error": None,
        "moves_sync_point": 1,
    }
    return Run(**(usual | more))


def result(*runs: Run, **more: Any) -> ListResult:
    usual: dict[str, Any] = {
        "client": "acme",
        "list_key": "1a2d7ebf82",
        "status": "completed",
        "runs": runs,
        "windows_done": 28,
        "seconds": 34.0,
        "ceiling": 800.0,
    }
    return ListResult(**(usual | more))


def idle(key: str = "1a2d7ebf82", **more: Any) -> ListResult:
    counts = {"members_total": 0, "members_read": 0, "contacts_pushed": 0, "contacts_rejected": 0, "windows_total": 0}
    nobody = run(kind="incremental", since=BEGAN - 60, **counts)
    return result(nobody, list_key=key, windows_done=0, seconds=0.4, **more)


def failed(error: McimportError, *runs: Run, **more: Any) -> ListResult:
    return result(*runs, status="failed", error=error, **more)


def outcome(*, members: int = 100, pushed: int = 90, over: bool = False) -> Outcome:
    window = Window(number=0, sweep="listed", since=None, until=BEGAN)
    return Outcome(window, rest=None if over else replace(window, through=BEGAN - 9), members=members, pushed=pushed)


class Terminal(io.StringIO):
    """A screen as a program sees it, and somebody who waits for the first row."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = Screen(120, 40)
        self.drawn = Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "contacts/s" in text:
            self.drawn.set()
        self.screen.write(text)
        return super().write(text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "40")
    return Terminal()


def told(
    *results: ListResult, stream: io.StringIO | None = None, json: bool = False, quiet: bool = False, dry: bool = False
) -> list[str]:
    """The lines that a call with these results writes."""
    out = stream or io.StringIO()
    with make_reporter(json=json, quiet=quiet, dry_run=dry, stream=out) as listener:
        for one in results:
            listener.ended(one)
    return out.getvalue().splitlines()


# ---- words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (2, "2 s"),
        (0.42, "0.4 s"),
        (34.4, "34 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3_600 * 3 + 720, "3 h 12 min"),
        (86_400 * 5 + 3_600 * 3, "5 d 3 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, words: str) -> None:
    """Seconds become what a person would say."""
    assert duration(seconds) == words


def test_an_age_has_one_unit_and_is_never_negative() -> None:
    """How old a sync point is fits into a narrow column, even when two clocks differ."""
    assert [age(seconds) for seconds in (-5, 34, 600, 7_300, 300_000)] == ["0 s", "34 s", "10 min", "2 h", "3 d"]


def test_time_left_reads_as_a_clock() -> None:
    """Minutes and seconds, and hours where there are any."""
    assert [clock(seconds) for seconds in (18, 75, 3_725)] == ["0:18", "1:15", "1:02:05"]


def test_numbers_have_thousands_separators_and_their_plural() -> None:
    """One is one member, more are members."""
    assert [pluralize(number, "member") for number in (0, 1, 25_000)] == ["0 members", "1 member", "25,000 members"]


def test_a_span_says_where_it_begins_and_ends() -> None:
    """An open beginning, a single second and a member without a time each have their words."""
    assert moment(BEGAN) == "2026-11-18 11:06:40"
    assert span(None, BEGAN) == "from the beginning to 2026-11-18 11:06:40 UTC"
    assert span(BEGAN - 1, BEGAN) == "at 2026-11-18 11:06:40 UTC"
    assert span(BEGAN - 60, BEGAN) == "from 2026-11-18 11:05:40 to 2026-11-18 11:06:40 UTC"
    assert span(None, None) == "without a time"


@given(st.lists(st.integers(0, 10**9), max_size=24), st.booleans())
def test_a_spark_line_has_a_bar_a_value_and_keeps_their_order(values: list[int], plain: bool) -> None:  # noqa: FBT001 - Hypothesis passes by position
    """More contacts never make a lower bar, none make the lowest, and some are never drawn as none."""
    bars = "_.:-=+*#" if plain else "▁▂▃▄▅▆▇█"
    heights = [bars.index(bar) for bar in spark(values, plain=plain)]
    assert len(heights) == len(values)
    assert all((height == 0) == (value == 0) for height, value in zip(heights, values, strict=True))
    assert all(a <= b for (x, a), (y, b) in product(zip(values, heights, strict=True), repeat=2) if x <= y)


@given(st.text(st.characters()))
def test_somebody_elses_text_cannot_steer_a_terminal(text: str) -> None:
    """Whatever a member typed, only what is printable goes to the screen, and printable text is as it was."""
    assert escape(text).isprintable()
    assert not text.isprintable() or escape(text) == text


# ---- one list


def test_a_line_says_what_was_carried_and_how_fast_against_the_ceiling() -> None:
    """Everything that there is to know of a good run stands in one line."""
    assert summary_line(result(run())) == (
        "acme 1a2d7ebf82, run 7: everything imported, in 34 s: 25,000 members read, 24,987 contacts pushed (735/s of at"
        " most 800/s), 10 skipped, 3 rejected; 17,500 opted in, 5,500 opted out, 1,987 unspecified; 28 of 28 time"
        " ranges"
    )


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (result(run()), "24,987 imported in 34 s, 10 skipped, 3 rejected (run 7)"),
        (result(run(members_skipped=0, contacts_rejected=0), seconds=4.6), "24,987 imported in 4.6 s (run 7)"),
        (
            result(run(id=6), run(members_read=0, contacts_pushed=0)),
            "24,987 imported in 34 s, 20 skipped, 6 rejected (runs 6 and 7)",
        ),
        (result(run(), dry_run=True), "24,987 converted, none pushed, in 34 s, 10 skipped, 3 rejected"),
        (idle(), "nothing changed (run 7)"),
    ],
    ids=["all", "nothing else", "resumed", "dry run", "idle"],
)
def test_a_terminal_gets_one_short_line(one: ListResult, words: str) -> None:
    """How many were imported in which time, who was not, and the run that has the rest."""
    assert short_lines(one) == [f"acme 1a2d7ebf82  {words}"]


def test_a_short_line_says_first_that_a_run_failed() -> None:
    """What it had imported by then follows."""
    line, *_ = short_lines(failed(RetriableError("no answer"), run(status="failed")))
    assert line == "acme 1a2d7ebf82  failed: 24,987 imported in 34 s, 10 skipped, 3 rejected (run 7)"


def test_what_there_is_to_look_at_follows() -> None:
    """Dead letters with the command that shows them, warnings, and Ometria's errors, which are of all who write."""
    one = result(
        run(windows_dead=1),
        windows_done=27,
        dead_letters=2,
        warnings=("tags cut short",),
        hints=("not a valid value at root > lastname",) * 2,
    )
    *_, letters, warning, hint = short_lines(one)
    assert "28 time ranges" in summary_line(one)
    assert "1 incomplete" in summary_line(one)
    assert letters == "  2 dead letters: `mcimport dlq list` shows them, `mcimport dlq replay` tries again"
    assert warning == "  warning: tags cut short"
    assert "of the whole account" in hint
    assert hint.endswith("not a valid value at root > lastname (2 times)")


RESUMED = result(
    run(members_total=8_640, members_read=8_640, contacts_pushed=8_620, windows_total=10),
    run(id=8, kind="incremental", members_total=2, members_read=2, contacts_pushed=2, windows_total=1),
    earlier=RunCounts(8_039, 8_039, 7, 8_030, 2, 6_000, 2_000, 0, 9),
    windows_done=2,
    seconds=3.0,
)


def test_the_numbers_of_a_resumed_run_are_those_of_this_call() -> None:
    """What an earlier call had done is neither counted nor in the speed, but said: where the run was resumed."""
    assert short_lines(RESUMED) == [
        "acme 1a2d7ebf82  592 imported in 3 s, 13 skipped, 4 rejected; resumed at 8,039 of 8,640 members (runs 7 and 8)"
    ]
    for words in ("603 members read, 592 contacts pushed (197/s", "2 of 2 time ranges; resumed at 8,039 of 8,640"):
        assert words in summary_line(RESUMED)
    document = json.loads(json_line(RESUMED))
    assert [document[name] for name in ("members_total", "members_read", "contacts_pushed")] == [603, 603, 592]


def test_a_run_of_which_all_was_read_before_is_not_said_to_have_changed_nothing() -> None:
    """A first sync that was cut off after its last page has imported the list, in two calls."""
    none = {"members_total": 0, "members_read": 0, "contacts_pushed": 0, "windows_total": 0}
    nothing = run(id=8, kind="incremental", since=BEGAN - 60, **none)
    counts = {name: getattr(run(), name) for name in RunCounts.__struct_fields__}
    assert verdict(result(run(), nothing, earlier=RunCounts(**counts))) == "completed"


@pytest.mark.parametrize(
    ("pushed", "words"),
    [
        (0, "interrupted after 34 s, before both sides were compared"),
        (120, "interrupted after 34 s, before it was seen in Ometria which of 120 pushed fixes arrived"),
    ],
)
def test_a_comparison_that_was_stopped_says_what_it_did_not_come_to(pushed: int, words: str) -> None:
    """It imports nothing, so it does not count what was imported; and it starts over."""
    compared = run(kind="reconcile", status="interrupted", contacts_pushed=pushed)
    stopped = result(compared, status="interrupted", error=InterruptedRunError("stopped"))
    again = "  `mcimport reconcile 1a2d7ebf82` starts over."
    assert short_lines(stopped) == [f"acme 1a2d7ebf82  {words} (run 7)", again]
    assert summary_line(stopped) == f"acme 1a2d7ebf82, run 7: {words}"
    assert error_lines(stopped) == [f"acme 1a2d7ebf82, run 7: {words}. {again.strip()}"]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (idle(), "nothing changed"),
        (result(), "nothing changed"),
        (
            idle(status="skipped", error=BUSY),
            "skipped: another mcimport is already running for this client",
        ),
        (
            result(run(kind="incremental", members_read=0)),
            "sync point set to 2026-11-18 11:06:37 UTC, no members imported",
        ),
        (result(status="interrupted", error=InterruptedRunError("stopped")), "not started"),
        (failed(FatalError("Mailchimp answered 401"), seconds=0.4), "failed after 0.4 s"),
    ],
    ids=["idle", "no run", "busy", "since now", "stopped before", "failed at once"],
)
def test_where_there_is_nothing_to_count_the_line_is_short(one: ListResult, words: str) -> None:
    """What did not happen is not told in zeros."""
    assert summary_line(one) == f"{title(one)}: {words}"


def test_a_run_that_was_cut_off_names_the_command_that_goes_on_with_it() -> None:
    """Interrupted or failed: the reader learns that the next plain sync continues, and of which list."""
    cut_off = run(status="interrupted", finished_at=BEGAN + 9)
    stopped = result(cut_off, status="interrupted", error=InterruptedRunError("stopped"))
    broken = failed(RetriableError("no answer", hint="Is the network up?"), replace(cut_off, status="failed"))
    assert short_lines(stopped)[-1] == "  The next `mcimport sync 1a2d7ebf82` resumes it."
    assert short_lines(broken)[-3:] == [
        "  no answer",
        "  Is the network up?",
        "  The next `mcimport sync 1a2d7ebf82` resumes it.",
    ]


@pytest.mark.parametrize(
    "one",
    [
        failed(RetriableError("x"), run(status="failed", until=None)),
        failed(RetriableError("x"), run(status="failed", kind="replay")),
        failed(RetriableError("x"), run(status="failed"), dry_run=True),
        failed(ConfigError("x"), run(status="failed")),
        failed(ServiceDownError("x"), run(status="failed")),
        failed(FatalError("x")),
    ],
    ids=["not planned", "replay", "dry run", "refused", "its hint says so", "no run"],
)
def test_nothing_is_promised_of_what_no_sync_goes_on_with(one: ListResult) -> None:
    """A run that cannot be resumed is not said to be."""
    assert not [words for words in short_lines(one) if "resumes" in words]


# ---- JSON


FIELDS = [
    *("client", "list_key", "run_id", "kind", "status", "since", "until", "members_total", "members_read"),
    *("members_skipped", "contacts_pushed", "contacts_rejected", "windows_total", "windows_done", "windows_dead"),
    *("dead_letters", "seconds", "error"),
    *("opted_in", "opted_out", "subscription_events", "warnings", "dead_letter_members"),
]


def test_a_json_line_holds_the_documented_fields_and_adds_up_the_runs() -> None:
    """Totals over all runs, the beginning of the first, id, kind and end of the last."""
    resumed, after = run(id=7), run(id=8, kind="incremental", since=BEGAN - 63, until=BEGAN + 30, members_read=5)
    document = json.loads(json_line(result(resumed, after)))
    assert list(document) == FIELDS
    assert (document["run_id"], document["kind"], document["since"]) == (8, "incremental", None)
    assert document["until"] == "2026-11-18T11:07:10+00:00"
    assert (document["members_read"], document["contacts_pushed"], document["windows_total"]) == (25_005, 49_974, 56)
    assert document["error"] is None


def test_a_json_line_without_a_run_has_nulls_and_words() -> None:
    """A list that could not be begun still has all fields."""
    document = json.loads(json_line(failed(ConfigError("client acme: no key"))))
    assert list(document) == FIELDS
    assert (document["run_id"], document["kind"], document["since"], document["until"]) == (None,) * 4
    assert document["error"] == "client acme: no key"


def test_a_dry_run_has_no_run_id() -> None:
    """The log has no such run, or will have another one under its number."""
    document = json.loads(json_line(result(run(), dry_run=True, lacking={"phone": 7}, unsendable={"no id": 1})))
    assert document["run_id"] is None
    assert document["without"] == {"country": 0, "phone": 7, "name": 0}
    assert document["unsendable"] == {"no id": 1}


# ---- a whole call


def test_without_a_terminal_a_list_is_one_line() -> None:
    """A log gets the line when the list has ended, and nothing else."""
    assert told(result(run())) == [summary_line(result(run()))]


def test_several_lists_have_a_line_each_and_a_table_the_worst_first() -> None:
    """Lines in the order of ending, then a row a list, the failed before the dead letters before the good."""
    good, idler = result(run(), list_key="good"), idle("idle")
    letters, bad = result(run(), list_key="letters", dead_letters=2), failed(FatalError("401"), list_key="bad")
    said = told(good, idler, letters, bad)
    assert said[:2] == [summary_line(good), summary_line(idler)]
    ranked = [words.split()[1] for words in said[-5:-1]]
    assert ranked == ["bad", "letters", "good", "idle"]
    assert said[-1] == "4 lists: 1 failed, 1 with dead letters, 1 completed, 1 unchanged; 49,974 contacts pushed"


def test_a_list_is_told_of_as_soon_as_it_has_ended() -> None:
    """Nobody waits for the other lists of the call."""
    out = io.StringIO()
    with make_reporter(json=False, quiet=False, stream=out) as listener:
        listener.ended(idle("one"))
        assert out.getvalue() == "acme one, run 7: nothing changed\n"


def test_the_line_that_adds_up_says_once_what_holds_of_all() -> None:
    """A sentence, whatever became of the lists."""
    good, idler, bad = result(run()), idle("idle"), failed(FatalError("401"), list_key="bad")
    assert total_line([idler] * 3) == "3 lists: nothing changed"
    assert total_line([bad] * 2) == "2 lists: all failed; 0 contacts pushed"
    assert total_line([good] * 2) == "2 lists: all completed; 49,974 contacts pushed"
    assert total_line([good, idler, idler]) == "3 lists: 1 completed, 2 unchanged; 24,987 contacts pushed"


def test_hundreds_of_lists_in_which_nothing_happened_share_a_row() -> None:
    """The table stays readable, and still counts everybody."""
    results = [*(idle(f"l{number}") for number in range(300)), failed(FatalError("401"), list_key="bad")]
    table = rows(results)
    assert [row[:2] for row in table] == [("acme bad", "failed"), ("300 lists", "nothing changed")]
    assert total_line(results).startswith("301 lists: 1 failed, 300 unchanged;")


@pytest.mark.parametrize("screen", [True, False], ids=["terminal", "log"])
def test_a_dry_run_says_that_nothing_was_pushed_and_nothing_remembered(terminal: Terminal, *, screen: bool) -> None:
    """Neither the counts nor the dead letters of a dry run can be taken for real ones."""
    said = told(result(run(), dry_run=True, dead_letters=1), stream=terminal if screen else None, dry=True)
    said = terminal.screen.lines if screen else said
    text = "\n".join(said)
    assert said[-1] == "Dry run: nothing was pushed or recorded."
    assert "none pushed" in text
    assert "1 dead letter would be recorded" in text
    assert "dlq" not in text
    assert "sync point" not in text


def test_quiet_says_nothing_when_all_is_well() -> None:
    """Neither of what was imported, nor of a list that another process is importing at this moment."""
    assert told(result(run()), idle(), idle(status="skipped", error=BUSY), quiet=True) == []


def test_quiet_names_errors_and_dead_letters() -> None:
    """One or two lines: what failed, of which list, and what to do."""
    bad = failed(FatalError("Mailchimp answered 401", hint="Check the key."), run(status="failed"))
    assert told(bad, quiet=True) == [
        "acme 1a2d7ebf82, run 7: failed: Mailchimp answered 401",
        "  Check the key. The next `mcimport sync 1a2d7ebf82` resumes it.",
    ]
    assert told(result(run(), dead_letters=1), quiet=True) == [
        "acme 1a2d7ebf82, run 7: 1 dead letter: `mcimport dlq list` shows them, `mcimport dlq replay` tries again"
    ]
    stopped = result(run(status="interrupted"), status="interrupted", error=InterruptedRunError("stopped"))
    assert told(stopped, quiet=True) == [
        "acme 1a2d7ebf82, run 7: interrupted after 34 s. The next `mcimport sync 1a2d7ebf82` resumes it."
    ]


_counts = st.integers(0, 10**6)
_runs = st.builds(
    run,
    kind=st.sampled_from(["full", "incremental", "replay", "reconcile"]),
    status=st.sampled_from(["running", "completed", "interrupted", "failed", "abandoned"]),
    since=st.none() | st.integers(0, BEGAN),
    until=st.none() | st.integers(0, BEGAN),
    **dict.fromkeys(("members_read", "contacts_pushed", "opt_ins", "windows_total", "windows_dead"), _counts),
)
_ends = st.sampled_from(
    [
        ("completed", None),
        ("skipped", BUSY),
        ("interrupted", InterruptedRunError("stopped")),
        ("failed", FatalError("Ometria answered 403", hint="Check the key.")),
        ("failed", ConfigError("client acme: no key")),
    ]
)


@st.composite
def _results(draw: Callable[[st.SearchStrategy[Any]], Any]) -> ListResult:
    status, error = draw(_ends)
    runs = draw(st.lists(_runs, max_size=3))
    return result(
        *runs,
        status=status,
        error=error,
        list_key=draw(st.sampled_from(["one", "two", "three"])),
        dead_letters=draw(st.integers(0, 3)) if runs else 0,  # a letter is always some run's
        seconds=draw(st.floats(0, 10**6)),
        dry_run=draw(st.booleans()),
    )


@given(_results())
def test_whatever_came_of_a_list_can_be_told(one: ListResult) -> None:
    """Every result has one line, a short one, valid JSON, a verdict, and at most two lines of complaint."""
    assert summary_line(one).startswith(f"{title(one)}: ")
    assert "\n" not in summary_line(one) + json_line(one)
    assert all(words and "\n" not in words for words in short_lines(one))
    assert list(json.loads(json_line(one)))[: len(FIELDS)] == FIELDS
    assert verdict(one)
    assert len(error_lines(one)) <= 2
    assert bool(error_lines(one)) >= (one.status == "failed")


@given(st.lists(_results(), max_size=30))
def test_no_list_is_missing_at_the_end_of_a_call(results: list[ListResult]) -> None:
    """In the table every list has its row or is counted in one, and failures always have their own."""
    table = rows(results)
    folded = sum(int(row[0].split()[0]) for row in table if re.fullmatch(r"\d+ lists?", row[0]))
    own = [row for row in table if not re.fullmatch(r"\d+ lists?", row[0])]
    assert len(own) + folded == len(results)
    assert [row[1] for row in own].count("failed") == sum(one.status == "failed" for one in results)


# ---- live


def test_a_terminal_shows_progress_and_ends_with_a_short_line(terminal: Terminal) -> None:
    """While it runs the rows are drawn; they go, and the line of the list stays."""
    with make_reporter(json=False, quiet=False, stream=terminal) as listener:
        listener.planned("acme", "1a2d7ebf82", "full", 25_000, 28)
        listener.page_recorded("acme", "1a2d7ebf82", outcome(over=True))
        assert terminal.drawn.wait(60)
        listener.ended(result(run()))
    assert "100 of 25,000" in terminal.getvalue()
    assert terminal.screen.lines == short_lines(result(run()))


@pytest.mark.parametrize(("as_json", "term"), [(True, "xterm"), (False, "dumb")], ids=["json", "dumb terminal"])
def test_nothing_is_drawn_where_plain_lines_are_wanted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, *, as_json: bool, term: str
) -> None:
    """A terminal that cannot move its cursor, and a call whose output is for a program, get no control characters."""
    monkeypatch.setenv("TERM", term)
    assert told(result(run()), stream=terminal, json=as_json) == [summary_line(result(run()))]


@pytest.mark.parametrize("options", [{"json": True, "quiet": False}, {"json": False, "quiet": False}])
def test_standard_output_is_left_to_programs(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], options: dict[str, Any]
) -> None:
    """People's text goes to standard error, and what others print meanwhile still reaches standard output."""
    with make_reporter(**options, stream=terminal) as listener:
        listener.planned("acme", "1a2d7ebf82", "full", 100, 1)
        print("for a program")  # noqa: T201 - what a program would read
        listener.ended(result(run()))
    assert capsys.readouterr().out == "for a program\n"


def drawn(tally: ProgressTracker, width: int, height: int = 40) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(render(tally.snapshot(), width, height))
    return out.getvalue().splitlines()


def ticking(*readings: float) -> Callable[[], float]:
    times: Iterator[float] = iter(readings)
    return lambda: next(times)


def test_a_row_says_how_far_how_fast_and_how_long_still() -> None:
    """After ten seconds with a quarter read, thirty are left."""
    tally = ProgressTracker(ticking(0, 0, 10))
    tally.planned("acme", "1a2d7ebf82", "full", 4_000, 5)
    tally.page_recorded("acme", "1a2d7ebf82", outcome(members=1_000, pushed=950, over=True))
    head, row = drawn(tally, 80)
    assert head.split() == ["list", "members", "contacts", "time", "ranges", "contacts/s", "left"]
    assert row.split() == ["acme", "1a2d7ebf82", "1,000", "of", "4,000", "950", "1", "of", "5", "95", "0:30"]


def test_contacts_that_were_accepted_count_before_their_pages_are_done() -> None:
    """At eight pushes a second ten pages end together, after a quarter of a minute: they are no news when they do."""
    tally = ProgressTracker(ticking(0, 0, 10, 20))
    tally.planned("acme", "1a2d7ebf82", "full", 4_000, 5)
    tally.accepted("acme", "1a2d7ebf82", 1_000)
    assert drawn(tally, 80)[1].split()[2:] == ["1,000", "of", "4,000", "1,000", "0", "of", "5", "100", "0:30"]
    tally.page_recorded("acme", "1a2d7ebf82", outcome(members=1_020, pushed=1_000, over=True))
    tally.accepted("acme", "1a2d7ebf82", 980)
    assert drawn(tally, 80)[1].split()[2:] == ["2,000", "of", "4,000", "1,980", "1", "of", "5", "99", "0:20"]


def test_a_row_whose_total_is_not_known_says_what_was_read() -> None:
    """Not of how many: 611 of 0 would be nonsense, and 611 of 5 too."""
    for total in (0, 5):
        tally = ProgressTracker(ticking(0, 0, 10))
        tally.planned("acme", "1a2d7ebf82", "replay", total, 1)
        tally.page_recorded("acme", "1a2d7ebf82", outcome(members=611, pushed=600))
        assert drawn(tally, 80)[1].split()[2:5] == ["611", "600", "0"]


def test_a_resumed_run_and_the_one_after_it_share_a_row() -> None:
    """What is planned in one call for one list adds up."""
    tally = ProgressTracker(ticking(0, 0, 10))
    for members in (4_000, 100):
        tally.planned("acme", "1a2d7ebf82", "full", members, 2)
    assert [(one.total, one.windows) for one in tally.snapshot().live] == [(4_100, 4)]


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize(("lists", "height"), [(1, 40), (2, 40), (300, 40), (300, 12)])
def test_the_picture_fits_the_screen_with_one_list_and_with_hundreds(lists: int, height: int, width: int) -> None:
    """At most fifteen rows, the number of the others, and a sum; no line is wider than the terminal."""
    tally = ProgressTracker(partial(next, count()))
    for number in range(lists):
        tally.planned(f"client{number}", "1a2d7ebf82", "full", 1_000_000, 40)
        tally.page_recorded(f"client{number}", "1a2d7ebf82", outcome(members=123_456, pushed=100_000))
    lines = drawn(tally, width, height)
    most = min(MOST_ROWS, height - 5)
    assert len([words for words in lines if words.startswith("client")]) == min(lists, most)
    assert len(lines) < height
    assert all(len(words) <= width for words in lines)
    assert any(f"and {lists - most:,} more" in words for words in lines) == (lists > most)
    assert any(f"{lists * 123_456:,} of {lists * 1_000_000:,}" in words for words in lines)


def test_lists_that_ended_leave_their_rows_and_stay_in_the_sum() -> None:
    """The last row adds up those at work and those that are done."""
    tally = ProgressTracker()
    for key in ("one", "two"):
        tally.planned("acme", key, "full", 500, 1)
        tally.page_recorded("acme", key, outcome(members=300, pushed=290))
    tally.ended(result(list_key="one"))
    *_, row, summed = drawn(tally, 100)
    assert row.startswith("acme two")
    assert "1 running, 1 done" in summed
    assert "600 of 800" in summed


def test_threads_of_many_clients_lose_no_count() -> None:
    """What each of them reports is in the sum, whoever comes first."""
    tally = ProgressTracker()

    def client(number: int) -> None:
        name = f"client{number}"
        tally.planned(name, "1a2d7ebf82", "full", 5_000, 50)
        for _ in range(50):
            tally.page_recorded(name, "1a2d7ebf82", outcome(members=100, pushed=90, over=True))
        if number % 2:
            tally.ended(result(client=name))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(40)))
    everything = tally.snapshot()
    assert (everything.sum.read, everything.sum.pushed, everything.sum.done) == (200_000, 180_000, 2_000)
    assert (everything.ended, len(everything.live)) == (20, 20)


def test_threads_of_many_clients_tell_every_list_once() -> None:
    """A line a list, whole, whatever the order of their ends."""
    out = io.StringIO()
    with make_reporter(json=False, quiet=False, stream=out) as listener, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: listener.ended(idle(f"l{number}")), range(200)))
    told_of = [words for words in out.getvalue().splitlines() if words.startswith("acme ") and ": " in words]
    assert sorted(told_of) == sorted(f"acme l{number}, run 7: nothing changed" for number in range(200))
