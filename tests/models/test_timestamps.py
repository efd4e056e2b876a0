"""Times: what counts as one, and that nothing is lost on the way to seconds and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.models import timestamps
from mcimport.models.timestamps import epoch, iso

SECONDS = st.integers(-62_104_060_800, 253_370_764_800)  # from the beginning of the year 2 to that of 9999
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00+00:00", 0),
        ("1969-12-31T23:59:59+00:00", -1),
        ("2026-11-24T08:00:00+00:00", 1_795_507_200),
        ("2026-11-24T08:00:00Z", 1_795_507_200),
        ("2026-11-24T08:00:00+0000", 1_795_507_200),
        ("2026-11-24T10:30:00+02:30", 1_795_507_200),
        ("2026-11-24T00:00:00-08:00", 1_795_507_200),
        ("2026-11-24T08:00:00.999999+00:00", 1_795_507_200),
        ("2026-11-24T08:00:00.1234567Z", 1_795_507_200),
        ("1969-12-31T23:59:58.5Z", -2),
        ("2024-02-29T00:00:00Z", 1_709_164_800),
        ("2026-11-24 08:00:00+00:00", 1_795_507_200),
        ("0002-01-01T00:00:00+00:00", -62_104_060_800),
        ("9999-01-01T00:00:00.9999999+00:00", 253_370_764_800),
    ],
)
def test_a_time_with_an_offset_becomes_whole_seconds(text: str, seconds: int) -> None:
    """The offset counts, a fraction is dropped (also before 1970)."""
    assert epoch(text) == seconds


@pytest.mark.parametrize("text", ["2026-11-24T08:00:00", "2026-11-24 08:00:00", "2026-11-24T08:00:00.5"])
def test_a_time_without_an_offset_is_utc(text: str) -> None:
    """With a T or a blank; it is sent as Mailchimp writes times, also once its day is known."""
    for _ in range(2):
        assert epoch(text) == 1_795_507_200
        assert timestamps.instant(text) == (1_795_507_200, "2026-11-24T08:00:00+00:00")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "   ",
        "0001-01-01T00:00:00+00:00",  # what some programs write for "no time"
        "9999-12-31T23:59:59+00:00",
        0,
        1_795_507_200,
        1.5,
        True,
        [],
        {},
        "never",
        "2026-11-24",
        "2026-11-24T08:00+00:00",
        "2026-11-24T08:00:00 00:00",
        "2026-11-24T08:00:00+00",
        "2026-11-24T08:00:00+00:00:30",
        "2026-11-24T08:00:00+24:00",
        " 2026-11-24T08:00:00+00:00",
        "2026-11-24T08:00:00+00:00\n",
        "2026-02-29T08:00:00+00:00",
        "2026-13-01T08:00:00+00:00",
        "2026-11-24T08:00:60+00:00",
        "0000-00-00T00:00:00+00:00",
        "0000-00-00 00:00:00",
        "-0001-11-30T00:00:00+00:00",
        "-0001-11-30 00:00:00",
        "2026-W48-2T08:00:00+00:00",
        "\uff12\uff10\uff12\uff16-11-24T08:00:00+00:00",
        "2026-11-24T08:00:00\ud800+00:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_anything_else_is_no_time(value: Any) -> None:
    """Other types, dates alone and dates that do not exist are None, never a guess."""
    assert epoch(value) is None


def test_a_time_is_written_as_mailchimp_writes_it() -> None:
    """Whole seconds, UTC, with the offset spelt out."""
    assert iso(1_795_507_200) == "2026-11-24T08:00:00+00:00"
    assert iso(-1) == "1969-12-31T23:59:59+00:00"


def test_seconds_outside_the_calendar_are_refused() -> None:
    """No year 10000 can be written."""
    with pytest.raises(OverflowError):
        iso(253_402_300_800)


@given(SECONDS)
@settings(derandomize=True)
def test_what_is_written_is_read_back(seconds: int) -> None:
    """Every second of the calendar survives the way there and back."""
    assert epoch(iso(seconds)) == seconds


@given(st.integers(-60_000_000_000, 250_000_000_000), st.integers(0, 999_999), OFFSETS)
@settings(derandomize=True)
def test_offset_and_fraction_never_move_a_time(seconds: int, micros: int, offset: timezone) -> None:
    """The same moment is the same second, in whichever zone and with whichever fraction it is written."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micros)
    assert epoch(moment.astimezone(offset).isoformat()) == seconds


@given(
    st.text(max_size=40) | st.integers() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*)?(Z|[+-]\d\d:?\d\d)")
)
@settings(derandomize=True)
def test_no_value_whatever_raises(value: Any) -> None:
    """A time that was read can always be written again."""
    seconds = epoch(value)
    assert seconds is None or epoch(iso(seconds)) == seconds


NEARLY_USUAL = st.tuples(
    st.sampled_from(("2026-11-24T", "2026-02-30T", "2026-11-24 ", "9999-12-31T", "٢٠٢٦-11-24T")),
    st.sampled_from(("08:00:", "24:00:", "08:60:", "8:00:0", "0800:0")),
    st.sampled_from(("00+00:00", "60+00:00", "00+01:00", "00-00:00", "00Z", "00.5+00:00", "00+00:00 ")),
).map("".join)


@given(NEARLY_USUAL)
@settings(max_examples=100)
def test_a_day_that_was_seen_before_is_read_as_the_calendar_reads_it(text: str) -> None:
    """The short way to read a time says what the long way says, of whatever looks nearly like a usual one."""
    epoch("2026-11-24T00:00:00+00:00")

    assert epoch(text) == timestamps._read(text)
