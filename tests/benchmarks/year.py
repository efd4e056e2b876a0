"""How large the state file gets: a year of five-minute runs of a hundred lists, and a thousand lists each minute.

Each run is a copy of one that the importer's own functions recorded, at another time; each day ends as calls do.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from benchmarks.figures import Figure, Scale
from mcimport.models import Outcome, Usage, Window
from mcimport.models.records import ListRow
from mcimport.models.timestamps import iso
from mcimport.state import State, destinations, open_state, retention, runs
from mcimport.state.destinations import Destination

WITH_CHANGES = 4  # one in so many runs found changes
HOUR, DAY = 3_600, 86_400
KEEP = 90 * DAY  # what `keep` is by default
MOST = 200.0  # MB
CLAIM = 1_073.7  # MB: one gibibyte
FIRST = 1_767_225_600  # 2026-01-01, 00:00 UTC

TIMES = ("since", "until", "through", "started_at", "finished_at", "begun_at")
COPY = "INSERT INTO {table} ({names}) SELECT {values} FROM slots JOIN {table}_copied AS it ON it.{key} = slots.source"


def measure(scale: Scale) -> Iterator[Figure]:
    year = _Story(lists=scale.of(100, 10), interval=300, days=scale.of(365, 20))
    largest, kept, seconds = year.played()
    name = f"{year.lists} lists each 5 minutes for {year.days} days"
    whole = largest * year.days * year.a_day / kept
    yield Figure(f"state file, {name}", largest, "MB", "if all runs stayed", whole, "below 200 MB", largest < MOST)
    yield Figure("processor of removing a day's runs", seconds, "s", "the day", DAY)
    often = _Story(lists=20, interval=60, days=scale.of(12, 4))
    of_many = often.played()[0] * 1_000 / often.lists
    name = "state file, 1,000 lists each minute, reckoned from 20"
    yield Figure(name, of_many, "MB", "the claim of cron/kubernetes", CLAIM, "fits in", of_many < CLAIM)


class _Story(Struct, frozen=True):
    """Lists that are synced every so many seconds for so many days."""

    lists: int
    interval: int
    days: int

    @property
    def a_day(self) -> int:
        """Returns how many runs a day has."""
        return self.lists * DAY // self.interval

    def played(self) -> tuple[float, int, float]:
        """Returns the most MB that were on disk, the runs at the end, and processor seconds of removing a day's."""
        largest, seconds = 0.0, 0.0
        with (
            tempfile.TemporaryDirectory(prefix="mcimport-bench-") as folder,
            open_state(Path(folder) / "state.db") as state,
        ):
            _prepare(state, self)
            for day in range(self.days):
                _record(state, day, first_id=2 + day * self.a_day)
                seconds += _prune(state, day)
                largest = max(largest, sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6)
            kept = int(state.value("SELECT count(*) FROM runs"))
        return largest, kept, seconds / self.days


def _prepare(state: State, story: _Story) -> None:
    """Records a run without changes and one with, sets them aside, and makes a slot for each run of a day."""
    places = [Destination(f"client-{number}", "1a2d7ebf82", "mailchimp", "account") for number in range(story.lists)]
    rows = [destinations.get_or_create(state, place) for place in places]
    sources = [_run(state, rows[0], pushed) for pushed in (0, 7)]
    for table in ("runs", "windows"):
        state.rows(f"CREATE TEMP TABLE {table}_copied AS SELECT * FROM {table}")  # noqa: S608 - fixed names
    state.rows("CREATE TEMP TABLE slots (number INTEGER PRIMARY KEY, list_id, client, source, at)")
    with state.transaction():
        for number in range(story.a_day):
            call, row = number // story.lists, rows[number % story.lists]
            source = sources[(call + number) % WITH_CHANGES == 0]
            at = iso(FIRST + call * story.interval)[len("2026-01-01") :]
            state.write("INSERT INTO slots VALUES (?, ?, ?, ?, ?)", [number, row.id, row.client, source, at])


def _run(state: State, row: ListRow, pushed: int) -> int:
    """Records a run as a sync does, and returns its id; where something was pushed, with a window."""
    run_id = runs.begin(state, row, "incremental", FIRST - HOUR, moves_sync_point=True)
    windows = [Window(0, "listed", FIRST - HOUR, FIRST, count=pushed)] if pushed else []
    runs.plan(state, run_id, FIRST, pushed, windows)
    used = Usage(mailchimp_requests=2, waited_mailchimp=0.6123, converting=0.0123)
    for window in windows:
        runs.record(state, run_id, Outcome(window, members=pushed, pushed=pushed, began=FIRST, seconds=0.7123), used)
    runs.finish(state, run_id, "completed", usage=used)
    return run_id


def _record(state: State, day: int, first_id: int) -> None:
    """Fills each slot of the day with a copy of its source."""
    at = f"'{iso(FIRST + day * DAY)[: len('2026-01-01')]}' || slots.at"
    run_id = f"{first_id} + 1 + slots.number"
    with state.transaction():
        for table, key in (("runs", "id"), ("windows", "run_id")):
            own = {"list_id": "slots.list_id", "client": "slots.client", key: run_id}
            names = [row["name"] for row in state.rows(f"PRAGMA main.table_info({table})")]
            values = [own.get(name) or (at if name in TIMES else f'it."{name}"') for name in names]
            quoted = ", ".join(f'"{name}"' for name in names)
            state.write(COPY.format(table=table, names=quoted, values=", ".join(values), key=key))


def _prune(state: State, day: int) -> float:
    """Does what calls do at their end until nothing is left to remove; returns the seconds of processor."""
    began = time.process_time()
    while not retention.prune(state, KEEP, FIRST + (day + 1) * DAY):
        pass
    return time.process_time() - began
