"""Work beside the present thread: done once, and never waited for in vain."""

from __future__ import annotations

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

import pytest
from conftest import MakeImporter

from mcimport.errors.machine import pip, submit


def test_work_that_a_pool_had_not_begun_is_cancelled_with_the_pool() -> None:
    """Where it is not, who waits for it waits for ever: a crowded second with few threads hung so."""
    begun, may_end = Event(), Event()
    pool = ThreadPoolExecutor(1)

    def work() -> str:
        begun.set()
        assert may_end.wait(30)
        return "done"

    first, second = submit(pool, work), submit(pool, work)
    assert begun.wait(30)
    pool.shutdown(wait=False, cancel_futures=True)
    assert wait([second], 30).done == {second}
    assert second.cancelled()
    may_end.set()
    assert first.result(30) == "done"


def test_work_is_done_here_and_once_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool keeps what it could not begin, and comes to it with the next thread that it gets."""
    done: list[int] = []
    pool = ThreadPoolExecutor(2)
    with monkeypatch.context() as patch:
        patch.setattr("threading._start_new_thread", _no_thread)
        assert submit(pool, lambda: done.append(1)).done()
    submit(pool, lambda: done.append(2)).result(30)
    pool.shutdown()
    assert done == [1, 2]


def test_a_missing_extra_is_all_that_is_said_with_the_pip_of_this_environment(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pip would install it where mcimport does not look; that there are no settings matters later."""
    importer = make_importer()
    importer.config.unlink()
    monkeypatch.setitem(sys.modules, "datasette", None)
    result = importer("ui")
    assert (result.code, result.err.splitlines()) == (
        2,
        [
            "mcimport: `mcimport ui` needs the ui extra, which is not installed",
            f"  In mcimport's source folder: {pip()} install --constraint constraints.txt '.[ui]'",
        ],
    )
    shown = subprocess.run([*shlex.split(pip()), "--version"], capture_output=True, text=True, check=True).stdout
    assert sys.prefix in shown


def _no_thread(*_: object) -> None:
    raise RuntimeError("can't start new thread")
