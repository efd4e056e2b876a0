"""The part of a terminal that is drawn again and again: whatever its size does, only what was written stays."""

from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group
from rich.text import Text

from mcimport.report.live_screen import LiveScreen
from report.screen import Screen

LONG = "0123456789" * 12


class Terminal(io.StringIO):
    """A terminal of a size that changes; a program learns of that a moment later."""

    def __init__(self, *, wraps_anew: bool) -> None:
        super().__init__()
        self.screen = Screen(80, 24, wraps_anew=wraps_anew)
        self.lock = threading.Lock()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self.lock:
            self.screen.write(text)
        return len(text)

    def resize(self, width: int, height: int) -> None:
        with self.lock:
            self.screen.resize(width, height)


def picture(rows: int) -> Group:
    return Group(*(Text(LONG, no_wrap=True, overflow="crop") for _ in range(rows)))


@given(st.lists(st.tuples(st.integers(12, 130), st.integers(8, 40)), max_size=12), st.integers(0, 30), st.booleans())
def test_nothing_of_the_picture_is_left_whatever_the_size_did(
    sizes: list[tuple[int, int]],
    rows: int,
    wraps_anew: bool,  # noqa: FBT001 - Hypothesis passes by position
) -> None:
    """After any changes of the size, which the program learns of late, every line is there once, and nothing else."""
    terminal = Terminal(wraps_anew=wraps_anew)
    console = Console(file=terminal, width=80, height=24, force_terminal=True)
    with LiveScreen(console, lambda *_: picture(rows)) as screen:
        for number, (width, height) in enumerate(sizes):
            screen.write([f"list {number}"])
            terminal.resize(width, height)
            console.size = (width + 20, height)
            screen.write([f"wide {number}"])
            console.size = (width, height)
            screen.write([])
    written = [f"{word} {number}" for number in range(len(sizes)) for word in ("list", "wide")]
    assert terminal.screen.lines == written


def test_a_question_is_asked_where_the_picture_was() -> None:
    """While the picture is paused none is drawn, and what others write stays above the next one."""
    terminal = Terminal(wraps_anew=True)
    console = Console(file=terminal, width=80, height=24, force_terminal=True)
    with LiveScreen(console, lambda *_: picture(3)) as screen:
        screen.write(["before"])
        with screen.paused():
            terminal.write("Push them? [y/N] y\n")
            assert terminal.screen.lines == ["before", "Push them? [y/N] y"]
        screen.write([])
        assert terminal.screen.lines == ["before", "Push them? [y/N] y", *[LONG[:80]] * 3]
    assert terminal.screen.lines == ["before", "Push them? [y/N] y"]


def test_a_terminal_that_is_gone_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its window was closed: the error of every write is swallowed."""
    terminal = Terminal(wraps_anew=True)

    def gone(_: str) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(terminal, "write", gone)
    with LiveScreen(Console(file=terminal, force_terminal=True), lambda *_: picture(1)) as screen:
        screen.write(["a line"])
