"""`sync --every`: rounds that read everything anew, leave no signal unheard, and never pile up."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from conftest import CONFIG, Importer, MakeImporter
from hypothesis import given
from hypothesis import strategies as st
from passing import time_passes

from mcimport.cli import rounds
from mcimport.cli.process import handle_signals
from mcimport.cli.rounds import JITTER, MOST_JITTER, Schedule, parse_interval
from mcimport.errors import ConfigError
from mcimport.sandbox.request_log import Request
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.shutdown import StopSignal

PATIENT = 60.0  # seconds after which what a test waits for never comes
HOUR = 3_600


@contextmanager
def every(importer: Importer, interval: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """`mcimport sync --every INTERVAL` under way, which is killed where the test leaves it."""
    command = importer.command("sync", "--every", interval, *more)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], many: int) -> list[dict[str, object]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(many)]


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENT)
    return process.returncode, err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_round_follows_round_until_a_signal_ends_the_wait(
    make_importer: MakeImporter, number: signal.Signals, code: int
) -> None:
    """The first imports the list, the next what changed; a signal between two ends the program at once."""
    importer = make_importer(size=30)
    importer.create_state_file()
    with every(importer, "1s", "--json", "--quiet") as process:
        kinds = [one["kind"] for one in lines(process, 3)]
        assert stopped(process, number) == (code, "")
    assert kinds == ["full", "incremental", "incremental"]


def test_a_signal_in_the_middle_of_a_round_ends_that_and_all(make_importer: MakeImporter) -> None:
    """What it had begun is resumed by the next call."""
    importer = make_importer(size=300)
    importer.configure(CONFIG + "ometria.batch = 5\n")
    with every(importer, "1s", "--json", "--quiet") as process:
        importer.sandbox.settings.fault = _once_pushed(lambda: process.send_signal(signal.SIGTERM))
        (result,) = lines(process, 1)
        assert process.wait(PATIENT) == 143
    assert result["status"] == "interrupted"
    importer.sandbox.settings.fault = None
    assert importer("sync").code == 0


def _once_pushed(act: Callable[[], object]) -> Callable[[Request], None]:
    """Acts with the second push: then the first batch has been taken, and others wait."""

    def seen(request: Request) -> None:
        if request.path == "/push" and request.nth == 1:
            act()

    return seen


def test_settings_are_read_anew_for_each_round_and_broken_ones_are_told_and_outlived(
    make_importer: MakeImporter,
) -> None:
    """Somebody saves a file half edited, sees the error in the log, and mends it: no restart is needed."""
    importer = make_importer(size=30)
    importer.create_state_file()
    whole = importer.config.read_text()
    with every(importer, "1s", "--json", "--quiet") as process:
        lines(process, 1)
        importer.config.write_text("[clients.acme\n")
        assert process.stderr is not None
        error = process.stderr.readline()
        importer.config.write_text(whole.replace("clients.acme", "clients.renamed"))
        names = {str(one["client"]) for one in lines(process, 3)}
        code, _ = stopped(process, signal.SIGTERM)
    assert "line 1" in error
    assert "renamed" in names
    assert code == 143


def test_a_configuration_that_is_wrong_from_the_beginning_ends_it(make_importer: MakeImporter) -> None:
    """Somebody sees that; a program that only repeats the error would pass for one that works."""
    importer = make_importer(size=0)
    importer.config.write_text("[clients.acme]\nlists = 3\n")
    result = importer.in_a_process("sync", "--every", "1h")
    assert result.code == 2
    assert "lists" in result.err


@pytest.mark.parametrize("more", ["--full", "--since=7d", "--dry-run"])
def test_what_would_be_done_once_is_not_repeated(make_importer: MakeImporter, more: str) -> None:
    """A full sync every five minutes is nobody's wish."""
    importer = make_importer(size=0)
    result = importer("sync", "--every", "5m", more)
    assert (result.code, importer.sandbox.requests) == (2, [])
    assert "--every repeats a plain sync" in result.err


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


@given(st.floats(1, 10_000), st.lists(st.floats(0, 100_000), min_size=1, max_size=20))
def test_rounds_start_on_the_beat_and_those_that_a_long_one_covers_are_skipped(
    interval: float, durations: list[float]
) -> None:
    """However long each takes: none is late by more than the jitter, none follows at once, none is made up for."""
    clock = SimpleNamespace(now=1_000.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: clock.now))
        schedule = Schedule(interval)
        for duration in durations:
            began = clock.now
            schedule.begin_round()
            clock.now += duration
            pace, wait = schedule.pace, schedule.seconds_left()
            assert 0 < wait <= interval + min(JITTER * interval, MOST_JITTER) + 1e-6 * clock.now
            clock.now += wait
            assert clock.now - began <= pace + min(JITTER * interval, MOST_JITTER) + 1e-6 * clock.now
            assert pace >= interval * (1 - 1e-9)


@pytest.mark.parametrize("text", ["999999d", "0s"])
def test_an_interval_of_nothing_or_of_years_is_refused(text: str) -> None:
    """No computer waits that long."""
    with pytest.raises(ConfigError, match="not understood"):
        parse_interval(text)


def test_a_signal_before_the_work_of_a_round_stops_it() -> None:
    """While settings are read nobody is there to stop anything: the signal is remembered, and stops what comes."""
    stop = StopSignal()
    with handle_signals(stop, ConnectionPool(stop), [int(signal.SIGTERM)]):
        assert stop.requested.is_set()


def test_rounds_that_were_stopped_make_no_list_overdue(make_importer: MakeImporter) -> None:
    """Whoever tried `--every 1s` once and goes on with cron hears of no list that waits for a round."""
    importer = make_importer(size=30)
    with every(importer, "1s", "--json", "--quiet") as process:
        lines(process, 2)
        assert stopped(process, signal.SIGINT)[0] == 130
    time_passes(2 * HOUR)
    assert importer("status").code == 0


def test_lists_are_overdue_by_the_rhythm_until_another_scheduler_has_the_clock(
    make_importer: MakeImporter,
) -> None:
    """Three missed rounds of five minutes; three hours where no interval is known; what is configured comes first."""
    importer = make_importer(size=30)
    assert importer("sync").code == 0
    with every(importer, "5m", "--json") as process:
        lines(process, 1)  # and it is killed: nobody says that no other round will come
    time_passes(600)
    assert importer("status").code == 0
    time_passes(600)
    assert importer("status").code == 3
    configured = importer.config.read_text()
    importer.config.write_text(f'[notify]\noverdue = "2h"\n\n{configured}')
    assert importer("status").code == 0
    importer.config.write_text(configured)
    assert importer("sync").code == 0
    time_passes(2 * HOUR)
    assert importer("status").code == 0
