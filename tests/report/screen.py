"""A terminal's screen, as far as the live display uses one, with the lines that were scrolled off its top."""

from __future__ import annotations

import re

_PARTS = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+")


class Screen:
    """Shows what is written to it. A resize wraps lines anew, as most terminals do, or cuts them: `wraps_anew`."""

    def __init__(self, width: int, height: int, *, wraps_anew: bool = True) -> None:
        self.width, self.height = width, height
        self._wraps_anew = wraps_anew
        self._rows: list[str] = [""]
        self._goes_on: set[int] = set()  # rows that are followed by the rest of their line
        self._row = self._column = 0
        self._kept = 0  # the first row that can be on the screen
        self._wraps = True
        self._left = ""

    @property
    def lines(self) -> list[str]:
        """What can be read on it, and above it."""
        return [row.rstrip() for row in self._rows if row.strip()]

    @property
    def breaks_words(self) -> bool:
        """Says whether a line was too long for it, so that it goes on in the next row wherever it was."""
        return bool(self._goes_on)

    def write(self, text: str) -> None:
        text = self._left + text
        cut = text.rfind("\x1b")
        self._left = text[cut:] if cut >= 0 and not _PARTS.match(text, cut) else ""
        for found in _PARTS.finditer(text[: len(text) - len(self._left)]):
            if found[2]:
                self._control(found[1], found[2])
            elif found[0] == "\r":
                self._column = 0
            elif found[0] == "\n":
                self._down()
                self._column = 0
            else:
                self._print(found[0])

    def resize(self, width: int, height: int) -> None:
        """Changes its size; the cursor stays at its character, and is on the screen."""
        self.width, self.height = width, height
        if not self._wraps_anew:
            self._rows = [row[:width] for row in self._rows]
            self._column = min(self._column, width - 1)
            return
        rows, goes_on, place, self._kept = self._rows, self._goes_on, (self._row, self._column), 0
        self._rows, self._goes_on, line, at = [], set(), "", -1
        for number, row in enumerate(rows):
            at = len(line) + place[1] if number == place[0] else at
            line += row
            if number in goes_on:
                continue
            if at >= 0:
                self._row, self._column, at = len(self._rows) + at // width, at % width, -1
            parts = [line[start : start + width] for start in range(0, len(line), width)] or [""]
            self._goes_on.update(range(len(self._rows), len(self._rows) + len(parts) - 1))
            self._rows += parts
            line = ""
        self._rows = self._rows[: max(self._row + 1, self._top + height)]

    @property
    def _top(self) -> int:
        return max(self._kept, self._row + 1 - self.height, len(self._rows) - self.height)

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append("")

    def _print(self, text: str) -> None:
        for character in text:
            if self._column == self.width:
                if not self._wraps:
                    self._column -= 1
                else:
                    self._goes_on.add(self._row)
                    self._down()
                    self._column = 0
            row = self._rows[self._row].ljust(self._column)
            self._rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
            self._column += 1

    def _control(self, argument: str, name: str) -> None:
        if (argument, name) in (("?7", "l"), ("?7", "h")):
            self._wraps = name == "h"
        elif name == "A":
            self._row = max(self._top, self._row - int(argument or 1))
        elif (name, argument) == ("J", "") and (self._row, self._column) == (self._top, 0):
            self._row = len(self._rows)  # tmux keeps what is erased from the whole screen above it
            self._rows.append("")
            self._kept = self._row
        elif (name, argument) == ("J", ""):
            self._rows[self._row] = self._rows[self._row][: self._column]
            del self._rows[self._row + 1 :]
            self._goes_on = {row for row in self._goes_on if row < self._row}
        elif name not in "mhl":
            raise AssertionError(f"the screen does not know {argument}{name}")
