"""The scheduler's loop, as it stands in compose.yaml, in its own shell, with a stand-in for `mcimport` on its PATH."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from crontab_table import CRONTAB

SERVICE = yaml.safe_load(CRONTAB.with_name("compose").joinpath("compose.yaml").read_text("utf-8"))["services"][
    "scheduler"
]
RUN = "mcimport sync --engine celery --quiet"
PATIENCE = 30  # seconds; what is waited for is there in one or two
LEAVING = 0.4  # seconds that the stand-in takes to leave
STOPPED = 143

# Writes down what it is told: how it was called, that it was asked to leave, and that it left.
STAND_IN = """\
#!{python} -IS
import os, select, signal, sys, time

def say(line):
    with open("said", "a") as file:
        print(time.monotonic(), line, file=file)

def leave(*_):
    say("asked to leave")
    select.select([], [], [], {leaving})
    say("left")
    os._exit(143)

signal.signal(signal.SIGTERM, leave)
say(" ".join(["mcimport", *sys.argv[1:]]))
while os.path.exists("busy"):
    select.select([], [], [], 0.01)
sys.exit(1)  # a run that failed, which must not end the loop
"""
CLOCK = "#!/bin/sh\necho {now}\n"
BED = '#!/bin/sh\necho "0 sleep $1" >>said\nexec /bin/sleep "$1"\n'


class Loop:
    """The loop under way, in a folder of its own."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        environment = {"PATH": f"{folder / 'programs'}:/usr/bin:/bin", "EVERY": str(every)}
        (script,) = SERVICE["command"]
        words = [*SERVICE["entrypoint"], script.replace("$$", "$")]
        self.process = subprocess.Popen(words, cwd=folder, env=environment, start_new_session=True)

    @property
    def said(self) -> list[str]:
        return [line for _, line in self._lines()]

    @property
    def times(self) -> list[float]:
        """Of each run's start."""
        return [at for at, line in self._lines() if line == RUN]

    def _lines(self) -> Iterator[tuple[float, str]]:
        path = self.folder / "said"
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            at, _, rest = line.partition(" ")
            yield float(at), rest

    def wait_for(self, what: Callable[[list[str]], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not what(self.said):
            assert time.monotonic() < until, self.said
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)

    def stop(self) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired where it does not end before its grace is over."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


Start = Callable[..., Loop]


def add(folder: Path, name: str, text: str) -> None:
    path = folder / "programs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Whatever is left of a loop at the end is killed."""
    loops: list[Loop] = []

    def started(*, every: int = 3_600, busy: bool = False) -> Loop:
        add(tmp_path, "mcimport", STAND_IN.format(python=sys.executable, leaving=LEAVING))
        if busy:
            (tmp_path / "busy").touch()
        loops.append(Loop(tmp_path, every))
        return loops[-1]

    yield started
    for one in loops:
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()


def test_every_dollar_is_the_shells() -> None:
    """Compose puts nothing of its own into the loop: each dollar is written twice."""
    (script,) = SERVICE["command"]
    assert "$$" in script
    assert "$" not in script.replace("$$", "")


def test_it_runs_at_once_and_again_after_the_wait(start: Start) -> None:
    """The run is the coordinator's; one that failed is followed by the next, no sooner than its time has come."""
    loop = start(every=1)
    loop.wait_for(lambda said: said.count(RUN) == 3)
    assert set(loop.said) == {RUN}
    first, second, third = loop.times
    assert min(second - first, third - second) >= 1


@pytest.mark.parametrize(
    ("minute", "second", "wait"), [(0, 0, 420), (6, 59, 1), (7, 0, 3_600), (7, 1, 3_599), (59, 0, 480)]
)
def test_it_waits_for_seven_past(minute: int, second: int, wait: int, start: Start, tmp_path: Path) -> None:
    """With the hour that compose.yaml sets, at whatever time the run before it ends."""
    midnight = 1_795_737_600
    add(tmp_path, "date", CLOCK.format(now=midnight + 60 * minute + second))
    add(tmp_path, "sleep", BED)
    loop = start(every=int(SERVICE["environment"]["EVERY"]))
    loop.wait_for(lambda said: len(said) == 2)
    assert loop.said == [RUN, f"sleep {wait}"]


def test_while_it_waits_it_ends_at_once(start: Start, tmp_path: Path) -> None:
    """SIGTERM between two runs is answered long before its grace is over, and starts nothing more."""
    add(tmp_path, "sleep", BED)
    loop = start()
    loop.wait_for(lambda said: len(said) == 2)
    assert loop.stop() == STOPPED
    assert loop.said.count(RUN) == 1


def test_a_run_under_way_is_asked_to_leave_and_waited_for(start: Start) -> None:
    """SIGTERM reaches mcimport, once; the loop, the container's first process, ends after it and not before."""
    loop = start(busy=True)
    loop.wait_for(lambda said: said == [RUN])
    assert loop.stop() == STOPPED
    assert loop.said == [RUN, "asked to leave", "left"]


def test_nothing_is_left_behind(start: Start) -> None:
    """When the loop has ended, so has all that it started."""
    loop = start()
    loop.wait_for(lambda said: said == [RUN])
    loop.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(loop.process.pid, 0)
