"""Keeps the process on one core at a time, and moves it to another where other programs keep that one busy.

Python computes in one thread at a time. Where its threads are on several cores, what they share moves from one core's
cache to the other's with every switch: a first sync that waits for nothing took 1.70 s of processor and 1.82 s of time
on two cores, 1.35 s and 1.36 s on one.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK_EVERY = 1.0  # seconds
OTHERS = 0.25  # of one core's time: as much as others may take of it before there is a look for a better one
GAIN = 0.25  # of one core's time: as much more must be free on the other

_TASKS, _CORES = Path("/proc/self/task"), Path("/proc/stat")
_BUSY = (1, 2, 3, 6, 7, 8)  # columns of `/proc/stat`: all that is neither idle nor waiting for a disk; see proc(5)


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keeps the block's threads on one of the cores that the process may use, and gives all of them back at its end.

    Does nothing where it may use one only, or where the system does not let it choose, or does not show how busy each
    core is: it could not leave one that others keep busy.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    shown = _seen(allowed)[2]
    if len(shown) <= 1:
        yield
        return
    is_over = threading.Event()
    _move(core := random.choice(sorted(shown)))  # noqa: S311 - nothing is kept secret by it
    watch = threading.Thread(target=_watch, args=(core, allowed, is_over), name="core", daemon=True)
    with suppress(RuntimeError):  # no thread can be started: it stays where it is
        watch.start()
    try:
        yield
    finally:
        is_over.set()
        if watch.ident is not None:
            watch.join()
        _move(*allowed)


def better_core(core: int, busy: Mapping[int, float], own: float) -> int:
    """Returns the core to be on: this one, unless others take a part of it, and more of another is free.

    `busy`: by core, the share of its time that all processes took of late; `own`: this process's, of one core.
    """
    others = busy[core] - own
    freest = min(busy, key=lambda each: busy[each])
    return freest if others > OTHERS and busy[freest] < others - GAIN else core


def _watch(core: int, allowed: Collection[int], is_over: threading.Event) -> None:
    """Looks now and then whether another core would be better; by chance, lest two processes move to the same one."""
    ticks = os.sysconf("SC_CLK_TCK")
    before = _seen(allowed)
    while not is_over.wait(LOOK_EVERY):
        now = _seen(allowed)
        seconds = now[0] - before[0]
        busy = {each: (now[2][each] - before[2][each]) / ticks / seconds for each in now[2].keys() & before[2].keys()}
        better = better_core(core, busy, (now[1] - before[1]) / seconds) if core in busy else core
        before = now
        if better != core and random.random() < 0.5 and not is_over.is_set():  # noqa: PLR2004, S311 - a coin
            _move(core := better)


def _seen(allowed: Collection[int]) -> tuple[float, float, dict[int, int]]:
    """Returns the time (monotonic seconds), the processor seconds of this process, and the busy ticks of each core."""
    text = ""
    with suppress(OSError):
        text = _CORES.read_text(encoding="ascii", errors="replace")
    return time.monotonic(), time.process_time(), busy_ticks(text, allowed)


def busy_ticks(text: str, allowed: Collection[int]) -> dict[int, int]:
    """Returns how many ticks each of these cores was busy, from the text of `/proc/stat`; odd lines are passed over."""
    found: dict[int, int] = {}
    for line in text.splitlines():
        name, *counts = line.split() or [""]
        if name[:3] == "cpu" and name[3:].isdecimal() and int(name[3:]) in allowed:
            with suppress(ValueError, IndexError):  # some containers show a file of another shape
                found[int(name[3:])] = sum(int(counts[column - 1]) for column in _BUSY)
    return found


def _move(*cores: int) -> None:
    """Lets all threads of this process run on these cores alone, and those that they start."""
    with suppress(OSError):
        for task in _TASKS.iterdir():
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(task.name), cores)
