"""Draws tables and facts: as wide as the screen, with colours; without a screen a row a line, whatever its length."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mcimport.report.columns import Columns, colour

_WIDE = 10_000  # columns where nothing sets a width: as wide as the longest row
_NARROW = 80  # columns; on a narrower screen no column is left out, and a table that does not fit becomes blocks
_NARROWEST = 40  # columns that sentences and blocks need: an even narrower screen gets lines that are too long
_GAP = 2
_LEAST_PROSE = 24  # columns that a text needs to be readable when it is wrapped
_NO_BREAK = "\ue000"  # in the place of a space at which no line may end; of private use, so it is in no text


def make_console(stream: TextIO) -> Console:
    """Returns a console that takes no text for markup, and escapes what the stream's encoding lacks.

    Its width is the terminal's, or what COLUMNS says; without either it is wider than any row.
    """
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    width = None if stream.isatty() else _set_width() or _WIDE
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def screen_columns(stream: TextIO, otherwise: int) -> int:
    """Returns the width for sentences: the terminal's, or what COLUMNS says, never too narrow to read them."""
    width = make_console(stream).width
    return otherwise if width == _WIDE else max(_NARROWEST, width)


def is_plain(stream: TextIO) -> bool:
    """Returns whether the stream's encoding may lack block characters."""
    return "utf" not in (stream.encoding or "utf-8").lower()


def print_table(stream: TextIO, columns: Columns, rows: Sequence[Sequence[str]]) -> None:
    """Writes a table; numbers are right-aligned.

    A screen leaves out columns until the others fit beside each other. Where too many would have to go, each row is a
    block with a fact a line, which leaves out nothing. Without a screen each row is one line with all columns.
    """
    console = make_console(stream)
    flat = [[cell.replace("\n", "; ") for cell in row] for row in rows]
    if console.width == _WIDE:
        lines = _row_a_line(console, columns, flat)
    elif (shown := _fitting(columns, flat, console.width)) is None:
        lines = _blocks(console, columns.heads, rows)
    else:
        lines = _drawn(console, _table(columns, flat, shown))
        lines = _with_texts(console, columns, rows, lines) if columns.below else lines
    _write(stream, lines)


def room_for(stream: TextIO, heads: Sequence[str], rows: Sequence[Sequence[str]], head: str) -> int:
    """Returns how many characters of the screen are left for the column `head`, beside all of the others."""
    widths = _least_widths(Columns(tuple(heads)), rows)
    return make_console(stream).width - _needed(widths) + widths[heads.index(head)]


def print_facts(stream: TextIO, facts: Iterable[tuple[str, str]]) -> None:
    """Writes a line for each fact, its subject first, which wraps between words on a screen; none without words."""
    _write(stream, _facts(make_console(stream), facts))


def print_lines(stream: TextIO, lines: Iterable[str]) -> None:
    """Writes sentences, each on a line, which wraps between words on a screen."""
    console = make_console(stream)
    _write(stream, [part for line in lines for part in wrapped(console, line)])


def wrapped(console: Console, line: str) -> list[str]:
    """Returns the line as it is where it fits, else in parts, all but the first of which are indented."""
    if cell_len(line) <= console.width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + _GAP)
    width = max(_NARROWEST, console.width) - len(indent)
    first, *rest = Text(_with_whole_commands(line)).wrap(console, width)
    parts = [first.plain.rstrip(), *(f"{indent}{part.plain.strip()}" for part in rest)]
    return [part.replace(_NO_BREAK, " ") for part in parts]


def _set_width() -> int | None:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) or None if columns.isdecimal() else None


def _fitting(columns: Columns, rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Returns the places of the columns that fit beside each other; None where too many would have to go."""
    least = _least_widths(columns, rows)
    shown = [place for place, head in enumerate(columns.heads) if head not in columns.below]
    droppable = columns.drop_order(rows) if width >= _NARROW else []
    while _needed(least[place] for place in shown) > width:
        if not droppable:
            return None
        shown.remove(droppable.pop(0))
    return shown


def _least_widths(columns: Columns, rows: Sequence[Sequence[str]]) -> list[int]:
    longest = [max(map(cell_len, column)) for column in zip(columns.heads, *rows, strict=True)]
    return [
        min(_LEAST_PROSE, width) if head == columns.wrapped else width
        for head, width in zip(columns.heads, longest, strict=True)
    ]


def _needed(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + _GAP * (len(found) - 1)


def _row_a_line(console: Console, columns: Columns, rows: Sequence[Sequence[str]]) -> list[str]:
    console.width = max(_WIDE, _needed(_least_widths(columns, rows)))
    return _drawn(console, _table(columns, rows, range(len(columns.heads))))


def _with_texts(console: Console, columns: Columns, rows: Sequence[Sequence[str]], lines: Sequence[str]) -> list[str]:
    """Returns the lines of a table, each row of which is one line, with the texts that are below the row."""
    head, *drawn = lines
    texts = (_below(console, columns, row) for row in rows)
    return [head, *(part for line, text in zip(drawn, texts, strict=True) for part in (line, *text))]


def _below(console: Console, columns: Columns, row: Sequence[str]) -> Iterator[str]:
    for head in columns.below:
        for sentence in filter(None, row[columns.heads.index(head)].split("\n")):
            yield from _drawn(console, Padding(_coloured(head, sentence), (0, 0, 0, _GAP)))


def _blocks(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the facts of each row; an empty line is between two rows."""
    blocks = [_facts(console, zip(heads, row, strict=True)) for row in rows]
    return [line for block in blocks for line in ("", *block)][1:]


def _facts(console: Console, facts: Iterable[tuple[str, str]]) -> list[str]:
    console.width = max(_NARROWEST, console.width)
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, words in facts:
        if words:
            grid.add_row(Text(name), _coloured(name, words))
    return _drawn(console, grid)


def _table(columns: Columns, rows: Sequence[Sequence[str]], shown: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False, header_style="bold")
    for place in shown:
        head = columns.heads[place]
        is_number = bool(rows) and all(_is_number(row[place]) for row in rows)
        table.add_column(
            head, justify="right" if is_number else "left", no_wrap=head != columns.wrapped, overflow="fold"
        )
    for row in rows:
        table.add_row(*(_coloured(columns.heads[place], row[place]) for place in shown))
    return table


def _coloured(head: str, words: str) -> Text:
    text = Text(_with_whole_commands(words))
    text.stylize(colour(head, words))  # as the style of the whole text it would also be that of the blanks beside it
    return text


def _drawn(console: Console, picture: RenderableType) -> list[str]:
    with console.capture() as drawn:
        console.print(picture)
    return [line.rstrip().replace(_NO_BREAK, " ") for line in drawn.get().split("\n")[:-1]]


def _with_whole_commands(text: str) -> str:
    """Returns the text such that no line ends inside a command, which could then not be copied."""
    return re.sub("`[^`]*`", lambda command: command[0].replace(" ", _NO_BREAK), text)


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").isdigit() or cell in ("", "-")
