"""Writes the state of each list as Prometheus text, for node_exporter's textfile collector."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from mcimport.config import Settings
from mcimport.errors import StateError
from mcimport.models.records import ListRow
from mcimport.state import State, dead_letters, lists, open_state, runs

MODE = 0o644  # the collector runs as another user, and the file holds no secret: names, times and counts
_GAUGES = (
    ("last_success_timestamp_seconds", "When a sync of the list last completed."),
    ("sync_point_timestamp_seconds", "Time to which Mailchimp's changes are imported."),
    ("sync_point_age_seconds", "How old the sync point was when this was written."),
    ("dead_letters_open", "Open dead letters."),
    ("last_run_success", "1 when the last run completed, else 0."),
    ("last_run_seconds", "How long the last run took."),
    ("last_run_members", "Members read in the last run."),
    ("last_run_contacts", "Contacts pushed in the last run."),
    ("last_run_rejected", "Members who could not be sent in the last run."),
    ("last_run_windows_dead", "Time ranges (windows) of the last run that could not be read or sent in full."),
    ("last_run_requests", "Requests of the last run.", "side"),
    ("last_run_retries", "Requests of the last run that were retries.", "side"),
    ("last_run_throttled", "Requests of the last run that were refused as too many (429).", "side"),
    ("reconciled_timestamp_seconds", "When both sides of the list were last compared."),
    ("reconciled_contacts", "What the last comparison of both sides counted.", "kind"),
)


def write(settings: Settings, path: Path) -> None:
    """Writes the metrics of every configured list, atomically: a reader sees the old file or the new one.

    Raises StateError when the state file cannot be read or `path` cannot be written.
    """
    registry = CollectorRegistry()
    gauges = {
        name: Gauge(f"mcimport_{name}", words, ("client", "list_key", *label), registry=registry)
        for name, words, *label in _GAUGES
    }
    with open_state(settings.db_path) as state:
        for row in _latest_rows(settings, lists.all_lists(state), state):
            for name, value, *label in _values(state, row):
                if value is not None:
                    gauges[name].labels(row.client, row.list_key, *label).set(value)
    try:
        _replace(path, generate_latest(registry))
    except OSError as error:
        raise StateError(f"the metrics in {path} cannot be written: {error.strerror}") from None


def _values(state: State, row: ListRow) -> Iterator[tuple[str, float | None, *tuple[str, ...]]]:
    """Yields for each gauge its name, the list's value, and the label that it has besides; None: no value, not 0."""
    yield "dead_letters_open", dead_letters.count_open(state, row.id)
    yield "sync_point_timestamp_seconds", row.sync_point
    yield "sync_point_age_seconds", None if row.sync_point is None else max(0, int(time.time()) - row.sync_point)
    yield "reconciled_timestamp_seconds", row.reconciled_at
    yield from (("reconciled_contacts", count, kind) for kind, count in lists.reconciled(row).items())
    yield "last_success_timestamp_seconds", runs.last_success_at(state, row.id)
    for run in runs.latest(state, list_id=row.id, limit=1):
        yield "last_run_success", run.status == "completed"
        yield "last_run_seconds", None if run.finished_at is None else run.finished_at - run.started_at
        yield "last_run_members", run.members_read
        yield "last_run_contacts", run.contacts_pushed
        yield "last_run_rejected", run.contacts_rejected
        yield "last_run_windows_dead", run.windows_dead
        for side in ("mailchimp", "ometria"):
            for name in ("requests", "retries", "throttled"):
                yield f"last_run_{name}", getattr(run, f"{side}_{name}"), side


def _latest_rows(settings: Settings, rows: Iterable[ListRow], state: State) -> Iterator[ListRow]:
    """Yields the rows of configured lists, of each list the row with the latest run.

    The row of an earlier destination would look overdue for ever.
    """
    found: dict[tuple[str, str], list[ListRow]] = defaultdict(list)
    for row in rows:
        client = settings.clients.get(row.client)
        if client is not None and client.among([row.list_key]):
            found[row.client, row.list_key].append(row)
    for places in found.values():
        yield max(
            places, key=lambda row: max((run.id for run in runs.latest(state, list_id=row.id, limit=1)), default=0)
        )


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), MODE)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
