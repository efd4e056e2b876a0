"""A sync with nothing to do, after one run and after fifty thousand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from benchmarks.figures import Figure, Scale
from benchmarks.importer import Importer, importer
from benchmarks.sandbox_process import SandboxProcess

TIMES = 9

COPY = """\
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO {table} ({names}) SELECT {values} FROM {table}, n WHERE {key} = ?
"""


def measure(scale: Scale) -> Iterator[Figure]:
    many = scale.of(50_000, 5_000)
    with SandboxProcess(scale.of(2_000, 500)) as sandbox, importer(sandbox) as young, importer(sandbox) as old:
        for one in (young, old):
            one("sync", "--quiet")
            one("sync", "--quiet")
        _age(old, many)
        for name, cost, slack in COSTS:
            # In turns, so that a machine that is busy for a while is so for both.
            costs = [(cost(young), cost(old)) for _ in range(TIMES)]
            little, much = (min(one[side] for one in costs) for side in (0, 1))
            bound = (f"constant (within {slack} ms)", much <= little + slack)
            yield Figure(f"{name}, {many:,} past runs", much, "ms", "two past runs", little, *bound)


def _started_up(one: Importer) -> float:
    return 1e3 * one("sync", "--quiet", is_metered=True).marks.started_up


def _worked(one: Importer) -> float:
    return 1e3 * one("sync", "--quiet", is_metered=True).marks.worked


def _status(one: Importer) -> float:
    return 1e3 * one("status").processor


# With the milliseconds within which two costs are the same: whole processes vary by more than what they do at the end.
COSTS = (
    ("processor of an idle sync to its first request", _started_up, 10),
    ("processor of an idle sync beyond that", _worked, 2),
    ("processor of `status`", _status, 10),
)


def _age(one: Importer, many: int) -> None:
    """Copies of the idle run, and a finished window for each, as hourly syncs of years leave them."""
    with closing(sqlite3.connect(one.db)) as db, db:
        (last,) = db.execute("SELECT max(id) FROM runs").fetchone()
        runs = ", ".join(name for name in _columns(db, "runs") if name != '"id"')
        db.execute(COPY.format(table="runs", names=runs, values=runs, key="id"), [many, last])
        names = ", ".join(_columns(db, "windows"))
        values = names.replace('"run_id"', f"{last} + i").replace('"number"', "0")
        (window,) = db.execute("SELECT min(rowid) FROM windows").fetchone()
        db.execute(COPY.format(table="windows", names=names, values=values, key="windows.rowid"), [many, window])


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [f'"{row[1]}"' for row in db.execute(f"PRAGMA table_info({table})")]
