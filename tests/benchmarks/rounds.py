"""`sync --every`: a thousand idle clients each minute, and memory over a thousand rounds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.figures import Figure, Scale
from benchmarks.importer import Importer, importer
from benchmarks.sandbox_process import SandboxProcess, environment

LATENCY, SWEEPS = 0.3, 2
ROUNDS = 3
CORES = 0.5  # of one core: the other half, and the other core, are for what has to be imported
SIZE = 20
FEW = 3  # clients of the many rounds
GROWTH = 1.05
LOOK_UP = 0.1  # seconds between two looks at how far it is
MEGABYTE = 1024  # in the kilobytes that Linux counts in

# Rounds follow each other faster than the shortest interval that can be typed.
AT_ONCE = """\
from mcimport.cli import schedule
schedule.parse_interval = float
from mcimport.cli.app import main
main()
"""


def measure(scale: Scale) -> Iterator[Figure]:
    yield from _each_minute(scale.of(1_000, 100), scale.of(60, 5))
    yield from _many_rounds(scale.of(1_000, 100))


def _each_minute(clients: int, interval: int) -> Iterator[Figure]:
    with SandboxProcess(SIZE, clients=clients) as sandbox, importer(sandbox) as one:
        one("sync", "--since", "now", "--quiet")
        single = one("sync", "--quiet").peak
        sandbox.clear(latency=LATENCY)
        with _running(one, one.command("sync", "--every", f"{interval}s")) as process:
            began = time.monotonic()
            ended, spent = [], []
            for number in range(1, ROUNDS + 1):
                _await_requests(sandbox, process, number * clients * SWEEPS)
                ended.append(time.monotonic() - began - (number - 1) * interval)
                spent.append(_processor(process))
            memory = _resident(process)
        skipped = (one.folder / "err.txt").read_text(encoding="utf-8").count("so this one skips them")
    a_round = (spent[-1] - spent[0]) / (ROUNDS - 1)
    name = f"{clients:,} idle clients each {interval} s"
    bound = ("at most half a core", a_round <= CORES * interval)
    yield Figure(f"{name}: processor a round", a_round, "s", "the interval", interval, *bound)
    yield Figure(f"{name}: a round's last request", max(ended), "s", "the interval", interval)
    yield Figure("rounds that clients skipped", skipped, "", "rounds", ROUNDS, "none", skipped == 0)
    yield Figure(f"{name}: memory", memory, "MB", "the most of a single `sync`", single)


def _many_rounds(rounds: int) -> Iterator[Figure]:
    with SandboxProcess(SIZE, clients=FEW) as sandbox, importer(sandbox) as one:
        one("sync", "--quiet")
        sandbox.clear()
        command = [one.python, "-c", AT_ONCE, *one.command("sync", "--every", "0.01", "--quiet")[3:]]
        with _running(one, command) as process:
            resident = []
            for number in (rounds // 10, rounds):
                _await_requests(sandbox, process, number * FEW * SWEEPS)
                resident.append(_resident(process))
    early, late = resident
    bound = ("less than 5 % more", late < GROWTH * early)
    yield Figure(f"memory after {rounds:,} rounds", late, "MB", f"after {rounds // 10}", early, *bound)


@contextmanager
def _running(one: Importer, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on until it is stopped. Raises RuntimeError where its end is not that of SIGTERM."""
    err = one.folder / "err.txt"
    with (
        err.open("wb") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=one.folder,
            env=environment() | {"HOME": str(one.folder)},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
    if process.returncode != 128 + signal.SIGTERM:
        raise RuntimeError(f"sync --every ended with {process.returncode}:\n{err.read_text(encoding='utf-8')}")


def _await_requests(sandbox: SandboxProcess, process: subprocess.Popen[bytes], many: int) -> None:
    """Waits until so many were made, or the process has ended, which the caller's `with` reports."""
    while sandbox.counters().mailchimp < many:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_UP)
            return


def _processor(process: subprocess.Popen[bytes]) -> float:
    """Returns seconds: user and system time so far."""
    after_name = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: subprocess.Popen[bytes]) -> float:
    """Returns MB of resident memory at this moment."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / MEGABYTE
