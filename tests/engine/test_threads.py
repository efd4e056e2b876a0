"""The engine of one machine: pages overlap, each is recorded after the one before it, and each sweep after the last."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mcimport.config import load
from mcimport.engine import run_windows
from mcimport.engine.interface import stage
from mcimport.errors import FatalError, InterruptedRunError, McimportError
from mcimport.models import Outcome, Page, Window
from mcimport.services.connections import ClientServices, ConnectionPool
from mcimport.services.http.shutdown import StopSignal

WAIT = 30.0  # seconds after which a test fails rather than hangs
OnRead = Callable[[Window], None]
CONFIG = """\
[clients.acme]
lists = ["1a2d7ebf82"]
mailchimp_api_key = "00000000000000000000000000000000-us6"
ometria_api_key = "00000000000000000000000000000000"
"""


@pytest.fixture(name="services", scope="module")
def some_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientServices]:
    """A client's, which are never asked for anything."""
    config: Path = tmp_path_factory.mktemp("threads") / "mcimport.toml"
    config.write_text(CONFIG, encoding="utf-8")
    config.chmod(0o600)
    with ConnectionPool(StopSignal()).open(load(config=config, environ={}).clients["acme"]) as opened:
        yield opened


def rest_of(window: Window) -> Window | None:
    """Every page covers one second of its window."""
    through = (window.since or 0 if window.through is None else window.through) + 1
    return None if through >= window.until else replace(window, through=through)


def windows_of(lengths: list[tuple[str, int, bool]]) -> list[Window]:
    return [
        Window(number, "archived" if sweep == "archived" else "listed", 0, length, member_id="m" if is_one else None)
        for number, (sweep, length, is_one) in enumerate(lengths)
    ]


@dataclass
class Processing:
    """Pages whose rest is told at once, and whose outcome comes some time later; `broken`: pages that raise."""

    broken: dict[tuple[int, int | None], McimportError] = field(default_factory=dict)
    seed: int = 7
    recorded: list[Window] = field(default_factory=list)
    begun_after: list[tuple[Window, int]] = field(default_factory=list)
    idle: threading.Event = field(default_factory=threading.Event)  # never set: its waits are pauses

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - nothing is kept secret by it

    def __call__(self, window: Window, _page: Page | None, on_read: OnRead) -> Outcome:
        self.begun_after.append((window, len(self.recorded)))
        rest = rest_of(window)
        if rest is not None and self.chance.random() < 0.7:
            on_read(rest)
        self.idle.wait(self.chance.random() / 1_000)
        if error := self.broken.get((window.number, window.through)):
            raise error
        return Outcome(window, rest, members=1)

    def record(self, outcome: Outcome) -> None:
        assert outcome.window is not None
        self.recorded.append(outcome.window)


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(
        st.tuples(st.sampled_from(["listed", "archived"]), st.integers(1, 5), st.booleans()), min_size=1, max_size=8
    ),
    workers=st.integers(1, 4),
    seed=st.integers(0, 1_000),
)
def test_every_page_is_recorded_once_in_the_order_of_its_window_and_each_stage_after_the_last(
    services: ClientServices, lengths: list[tuple[str, int, bool]], workers: int, seed: int
) -> None:
    """Archived members begin when all listed are recorded, members read one by one after both, whatever overtakes."""
    processing, windows = Processing(seed=seed), windows_of(lengths)
    run_windows(processing, windows, processing.record, services, workers=workers, pages={})
    pages = defaultdict(list)
    for window in processing.recorded:
        pages[window.number].append(window.through or 0)
    assert pages == {window.number: list(range(window.until)) for window in windows}
    for window, recorded in processing.begun_after:
        assert sum(stage(one) < stage(window) for one in processing.recorded[:recorded]) == sum(
            other.until for other in windows if stage(other) < stage(window)
        )


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(2, 6), min_size=1, max_size=5),
    broken=st.tuples(st.integers(0, 4), st.integers(0, 5)),
    is_fatal=st.booleans(),
    seed=st.integers(0, 1_000),
)
def test_no_page_is_recorded_behind_one_that_is_not(
    services: ClientServices,
    lengths: list[int],
    broken: tuple[int, int],
    is_fatal: bool,  # noqa: FBT001 - Hypothesis hands all by name
    seed: int,
) -> None:
    """Else its members would never be read again: what is recorded of a window is its beginning, without a gap."""
    number, second = broken[0] % len(lengths), broken[1] % lengths[broken[0] % len(lengths)]
    error: McimportError = FatalError("a wrong key") if is_fatal else InterruptedRunError("stopped")
    processing = Processing({(number, second or None): error}, seed)
    windows = windows_of([("listed", length, False) for length in lengths])
    if is_fatal:
        with pytest.raises(FatalError, match="a wrong key"):
            run_windows(processing, windows, processing.record, services, workers=3, pages={})
    else:
        run_windows(processing, windows, processing.record, services, workers=3, pages={})
    for window in windows:
        seconds = [one.through or 0 for one in processing.recorded if one.number == window.number]
        assert seconds == list(range(len(seconds)))
        assert window.number != number or len(seconds) <= second


def test_the_next_page_of_a_window_is_read_while_the_answers_to_the_last_are_awaited(services: ClientServices) -> None:
    """The first page ends only when the second was processed; yet the first is recorded first."""
    second_is_done = threading.Event()
    recorded: list[int] = []

    def process(window: Window, _page: Page | None, on_read: OnRead) -> Outcome:
        rest = rest_of(window)
        if rest is None:
            second_is_done.set()
        else:
            on_read(rest)
            assert second_is_done.wait(WAIT)
        return Outcome(window, rest)

    def record(outcome: Outcome) -> None:
        assert outcome.window is not None
        recorded.append(outcome.window.through or 0)

    run_windows(process, windows_of([("listed", 2, False)]), record, services, workers=1, pages={})
    assert recorded == [0, 1]
