"""What tests of waiting share: a clock that passes while the program waits, and threads whose end is looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from mcimport.errors import ThrottledError
from mcimport.services.http import connection_limit, rate_limit, retry
from mcimport.services.http.shutdown import StopSignal

PATIENT = 20.0  # seconds after which a thread that was told to leave is taken to hang


class Clock:
    """The time of a test: it passes while somebody waits, and only then."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.pauses: list[float] = []

    def stop(self) -> StopSignal:
        """A stop whose pauses take no time of ours; nobody asks for it."""
        stop = StopSignal()
        stop.requested = stop.aborted = _Passing(self)
        return stop


class _Passing(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.now += timeout or 0.0
        self._clock.pauses.append(timeout or 0.0)
        return self.is_set()


@contextmanager
def passing() -> Iterator[Clock]:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in (connection_limit, rate_limit, retry):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
        yield clock


def in_a_thread(work: Callable[[], object]) -> Callable[[], BaseException | None]:
    """Starts `work`; what is returned waits for its end and says how it failed."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def ended() -> BaseException | None:
        thread.join(PATIENT)
        assert not thread.is_alive(), "it still waits"
        return failed[0] if failed else None

    return ended


def busy(retry_after: float | None = None) -> ThrottledError:
    return ThrottledError("busy", status=429, retry_after=retry_after)
