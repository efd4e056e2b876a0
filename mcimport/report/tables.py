"""Prints tables to a terminal, a pipe or a log: texts as they are, no word broken to fit a width."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 10_000  # columns where no terminal sets a width: as wide as the longest row
_GAP = 2
_LEAST_PROSE = 24  # columns that a text needs to be readable when it is wrapped


def make_console(stream: TextIO) -> Console:
    """Returns a console that takes no text for markup, and escapes what the stream's encoding lacks."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def is_plain(stream: TextIO) -> bool:
    """Returns whether the stream's encoding may lack block characters."""
    return "utf" not in (stream.encoding or "utf-8").lower()


def print_table(stream: TextIO, heads: Sequence[str], rows: Sequence[Sequence[str]], *, prose: str = "") -> None:
    """Writes a table; numbers are right-aligned. `prose`: the head of the one column that may wrap, between words.

    A terminal that is too narrow for the other columns gets lines that are too long; nothing is cut off.
    """
    longest = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    least = [min(_LEAST_PROSE, width) if head == prose else width for head, width in zip(heads, longest, strict=True)]
    console = make_console(stream)
    console.width = max(console.width, sum(least) + _GAP * len(heads))
    with console.capture() as drawn:
        console.print(_table(heads, rows, prose))
    stream.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], prose: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False, header_style="bold")
    for place, head in enumerate(heads):
        is_number = bool(rows) and all(_is_number(row[place]) for row in rows)
        table.add_column(head, justify="right" if is_number else "left", no_wrap=head != prose, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").isdigit() or cell in ("", "-")
