"""`make bench`: every figure from fresh processes, beside a ceiling or a floor of the same run, as a table and as JSON.

A bound that does not hold is marked and ends nothing: only a benchmark that breaks makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, this file's own package is not found

from broker.rabbit import is_installed

from benchmarks import (
    beside_base,
    ceiling,
    conversion,
    growth,
    history,
    idle,
    memory,
    naive,
    over_a_broker,
    processor,
    reconciling,
    rounds,
    sandbox_cost,
    thousand,
    transfer,
    wide_link,
    year,
)
from benchmarks.base import present_python, python_of
from benchmarks.figures import Benchmark, Figure, Scale

BENCHMARKS: dict[str, Benchmark] = {
    "sandbox": sandbox_cost.measure,
    "conversion": conversion.measure,
    "processor": processor.measure,
    "ceiling": ceiling.measure,
    "wide-link": wide_link.measure,
    "transfer": transfer.measure,
    "idle": idle.measure,
    "history": history.measure,
    "thousand": thousand.measure,
    "memory": memory.measure,
    "growth": growth.measure,
    "naive": naive.measure,
    "reconciling": reconciling.measure,
    "rounds": rounds.measure,
    "year": year.measure,
    "engine": over_a_broker.measure,
}
SLOW = ("year",)  # measured only if asked for by name
UNASKED = [name for name in BENCHMARKS if name not in SLOW and (name != "engine" or is_installed())]
WIDTH = 160  # characters of a table that goes to a file
MARKS = {None: "", True: "[green]yes[/]", False: "[red]NO[/]"}


def main() -> int:
    asked = _arguments()
    scale, console = Scale(asked.quick), Console(stderr=True)
    busy_before = os.getloadavg()[0]
    measured: dict[str, list[Figure]] = {}
    broken = []
    benchmarks = dict(BENCHMARKS)
    if asked.base:
        cache = user_cache_path("mcimport-bench-base")
        pythons = present_python(cache), python_of(asked.base, cache)
        benchmarks["base"] = partial(beside_base.measure, present=pythons[0], base=pythons[1])
    for name in asked.names or ([*UNASKED, "base"] if asked.base else UNASKED):
        measured[name] = []
        try:
            with console.status(f"{name} …"):
                for figure in benchmarks[name](scale):
                    measured[name].append(figure)
                    console.print(f"{name}: {figure.name}: {_number(figure.value)} {figure.unit}", markup=False)
        except Exception:  # noqa: BLE001 - one that breaks is told of, and the others are measured all the same
            traceback.print_exc()
            broken.append(name)
    machine = _machine(busy_before)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(_table(measured, machine, is_quick=scale.is_quick))
    if asked.out:
        asked.out.write_text(json.dumps(_document(measured, machine, broken, scale), indent=1) + "\n", encoding="utf-8")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs, not to quote")
    parser.add_argument("--base", metavar="COMMIT", help="an earlier commit, to be measured beside this one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there, as JSON")
    asked = parser.parse_args()
    known = [*BENCHMARKS, *(["base"] if asked.base else [])]
    if unknown := [name for name in asked.names if name not in known]:
        parser.error(f"no benchmark is called {unknown[0]}: there are {', '.join(known)}")
    return asked


def _machine(busy_before: float) -> dict[str, Any]:
    """`load`: the system's own average, before and after; above 1.5 before, something else was at work."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(busy_before, 2), round(os.getloadavg()[0], 2)],
    }


def _table(measured: dict[str, list[Figure]], machine: dict[str, Any], *, is_quick: bool) -> Table:
    sizes = "small sizes: not to be quoted" if is_quick else "full sizes"
    caption = f"{machine['cores']} cores, Python {machine['python']}, load before {machine['load'][0]}; {sizes}"
    table = Table("benchmark", "figure", caption=caption)
    for name in ("measured", "beside", "share"):
        table.add_column(name, justify="right")
    table.add_column("bound")
    table.add_column("holds")
    for name, figures in measured.items():
        for number, one in enumerate(figures):
            table.add_row(*_cells(name if number == 0 else "", one), end_section=number == len(figures) - 1)
    return table


def _cells(name: str, one: Figure) -> list[str]:
    share = "" if one.share is None else f"{100 * one.share:,.1f} %"
    beside = f"{_number(one.baseline)} {one.unit}\n[dim]{one.beside}[/]"
    return [name, one.name, f"{_number(one.value)} {one.unit}", beside, share, one.bound, MARKS[one.holds]]


def _number(value: float) -> str:
    """Three digits that count."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _document(
    measured: dict[str, list[Figure]], machine: dict[str, Any], broken: list[str], scale: Scale
) -> dict[str, Any]:
    figures = [
        {"benchmark": name, **asdict(one), "share": one.share} for name, some in measured.items() for one in some
    ]
    return {"machine": machine, "quick": scale.is_quick, "broken": broken, "figures": figures}


if __name__ == "__main__":
    sys.exit(main())
