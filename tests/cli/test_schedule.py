"""When rounds are due: intervals as they are typed, and the beat."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcimport.cli import schedule
from mcimport.cli.schedule import JITTER, MOST_JITTER, Schedule, parse_interval
from mcimport.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("5 min", 300), ("1h", 3_600), ("1d", 86_400), ("90M", 5_400)]
)
def test_an_interval_is_a_number_with_a_unit(text: str, seconds: int) -> None:
    """`5m` is five minutes here: nobody syncs every five months."""
    assert parse_interval(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "0m", "-5m", "5w", "1.5h", "5m5s", "\x1b[31m"])
def test_anything_else_is_refused_in_words(text: str) -> None:
    """The message shows what was typed, without what a terminal would obey."""
    with pytest.raises(ConfigError, match="not understood") as refused:
        parse_interval(text)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("text", ["999999d", "0s"])
def test_an_interval_of_nothing_or_of_years_is_refused(text: str) -> None:
    """No computer waits that long."""
    with pytest.raises(ConfigError, match="not understood"):
        parse_interval(text)


@given(st.floats(1, 10_000), st.lists(st.floats(0, 100_000), min_size=1, max_size=20))
def test_rounds_are_due_on_the_beat_and_those_that_were_missed_are_skipped(
    interval: float, delays: list[float]
) -> None:
    """However long it takes to begin one: none is late by more than the jitter, and none is made up for."""
    clock = SimpleNamespace(now=1_000.0)
    late = min(JITTER * interval, MOST_JITTER) + 1e-6 * interval
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "time", SimpleNamespace(monotonic=lambda: clock.now))
        beat = Schedule(interval)
        for delay in delays:
            clock.now += delay
            before = clock.now - 1_000.0
            clock.now += beat.seconds_left()
            due = (math.floor(before / interval) + 1) * interval
            assert -1e-6 * due <= clock.now - 1_000.0 - due <= late + 1e-6 * due
