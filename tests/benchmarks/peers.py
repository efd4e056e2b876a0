"""`make bench-peers`: the importer beside what one would take instead, on one list, each in a process of its own.

Every peer from PyPI is installed into an environment of its own, in a cache outside the project. One that does not
install, cannot be pointed at this machine or fails becomes a row with the reason, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, this file's own package is not found

from benchmarks.base import present_python, python_of
from benchmarks.compared import LATENCY, LEAVERS, Speed, lost, speed, warm_box
from benchmarks.contestants import PEERS, Contestant, installed, ours, sequential
from benchmarks.figures import Scale
from benchmarks.run import WIDTH, _machine, _number

MOST_WORDS = 160  # characters of a reason


@dataclass(slots=True)
class Row:
    """One line of the table; what could not be measured is None, and `reason` says why.

    Attributes:
        does: a peer that only reads has less to do than one that pushes, too.
        lost: unchanged members, while others were archived after each page.
    """

    name: str
    version: str = ""
    does: str = ""
    speed: Speed | None = None
    lost: int | None = None
    reason: str = ""


Making = tuple[str, Callable[[], Contestant]]
Say = Callable[[str], None]


def main() -> int:
    asked = _arguments()
    size, console = Scale(asked.quick).of(20_000, 4_000), Console(stderr=True)
    busy_before = os.getloadavg()[0]
    cache = user_cache_path("mcimport-bench-base")
    makings: list[Making] = [
        ("mcimport", lambda: ours("mcimport", present_python(cache))),
        ("sequential importer", sequential),
    ]
    if asked.base:
        name = f"mcimport at {asked.base}"
        makings.append((name, lambda: ours(name, python_of(asked.base, cache))))
    makings += [(peer.package, partial(installed, peer, asked.cache)) for peer in PEERS if peer.package in asked.names]
    with console.status("…") as status:
        rows = _rows(makings, size, lambda words: status.update(f"{words} …"))
    machine = _machine(busy_before)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(_table(rows, size, machine))
    if asked.out:
        document = {"machine": machine, "members": size, "latency": LATENCY, "rows": list(map(asdict, rows))}
        asked.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if rows[0].reason else 0  # the importer itself must be measured, whoever else cannot be


def _arguments() -> argparse.Namespace:
    names = [peer.package for peer in PEERS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(names)}; none: all")
    parser.add_argument("--quick", action="store_true", help="a small list: to see that it runs, not to quote")
    parser.add_argument("--base", metavar="COMMIT", help="an earlier commit, to be measured beside this one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there, as JSON")
    parser.add_argument(
        "--cache",
        type=Path,
        default=user_cache_path("mcimport-bench-peers"),
        metavar="FOLDER",
        help="the environments, which stay for the next time; remove it to get newer releases",
    )
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in names]:
        parser.error(f"no peer is called {unknown[0]}: there are {', '.join(names)}")
    asked.names = asked.names or names
    return asked


def _rows(makings: Sequence[Making], size: int, say: Say) -> list[Row]:
    """All are timed before anybody is lost: the sandbox of that is in this process, and makes it large."""
    rows = {name: Row(name) for name, _ in makings}
    ready = _ready(makings, rows, say)
    with warm_box(size) as sandbox:
        for one in ready:
            say(f"{one.name}: speed")
            with _excused(rows[one.name]):
                rows[one.name].speed = speed(one, sandbox)
    for one in ready:
        say(f"{one.name}: whom it loses")
        if rows[one.name].speed is not None:
            with _excused(rows[one.name]):
                rows[one.name].lost = lost(one, size)
    return list(rows.values())


def _ready(makings: Sequence[Making], rows: dict[str, Row], say: Say) -> list[Contestant]:
    ready = []
    for name, make in makings:
        say(f"{name}: installing")
        with _excused(rows[name]):
            ready.append(one := make())
            rows[name].version = one.version
            rows[name].does = "reads, pushes" if one.pushes else "only reads"
    return ready


@contextmanager
def _excused(row: Row) -> Iterator[None]:
    """What goes wrong with one becomes its reason, and the whole of it is told on standard error."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are measured all the same
        complaint = _without_command(str(error)) or type(error).__name__
        sys.stderr.write(f"{row.name}: {complaint}\n")
        row.reason = _in_a_line(complaint)


def _without_command(complaint: str) -> str:
    """How a process ended and all it said, but not what it was started with: folders and keys."""
    _, ended, rest = complaint.partition(" ended with ")
    return f"ended with {rest}" if ended else complaint


def _in_a_line(complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return " ".join([lines[0], *lines[1:][-1:]])[:MOST_WORDS].rstrip(":")


def _table(rows: Sequence[Row], size: int, machine: dict[str, Any]) -> Table:
    title = f"{size:,} members, {LATENCY} s an answer, Ometria unlimited; start-up included"
    caption = f"{machine['cores']} cores, Python {machine['python']}, load before {machine['load'][0]}"
    table = Table("", "does", title=title, caption=caption)
    lost_to = f"lost, {LEAVERS} archived\nafter each page"
    for name in ("members/s", "first request\nafter s", "processor\nµs/member", "peak memory\nMB", lost_to):
        table.add_column(name, justify="right")
    table.add_column("why not")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    one = row.speed
    timed = ["-"] * 4 if one is None else [_number(value) for value in asdict(one).values()]
    missing = "-" if row.lost is None else f"{row.lost:,}"
    return [f"{row.name} {row.version}".strip(), row.does, *timed, missing, row.reason]


if __name__ == "__main__":
    sys.exit(main())
