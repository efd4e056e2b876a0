"""Progress on a terminal: a row a list at work, and one for all of them."""

from __future__ import annotations

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mcimport.report.tally import Progress, Snapshot
from mcimport.report.words import clock, counted

MOST_ROWS = 15
_OTHER_LINES = 5  # the head, the sum, "and … more", and a little air
_WIDE_ENOUGH_FOR_BARS = 100  # columns; below it the numbers need them all
_NAME_WIDTH = 30
_HEADS = ("contacts", "windows", "contacts/s", "left")


def picture(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """What a terminal of so many columns and lines shows; empty when nothing is at work."""
    if not snapshot.live:
        return Text()
    most = max(1, min(MOST_ROWS, height - _OTHER_LINES))
    with_bars = width >= _WIDE_ENOUGH_FOR_BARS
    grid = _grid(with_bars=with_bars)
    for progress in snapshot.live[:most]:
        grid.add_row(*_cells(progress, snapshot.now, with_bars=with_bars))
    if len(snapshot.live) > most:
        grid.add_row(Text(f"and {counted(len(snapshot.live) - most, 'more list')}", style="dim"))
    if len(snapshot.live) > 1 or snapshot.ended:
        grid.add_row(*_cells(_sum(snapshot), snapshot.now, with_bars=with_bars), style="bold")
    return grid


def _grid(*, with_bars: bool) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, expand=with_bars, header_style="dim")
    grid.add_column("list", no_wrap=True, overflow="ellipsis", max_width=_NAME_WIDTH)
    if with_bars:
        grid.add_column("", ratio=1)
    grid.add_column("members", justify="right", no_wrap=True)
    for head in _HEADS:
        grid.add_column(head, justify="right", no_wrap=True)
    return grid


def _cells(progress: Progress, now: float, *, with_bars: bool) -> list[RenderableType]:
    left = progress.left(now)
    bar = [ProgressBar(total=max(1, progress.total), completed=min(progress.read, progress.total))] if with_bars else []
    return [
        Text(progress.name),
        *bar,
        Text(f"{progress.read:,} of {progress.total:,}"),
        Text(f"{progress.pushed:,}"),
        Text(f"{progress.done:,} of {progress.windows:,}"),
        Text(f"{progress.speed(now):,.0f}"),
        Text("-" if left is None else clock(left)),
    ]


def _sum(snapshot: Snapshot) -> Progress:
    everything = snapshot.sum
    return Progress(
        f"{len(snapshot.live):,} at work, {snapshot.ended:,} done",
        "",
        everything.began,
        everything.total,
        everything.windows,
        everything.read,
        everything.pushed,
        everything.done,
    )
