"""A child process that is killed from within the sandbox, at the nth time that something happens there; or limited."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Literal, get_args

from conftest import CommandResult, Importer
from fork_server import PLENTY, Child, ForkServer, Limits

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.settings import SandboxSettings

Moment = Literal["request arrives", "push arrives", "page is chosen", "page is written"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)
AWAY = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 128 + signal.SIGTERM}
"""How a process ends that a signal reached: as the system says it, or as the contract does."""

STILL_ANSWERING = 30  # seconds after which the sandbox is


def run_and_kill(
    server: ForkServer, importer: Importer, words: Sequence[str], number: signal.Signals, moment: Moment, nth: int
) -> CommandResult:
    """The command, which gets the signal at the nth such moment, if that comes. Ends as `limited` does."""
    child: Future[Child] = Future()
    with _striking(importer.sandbox.settings, moment, _nth_time(nth, lambda: _signal(child.result().number, number))):
        child.set_result(_started(server, importer, words, PLENTY))
        return _end(child.result(), importer)


def limited(server: ForkServer, importer: Importer, words: Sequence[str], limits: Limits) -> CommandResult:
    """The command on a machine that gives it no more than that.

    Raises TimeoutError when the child hangs. When this returns no request of the child's is open.
    """
    return _end(_started(server, importer, words, limits), importer)


def _started(server: ForkServer, importer: Importer, words: Sequence[str], limits: Limits) -> Child:
    options = ("--config", str(importer.config), "--db", str(importer.db))
    return server.start([*options, *words], importer.folder, limits)


def _end(child: Child, importer: Importer) -> CommandResult:
    code = child.ended()
    _answers_end(importer)
    out, err = ((importer.folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
    return CommandResult(code, out, err)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it gave up the request, and was over before this was answered
        os.killpg(group, number)


def _nth_time(nth: int, send_signal: Callable[[], None]) -> Callable[[], None]:
    """Moments come in the sandbox's one thread."""
    calls = itertools.count(1)

    def come() -> None:
        if next(calls) == nth:
            send_signal()

    return come


@contextlib.contextmanager
def _striking(knobs: SandboxSettings, moment: Moment, come: Callable[[], None]) -> Iterator[None]:
    """Whatever the knobs do at that moment already, they do as well."""
    before = knobs.fault, knobs.on_page, knobs.after_page

    def decide(request: Request) -> str | None:
        if moment == "request arrives" or request.path == "/push":
            come()
        return None if before[0] is None else before[0](request)

    def also(hook: Callable[[Audience], object] | None) -> Callable[[Audience], None]:
        def look(audience: Audience) -> None:
            come()
            if hook is not None:
                hook(audience)

        return look

    if moment == "page is chosen":
        knobs.on_page = also(before[1])
    elif moment == "page is written":
        knobs.after_page = also(before[2])
    else:
        knobs.fault = decide
    try:
        yield
    finally:
        knobs.fault, knobs.on_page, knobs.after_page = before


def _answers_end(importer: Importer) -> None:
    """What a dead process had asked for is not open any more when the next one begins."""
    deadline = time.monotonic() + STILL_ANSWERING
    while any(not one.finished for one in importer.sandbox.requests):
        assert time.monotonic() < deadline, "the sandbox goes on answering a process that is dead"
        threading.Event().wait(0.005)
