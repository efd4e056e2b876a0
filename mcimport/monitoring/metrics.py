"""Writes the state of each list as Prometheus text, for node_exporter's textfile collector."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from mcimport.config import Settings
from mcimport.errors import StateError
from mcimport.models.records import ListRow, Run
from mcimport.state import State, dead_letters, lists, open_state, runs

MODE = 0o644  # the collector runs as another user, and the file holds no secret: names, times and counts
_LABELS = ("client", "list_key")
_SIDES = ("mailchimp", "ometria")


def write(settings: Settings, path: Path) -> None:
    """Writes the metrics of every configured list, atomically: a reader sees the old file or the new one.

    Raises StateError when the state file cannot be read or `path` cannot be written.
    """
    registry = CollectorRegistry()
    gauges = _Gauges(registry)
    with open_state(settings.db_path) as state:
        for row in _latest_rows(settings, lists.all_lists(state), state):
            gauges.set_list(state, row)
    try:
        _replace(path, generate_latest(registry))
    except OSError as error:
        raise StateError(f"the metrics in {path} cannot be written: {error.strerror}") from None


class _Gauges:
    """Holds the gauges. A list without a value for a gauge is left out of it, because 0 would be wrong."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, help_: str, *more: str) -> Gauge:
            return Gauge(f"mcimport_{name}", help_, (*_LABELS, *more), registry=registry)

        self._success = gauge("last_success_timestamp_seconds", "When a sync of the list last completed.")
        self._point = gauge("sync_point_timestamp_seconds", "Time to which Mailchimp's changes are imported.")
        self._age = gauge("sync_point_age_seconds", "How old the sync point was when this was written.")
        self._letters = gauge("dead_letters_open", "Open dead letters.")
        self._ok = gauge("last_run_success", "1 when the last run completed, else 0.")
        self._seconds = gauge("last_run_seconds", "How long the last run took.")
        self._members = gauge("last_run_members", "Members read in the last run.")
        self._contacts = gauge("last_run_contacts", "Contacts pushed in the last run.")
        self._rejected = gauge("last_run_rejected", "Members who could not be sent in the last run.")
        self._dead = gauge(
            "last_run_windows_dead", "Time ranges (windows) of the last run that could not be read or sent in full."
        )
        self._requests = gauge("last_run_requests", "Requests of the last run.", "side")
        self._retries = gauge("last_run_retries", "Requests of the last run that were retries.", "side")
        self._throttled = gauge(
            "last_run_throttled", "Requests of the last run that were refused as too many (429).", "side"
        )

        self._reconciled = gauge("reconciled_timestamp_seconds", "When both sides of the list were last compared.")
        self._compared = gauge("reconciled_contacts", "What the last comparison of both sides counted.", "kind")

    def set_list(self, state: State, row: ListRow) -> None:
        """Sets the values of one list."""
        names = (row.client, row.list_key)
        self._letters.labels(*names).set(dead_letters.count_open(state, row.id))
        if row.sync_point is not None:
            self._point.labels(*names).set(row.sync_point)
            self._age.labels(*names).set(max(0, int(time.time()) - row.sync_point))
        if row.reconciled_at is not None:
            self._reconciled.labels(*names).set(row.reconciled_at)
        for kind, count in lists.reconciled(row).items():
            self._compared.labels(*names, kind).set(count)
        success = runs.last_success_at(state, row.id)
        if success is not None:
            self._success.labels(*names).set(success)
        for run in runs.latest(state, list_id=row.id, limit=1):
            self._set_run(names, run)

    def _set_run(self, names: tuple[str, str], run: Run) -> None:
        self._ok.labels(*names).set(run.status == "completed")
        if run.finished_at is not None:
            self._seconds.labels(*names).set(run.finished_at - run.started_at)
        self._members.labels(*names).set(run.members_read)
        self._contacts.labels(*names).set(run.contacts_pushed)
        self._rejected.labels(*names).set(run.contacts_rejected)
        self._dead.labels(*names).set(run.windows_dead)
        for side in _SIDES:
            self._requests.labels(*names, side).set(getattr(run, f"{side}_requests"))
            self._retries.labels(*names, side).set(getattr(run, f"{side}_retries"))
            self._throttled.labels(*names, side).set(getattr(run, f"{side}_throttled"))


def _latest_rows(settings: Settings, rows: Iterable[ListRow], state: State) -> Iterator[ListRow]:
    """Returns the rows of configured lists, of each list the row with the latest run.

    The row of an earlier destination would look overdue for ever.
    """
    newest: dict[tuple[str, str], tuple[int, ListRow]] = {}
    for row in rows:
        client = settings.clients.get(row.client)
        if client is None or not client.among([row.list_key]):
            continue
        last = max((run.id for run in runs.latest(state, list_id=row.id, limit=1)), default=0)
        place = (row.client, row.list_key)
        if place not in newest or newest[place][0] < last:
            newest[place] = (last, row)
    return (row for _, row in newest.values())


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
