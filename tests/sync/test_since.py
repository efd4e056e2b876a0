"""What `--since` understands, and that what is as good as now is now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from conftest import MakeImporter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcimport.errors import ConfigError
from mcimport.sync.since import moment, parse, read_as

NOW = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.fixture
def _in_auckland() -> Iterator[None]:
    """A machine far from UTC: 13 hours ahead in November, 12 in July."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Pacific/Auckland")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-20T08:00:00+00:00", EPOCH - 4 * 86_400),
        ("2026-11-20T08:00:00Z", EPOCH - 4 * 86_400),
        ("2026-11-20T10:30:00+02:30", EPOCH - 4 * 86_400),
        ("2026-11-20T08:00:00.999+00:00", EPOCH - 4 * 86_400),
        ("  2026-11-20T08:00:00Z  ", EPOCH - 4 * 86_400),
        ("36h", EPOCH - 36 * 3_600),
        ("7d", EPOCH - 7 * 86_400),
        ("7 D", EPOCH - 7 * 86_400),
        ("2w", EPOCH - 14 * 86_400),
        ("90min", EPOCH - 90 * 60),
        ("90 MIN", EPOCH - 90 * 60),
        ("3600s", EPOCH - 3_600),
    ],
)
def test_a_time_with_an_offset_and_an_age_become_seconds(text: str, seconds: int) -> None:
    """ISO 8601, or so many seconds, minutes, hours, days, weeks before now; a fraction is dropped."""
    assert parse(text, NOW) == seconds


@pytest.mark.parametrize(
    "text", ["now", "NOW", " now ", "0s", "59s", "0d", "2026-11-24T08:00:00Z", "2026-11-24T08:05:00Z"]
)
def test_what_lies_a_few_minutes_ahead_or_less_than_a_minute_back_is_now(text: str) -> None:
    """Also an age of nothing; clocks differ."""
    assert parse(text, NOW) == "now"


@pytest.mark.parametrize("text", ["2026-11-24T08:05:01Z", "2026-11-25", "2031-01-01T00:00:00Z"])
def test_what_lies_more_than_minutes_ahead_is_refused(text: str) -> None:
    """It was typed by mistake, and taken for now it would leave out everybody."""
    with pytest.raises(ConfigError, match="is in the future"):
        parse(text, NOW)


@pytest.mark.parametrize("text", ["3m", "3M", "3 m"])
def test_a_bare_m_is_refused_for_it_may_be_minutes_or_months(text: str) -> None:
    """The words say what to write instead."""
    with pytest.raises(ConfigError, match="minutes or months") as refused:
        parse(text, NOW)
    assert "3min" in refused.value.hint


@pytest.mark.usefixtures("_in_auckland")
def test_a_date_is_its_local_midnight_and_a_time_without_an_offset_is_local() -> None:
    """As a person at that machine means it, in summer and in winter."""
    assert parse("2026-11-20", NOW) == int(datetime(2026, 11, 19, 11, tzinfo=UTC).timestamp())
    assert parse("2026-07-20", NOW) == int(datetime(2026, 7, 19, 12, tzinfo=UTC).timestamp())
    assert parse("2026-11-20T21:00:00", NOW) == int(datetime(2026, 11, 20, 8, tzinfo=UTC).timestamp())
    assert moment(datetime(2026, 11, 20, 21), NOW) == int(datetime(2026, 11, 20, 8, tzinfo=UTC).timestamp())  # noqa: DTZ001 - a naive time is what is tested


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "yesterdayish",
        "yesterday",
        "36",
        "h",
        "-3h",
        "1.5h",
        "36h ago",
        "3y",
        "2026-13-01",
        "2026-02-30",
        "2026-11-24T25:00:00Z",
        "08:00",
        "1795507200000000",
        "999999w",
        "9999999d",
        "0001-01-01",
        "now now",
    ],
)
def test_anything_else_is_refused_with_what_would_do(text: str) -> None:
    """In words, with examples; an age that reaches back before the calendar is no time either."""
    with pytest.raises(ConfigError, match="--since") as refused:
        parse(text, NOW)
    assert "2026-11-24" in refused.value.hint
    assert "7d" in refused.value.hint


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.text(max_size=30))
def test_no_text_is_met_with_anything_but_a_time_or_a_refusal(text: str) -> None:
    """Whatever is typed: a whole number of seconds before now, "now", or ConfigError."""
    try:
        since = parse(text, NOW)
    except ConfigError:
        return
    assert since == "now" or since <= EPOCH - 60


@settings(derandomize=True, deadline=None, max_examples=150)
@example(timedelta(seconds=59, milliseconds=500), 0)
@example(timedelta(minutes=1), 0)
@given(st.timedeltas(timedelta(minutes=-3), timedelta(minutes=3)), st.integers(-720, 720))
def test_less_than_a_minute_is_now_and_a_minute_or_more_is_a_time(before: timedelta, offset: int) -> None:
    """To the microsecond, wherever the clock's offset stands; the seconds are the whole ones before it."""
    when = (NOW - before).astimezone(timezone(timedelta(minutes=offset)))
    if before < timedelta(minutes=1):
        assert moment(when, NOW) == "now"
    else:
        assert moment(when, NOW) == int(when.timestamp())


def test_this_very_moment_is_now() -> None:
    """`run(key, datetime.now())` imports nobody who is there, and everybody who changes from then on."""
    assert moment(datetime.now()) == "now"  # noqa: DTZ005 - that is what a caller writes
    assert moment(datetime.now(UTC)) == "now"
    assert parse("1d") == pytest.approx(time.time() - 86_400, abs=60)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-25", "2026-11-25 00:00:00 of this machine (CET, UTC+0100), 2026-11-24 23:00:00 UTC"),
        ("2026-07-01T08:30", "2026-07-01 08:30:00 of this machine (CEST, UTC+0200), 2026-07-01 06:30:00 UTC"),
        ("2026-11-25T00:00:00+00:00", ""),
        ("36h", ""),
        ("now", ""),
    ],
)
def test_a_date_says_whose_midnight_it_was_taken_for(text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A date, and a time without an offset, are this machine's; it is said with its zone, and in UTC."""
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        assert read_as(text, parse(text)).removeprefix(f"--since {text}: from ") == said
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_sync_says_whose_midnight_its_date_was_taken_for(make_importer: MakeImporter) -> None:
    """It is said before the sync begins, and not to a program."""
    importer = make_importer(size=5)
    importer("sync", "--since", "now")
    assert "of this machine" in importer("sync", "--since", "2026-11-25").err
    assert "of this machine" not in importer("sync", "--since", "2026-11-25", "--json").err
