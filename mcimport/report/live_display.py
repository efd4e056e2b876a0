"""The live display on a terminal: a row for each list that is worked on, one for all, and what is waited for."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mcimport.report.format import clock, out_of, pluralize
from mcimport.report.progress import Progress, Snapshot
from mcimport.report.waits import stop_text

MOST_ROWS = 15
MOST_WAITS = 5  # lines; of more lists that wait, the last line says how many
_OTHER_LINES = 5  # the head, the sum, "and … more", and a little air
_WIDE_ENOUGH_FOR_BARS = 100  # columns; below it the numbers need them all
_LEAST_NAME, _MOST_NAME = 12, 30  # columns
_GAP = 2
_WINDOWS = 2  # the column that a narrow terminal leaves out
_HEADS: tuple[str, ...] = ("members", "contacts", "time ranges", "contacts/s", "left")
_HEADS_OF_COMPARISON: tuple[str, ...] = ("in Mailchimp", "in Ometria", "time ranges", "read/s", "left")


def render(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """Returns what a terminal of `width` columns and `height` lines shows; empty when no list is worked on."""
    below = _below(snapshot, max(1, min(MOST_WAITS, height // 4)))
    if not snapshot.live:
        return Group(*below)
    most = max(1, min(MOST_ROWS, height - _OTHER_LINES - len(below)))
    return Group(_rows(snapshot, most, width), *below)


def _rows(snapshot: Snapshot, most: int, width: int) -> Table:
    shown, more = snapshot.live[:most], len(snapshot.live) - most
    has_sum = len(snapshot.live) > 1 or snapshot.ended > 0
    summed = replace(snapshot.sum, name=f"{len(snapshot.live):,} running, {snapshot.ended:,} done")
    everything = [*shown, *([summed] if has_sum else [])]
    left = [*(progress.left(snapshot.now) for progress in shown), *([snapshot.left] if has_sum else [])]
    heads, *numbers = table = _fitting(everything, left, snapshot.now, width)
    with_bars = width >= _WIDE_ENOUGH_FOR_BARS
    grid = _grid(max(_LEAST_NAME, min(_MOST_NAME, _room(table, width))), heads, with_bars=with_bars)
    for place, (progress, cells) in enumerate(zip(everything, numbers, strict=True)):
        if place == most and more > 0:
            grid.add_row(Text(f"and {more:,} more", style="dim"))
        bar = [_bar(progress)] if with_bars else []
        grid.add_row(Text(progress.name), *bar, *cells, style="bold" if place == len(shown) else "")
    return grid


def _bar(progress: Progress) -> ProgressBar:
    total = progress.total + progress.held_total
    return ProgressBar(max(1, total), min(progress.read + progress.ahead + progress.held, total))


def _below(snapshot: Snapshot, most: int) -> list[Text]:
    """Returns a line for each list that waits or, once a stop was requested, one for all of them."""
    if snapshot.is_stopping:
        return [_line(stop_text(snapshot.pages), "yellow")]
    is_alone = len(snapshot.live) == 1
    lines = [words if is_alone else f"{name}: {words}" for name, words in snapshot.waits]
    if len(lines) > most:
        lines[most - 1 :] = [f"and {pluralize(len(lines) - most + 1, 'list')} more"]
    return [_line(words, "dim") for words in lines]


def _line(words: str, style: str) -> Text:
    return Text(words, style=style, no_wrap=True, overflow="ellipsis")


def _grid(name_width: int, heads: Sequence[str], *, with_bars: bool) -> Table:
    grid = Table(
        box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False, expand=with_bars, header_style="dim"
    )
    grid.add_column("list", no_wrap=True, overflow="ellipsis", max_width=name_width)
    if with_bars:
        grid.add_column("", ratio=1)
    for head in heads:
        grid.add_column(head, justify="right", no_wrap=True)
    return grid


def _fitting(
    everything: Sequence[Progress], left: Sequence[float | None], now: float, width: int
) -> list[tuple[str, ...]]:
    """Returns heads and numbers; without the time ranges where the names would get no room."""
    heads = _HEADS_OF_COMPARISON if any(progress.is_comparison for progress in everything) else _HEADS
    table = [heads, *(_numbers(progress, seconds, now) for progress, seconds in zip(everything, left, strict=True))]
    if _room(table, width) >= _LEAST_NAME:
        return table
    return [(*row[:_WINDOWS], *row[_WINDOWS + 1 :]) for row in table]


def _room(table: Sequence[Sequence[str]], width: int) -> int:
    """Returns the columns that the numbers leave to names: a name can be cut, a cut number would be wrong."""
    longest = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    return width - sum(longest) - _GAP * (len(longest) + 1)


def _numbers(progress: Progress, left: float | None, now: float) -> tuple[str, ...]:
    """Returns the cells below the heads; blank before anything is planned."""
    if not progress.is_planned:
        return ("",) * len(_HEADS)
    held = out_of(min(progress.held, progress.held_total), progress.held_total)
    return (
        _read(progress),
        held if progress.is_comparison else f"{progress.pushed + progress.ahead:,}",
        out_of(progress.done, progress.windows),
        f"{progress.speed(now):,.0f}",
        "-" if left is None else clock(left),
    )


def _read(progress: Progress) -> str:
    """Returns the members read; of how many only where that is known: not always of a dead letter's."""
    read = progress.read + progress.ahead
    if 0 < progress.total >= progress.read:
        return out_of(min(read, progress.total), progress.total)
    return f"{read:,}"
