"""The part of a terminal that is drawn again and again, below the lines that stay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from rich.console import Console, RenderableType

EVERY = 0.25  # seconds between two drawings
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CUT_LONG_LINES, _WRAP_LONG_LINES = "\x1b[?7l", "\x1b[?7h"
_ERASE_BELOW = "\r \x1b[J\r"  # from the second column on: from the first of a whole screen, tmux would keep a copy


class LiveScreen:
    """Draws a picture below what was written last, from a thread of its own; a context manager, whose exit erases it.

    Between two drawings the cursor is at the first character of the picture. When its size changes, a terminal may wrap
    the lines of the picture anew, or not, but keeps the cursor at its character: so all of the picture is always below
    the cursor, and can be erased without knowing how it was wrapped. Safe to share between threads.

    Args:
        picture: returns what to draw on so many columns and lines; whatever is too much is cut off.
    """

    def __init__(self, console: Console, picture: Callable[[int, int], RenderableType]) -> None:
        self._console = console
        self._picture = picture
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, name="live display", daemon=True)

    def __enter__(self) -> Self:
        self._send(_HIDE_CURSOR)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._send(_ERASE_BELOW + _SHOW_CURSOR)

    def write(self, lines: Sequence[str]) -> None:
        """Writes lines that stay, above the picture."""
        with self._lock, suppress(OSError):
            self._send(_ERASE_BELOW + "".join(f"{line}\n" for line in lines) + self._drawn())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Erases the picture and draws none in the block, in which others write."""
        with self._lock:
            self._send(_ERASE_BELOW + _SHOW_CURSOR)
            try:
                yield
            finally:
                self._send(_HIDE_CURSOR)

    def _keep_drawing(self) -> None:
        while not self._over.is_set():
            self.write([])
            self._over.wait(EVERY)

    def _drawn(self) -> str:
        """Returns the picture as the terminal takes it, and the way back to its first character."""
        width, height = self._console.size
        with self._console.capture() as captured:
            self._console.print(self._picture(width, height))
        lines = captured.get().rstrip("\n").split("\n")[: height - 1]
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        return _CUT_LONG_LINES + "\n".join(lines) + _WRAP_LONG_LINES + up + "\r"

    def _send(self, text: str) -> None:
        with suppress(OSError):  # a terminal that is gone does not end a run
            self._console.file.write(text)
            self._console.file.flush()
