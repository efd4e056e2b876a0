"""A call keeps to one core at a time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mcimport.cli import one_core
from mcimport.cli.one_core import better_core, busy_ticks, on_one_core

CORES = sorted(os.sched_getaffinity(0))


def test_all_threads_are_on_one_core_inside_and_on_all_afterwards() -> None:
    """Threads that run, and those that start, share one core in the block; after it they may use all as before."""
    begun, is_over = threading.Event(), threading.Event()

    def stay() -> None:
        begun.set()
        is_over.wait()

    earlier = threading.Thread(target=stay)
    earlier.start()
    begun.wait()
    try:
        with on_one_core():
            inside = cores_of_threads()
            later = threading.Thread(target=lambda: inside.append(os.sched_getaffinity(0)))
            later.start()
            later.join()
        after = cores_of_threads()
    finally:
        is_over.set()
        earlier.join()
    assert len(set(map(frozenset, inside))) == 1
    assert len(inside[0]) == 1
    assert all(cores == set(CORES) for cores in after)


def test_a_process_that_has_one_core_keeps_it() -> None:
    """Where the process may use one core only, that one is not changed, neither inside nor afterwards."""
    os.sched_setaffinity(0, CORES[:1])
    try:
        with on_one_core():
            inside = os.sched_getaffinity(0)
        after = os.sched_getaffinity(0)
    finally:
        os.sched_setaffinity(0, CORES)
    assert inside == after == {CORES[0]}


@pytest.mark.parametrize("text", ["", "cpu  1 2 3 4 5 6 7 8 9 10\n", f"cpu{CORES[0]} 1 2 3 4 5 6 7 8 9 10\n"])
def test_it_stays_on_all_cores_where_the_system_does_not_show_how_busy_each_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Some containers show no cores, or one: it could not leave a core that others keep busy."""
    (shown := tmp_path / "stat").write_text(text)
    monkeypatch.setattr(one_core, "_CORES", shown)
    with on_one_core():
        assert os.sched_getaffinity(0) == set(CORES)


@pytest.mark.parametrize(
    ("busy", "own", "better"),
    [
        ({0: 1.0, 1: 0.0}, 1.0, 0),
        ({0: 1.0, 1: 0.1}, 0.4, 1),
        ({0: 1.0, 1: 0.5}, 0.5, 0),
        ({0: 0.3, 1: 0.0}, 0.1, 0),
        ({0: 1.0, 1: 1.0}, 0.3, 0),
        ({0: 1.0, 1: 0.3, 2: 0.05}, 0.1, 2),
    ],
    ids=["alone", "shared", "no better", "hardly shared", "all are busy", "the freest of several"],
)
def test_it_moves_only_where_others_take_its_core_and_another_is_freer(
    busy: dict[int, float], own: float, better: int
) -> None:
    """A core is left only for another of which clearly more is free than others leave of this one."""
    assert better_core(0, busy, own) == better


def test_only_lines_of_the_usual_shape_are_counted() -> None:
    """What is idle or waits for a disk is not busy; the sum of all cores, other cores and odd lines are passed over."""
    text = """\
cpu  100 0 0 0 0 0 0 0 0 0
cpu0 1 2 4 1000 1000 8 16 32 500 500
cpu1 5 5 5 5 5 5 5 5 0 0
cpu2 7
cpu3 a b c d e f g h

intr 1 2 3"""
    assert busy_ticks(text, {0, 2, 3}) == {0: 63}


def cores_of_threads() -> list[set[int]]:
    return [set(os.sched_getaffinity(int(task.name))) for task in Path("/proc/self/task").iterdir()]
