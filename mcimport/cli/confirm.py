"""Asks the person at the terminal, on standard error, before something is changed for good."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mcimport.cli.output import screen_lines
from mcimport.errors import ConfigError, InterruptedRunError


def check_terminal(words: str, *, hint: str) -> None:
    """Raises ConfigError, which begins with `words`, where standard input is no terminal."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{words}: not running in a terminal", hint=hint)


def confirm(question: str, *, wakeup: int | None = None) -> bool:
    """Returns whether the answer is yes; everything else, the end of input too, is no."""
    return ask(f"{question} [y/N]", wakeup=wakeup) in ("y", "yes")


def ask(question: str, *, wakeup: int | None = None) -> str:
    """Writes the question and returns the line that is typed, stripped and in lower case.

    `wakeup`: see `wakeup_on_signals`.
    """
    *lines, last = screen_lines(sys.stderr, question)
    sys.stderr.write("".join(f"{line}\n" for line in lines) + f"{last} ")
    sys.stderr.flush()
    if wakeup is not None:
        select.select([sys.stdin, wakeup], [], [])  # a signal just before a bare read would not end that read
    return sys.stdin.readline().strip().lower()


@contextmanager
def wakeup_on_signals() -> Iterator[int]:
    """Lets SIGINT and SIGTERM end a wait for an answer, after the handlers that were there have run.

    While a command works, those only ask the work to end. Yields a file descriptor that can be read once a signal has
    come. Raises InterruptedRunError then.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(number: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        raise InterruptedRunError("stopped")

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer)
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous)
        os.close(reader)
        os.close(writer)
