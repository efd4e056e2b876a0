"""Draws two pictures of what `make bench` measured: throughput against the ceiling, memory against list size.

python tests/benchmarks/plot.py bench.json throughput.svg memory.svg; takes what `run.py --out` writes. It needs the
benchmarks `ceiling`, `wide-link`, `naive` and `memory`, and ends with a message when one of them is not there.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, this file's own package is not found

from benchmarks import ceiling, wide_link
from benchmarks.memory import MOST

OURS, OTHER, BOUND, INK = "#2563a8", "#a9b4c0", "#c2410c", "#27303a"
WIDE = 7.2  # inches
SHORT = 0.3  # the share of the ceiling below which a bar does not hold its value
SETTINGS: dict[Any, Any] = {  # matplotlib's type names each of its some three hundred settings
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "mcimport",  # the same figures give the same file
}


@dataclass(frozen=True, slots=True)
class Measured:
    """As in the file; `baseline` has the unit of `value`."""

    benchmark: str
    name: str
    value: float
    unit: str
    baseline: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, how long it is, and whether it is the importer's."""

    label: str
    value: float
    held_by_this_process: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """A ceiling, and the share of it that is asked for."""

    label: str
    value: float
    asked: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bench", "throughput", "memory"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    figures = [_measured(one) for one in json.loads(asked.bench.read_bytes())["figures"]]
    with mpl.rc_context(SETTINGS):
        _save(_throughput(figures), asked.throughput)
        _save(_memory(figures), asked.memory)


def _measured(one: dict[str, Any]) -> Measured:
    return Measured(one["benchmark"], one["name"], one["value"], one["unit"], one["baseline"])


def _found(figures: Iterable[Measured], benchmark: str, beginning: str) -> Measured:
    """The first figure whose name begins so. Ends the program when there is none."""
    for one in figures:
        if one.benchmark == benchmark and one.name.startswith(beginning):
            return one
    sys.exit(f"the file has no figure '{beginning} …' of the benchmark {benchmark}: run that, too")


def _throughput(figures: Sequence[Measured]) -> Figure:
    """Above, pushing beside Ometria's limit; below, reading beside what ten connections carry."""
    pushing = _found(figures, "ceiling", "speed while pushing")
    slow = _found([one for one in figures if "at Ometria's limit" in one.name], "naive", "contacts a second")
    reading = _found(figures, "wide-link", "reading, planning aside")
    figure = Figure(figsize=(WIDE, 3.9), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1.6))
    bars = [
        Bar("mcimport,\nwhile it pushes", pushing.value),
        Bar("mcimport, start to end,\n0.2 s an answer", slow.value),
        Bar("sequential, start to end,\n0.2 s an answer", slow.baseline, held_by_this_process=False),
    ]
    _bars(above, bars, Line("Ometria's limit", pushing.baseline, ceiling.LEAST))
    above.set(title="First sync at Ometria's limit", xlabel="contacts a second")
    line = Line("ten connections", reading.baseline, wide_link.LEAST)
    _bars(below, [Bar("mcimport,\n0.5 s an answer", reading.value)], line)
    below.set(title="Reading on a wide link", xlabel="members a second")
    return figure


def _bars(axes: Axes, bars: Sequence[Bar], line: Line) -> None:
    """Bars that hold their values, the ceiling as a line, what is asked as a dashed one, and their words above."""
    colours = [OURS if one.held_by_this_process else OTHER for one in bars]
    axes.barh([one.label for one in bars], [one.value for one in bars], color=colours, height=0.7)
    for row, one in enumerate(bars):
        _value(axes, row, one, line.value)
    axes.axvline(line.value, color=BOUND, linewidth=1.5)
    axes.axvline(line.asked * line.value, color=BOUND, linewidth=1, linestyle="--")
    words = f"{line.label}: {line.value:,.0f} (dashed: {100 * line.asked:.0f} % asked)"
    axes.annotate(
        words,
        (line.value, 1),
        (0, 3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        color=BOUND,
        ha="right",
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08 * max(line.value, *(one.value for one in bars)))
    axes.xaxis.set_major_formatter(FuncFormatter(_with_commas))


def _value(axes: Axes, row: int, one: Bar, whole: float) -> None:
    """Where its bar begins, away from the lines; beside one that is too short to hold it."""
    is_short = one.value < SHORT * whole
    axes.annotate(
        f"{one.value:,.0f} ({100 * one.value / whole:.1f} %)",
        (one.value if is_short else 0, row),
        (6, 0),
        textcoords="offset points",
        va="center",
        color=INK if is_short or not one.held_by_this_process else "white",
    )


def _with_commas(value: float, _position: object) -> str:
    return f"{value:,.0f}"


def _memory(figures: Sequence[Measured]) -> Figure:
    """The peak of a first sync by the size of the list, between an empty list's and what is asked."""
    points = [(size, one) for one in figures if (size := _size_of(one))]
    if not points:
        sys.exit("the file has no figures of the benchmark memory: run that, too")
    figure = Figure(figsize=(WIDE, 3.2), layout="constrained")
    axes = figure.subplots()
    _curve(axes, [size for size, _ in points], [one.value for _, one in points])
    nobody = points[0][1].baseline
    _level(axes, MOST, f"asked:\nbelow {MOST:.0f} MB", BOUND, "-")
    _level(axes, nobody, f"an empty list:\n{nobody:.0f} MB", INK, ":")
    axes.set(title="Most resident memory of a first sync", xlabel="members of the list", ylabel="MB")
    return figure


def _curve(axes: Axes, sizes: Sequence[int], peaks: Sequence[float]) -> None:
    axes.plot(sizes, peaks, color=OURS, marker="o", linewidth=2)
    for size, peak in zip(sizes, peaks, strict=True):
        away = 8 if peak > MOST else -15  # from the line of the bound
        axes.annotate(f"{peak:.0f} MB", (size, peak), (0, away), textcoords="offset points", ha="center", color=OURS)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_with_commas))
    axes.set_ylim(0, 1.2 * max(MOST, *peaks))
    axes.margins(x=0.12)


def _size_of(one: Measured) -> int:
    """The size in a name like "30,000 members"; 0 for any other figure."""
    matched = re.fullmatch(r"([\d,]+) members", one.name) if one.benchmark == "memory" else None
    return int(matched[1].replace(",", "")) if matched else 0


def _level(axes: Axes, height: float, words: str, colour: str, style: str) -> None:
    """A line across, with its words to the right of the axes, where no curve runs."""
    axes.axhline(height, color=colour, linestyle=style, linewidth=1.5)
    axes.annotate(words, (1.01, height), xycoords=axes.get_yaxis_transform(), va="center", color=colour)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
