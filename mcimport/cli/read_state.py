"""What the commands that only read have in common: the state file if it exists, the status of its lists, their output.

Only imported once a command runs, because it loads SQLite's helpers and rich.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from mcimport.cli.options import no_state_file
from mcimport.cli.output import ignore_broken_pipe, warn
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError, McimportError
from mcimport.models.records import ListRow, Run, affected
from mcimport.monitoring import overdue
from mcimport.report import tables
from mcimport.report.columns import Columns
from mcimport.report.list_status import ListStatus
from mcimport.services.destination import earlier, note, place_of
from mcimport.state import (
    State,
    dead_letters,
    destinations,
    lists,
    lock_holder,
    open_state,
    probes,
    rhythm,
    run_warnings,
    runs,
    spot_checks,
    state_exists,
)
from mcimport.state.destinations import Destination

RUNS_SHOWN = 24
CURRENT = ""
NO_STATE_FILE = "NO STATE FILE"
NOT_CONFIGURED = "not configured"
UNKNOWN = "Ometria key not set here, so its account is unknown"


@contextmanager
def open_if_exists(settings: Settings) -> Iterator[State | None]:
    """Opens the state file; yields None, and warns on standard error, where it does not exist. Raises StateError."""
    if not state_exists(settings.db_path):
        warn(no_state_file(settings))
        yield None
        return
    with open_state(settings.db_path, create=False) as state:
        yield state


def with_current_status(settings: Settings, state: State, run: Run) -> Run:
    """Returns the run as interrupted where it is recorded as running, but no process holds the lock of its client.

    The next run would record it so. Where the lock cannot be tested, the record stands.
    """
    try:
        if run.status != "running" or lock_holder(settings.db_path, run.client) is not None:
            return run
    except McimportError:
        return run
    latest = runs.get(state, run.id)  # it may have ended just now
    return replace(latest, status="interrupted") if latest.status == "running" else latest


def list_status(settings: Settings, state: State, row: ListRow) -> str:
    """Returns CURRENT for a configured list at its present destination, else what is different."""
    client = settings.clients.get(row.client)
    if client is None or not client.among([row.list_key]):
        return NOT_CONFIGURED
    place = destination(client, row.list_key, state)
    if place is None:
        return UNKNOWN
    current = destinations.current(state, place)
    return CURRENT if current is not None and current.id == row.id else earlier(place, row)


def list_statuses(settings: Settings, state: State) -> Mapping[int, str]:
    """Returns the `list_status` of every list in the state file, by its row id."""
    return {row.id: list_status(settings, state, row) for row in lists.all_lists(state)}


def destination(client: Client, list_key: str, state: State) -> Destination | None:
    """Returns where a list goes now; None while its client has no usable key."""
    try:
        return place_of(state, client, list_key)
    except ConfigError:
        return None


def moved_note(client: Client, list_key: str, state: State) -> str:
    """Returns what to do about a list that was only sent to an earlier destination; empty if it was never sent."""
    place = destination(client, list_key, state)
    former = None if place is None else destinations.bound_elsewhere(state, place)
    return "" if place is None or former is None else note(client, place, former)


def report_lists(settings: Settings, state: State | None, now: int) -> Iterator[ListStatus]:
    """Yields the configured lists in the order of the file, then all others that the state file holds."""
    configured = [(client, key) for client in settings.clients.values() for key in client.lists]
    if state is None:
        yield from (ListStatus(client.name, key, note=NO_STATE_FILE, is_sound=False) for client, key in configured)
        return
    here = (CURRENT, UNKNOWN)  # an unknown account counts as the present one
    rest = lists.all_lists(state)
    notes = {row.id: list_status(settings, state, row) for row in rest}
    for client, key in configured:
        of_list = [row for row in rest if (row.client, row.list_key) == (client.name, key)]
        allowed = rhythm.overdue_after(state, client.overdue, is_first=overdue.is_first(of_list))
        present = [row for row in of_list if notes[row.id] in here]
        if not present:
            note = moved_note(client, key, state)
            latest = overdue.waiting_since(settings, state, of_list, now)
            yield ListStatus(client.name, key, note=note, is_overdue=now - latest > allowed, is_sound=not note)
        yield from (_report_list(settings, state, row, notes[row.id], allowed, now) for row in present)
        rest = [row for row in rest if row not in present]
    for row in rest:
        owner = settings.clients.get(row.client)
        is_here = owner is not None and notes[row.id] in here
        first = overdue.is_first([row])
        at_most = rhythm.overdue_after(state, owner.overdue, is_first=first) if owner and is_here else None
        yield _report_list(settings, state, row, notes[row.id], at_most, now)


def _report_list(
    settings: Settings, state: State, row: ListRow, note: str, at_most: int | None, now: int
) -> ListStatus:
    """Returns the status of one list at one destination.

    `at_most`: seconds after which the list is overdue; None for a list that is not synced there any more.
    """
    noted = runs.latest(state, list_id=row.id, limit=RUNS_SHOWN)
    latest = tuple(with_current_status(settings, state, run) for run in noted)
    since = overdue.age_began(state, row, now)
    probe = probes.latest(state, row.client, row.list_key)
    return ListStatus(
        client=row.client,
        list_key=row.list_key,
        collection=row.collection,
        sync_point=row.sync_point,
        runs=latest,
        open_letters=dead_letters.count_open(state, row.id),
        discarded=affected(dead_letters.unread_since_discarded(state, row.id)),
        note=note,
        is_overdue=at_most is not None and now - since > at_most,
        is_current=at_most is not None,
        reconciled_at=row.reconciled_at,
        reconciled=lists.reconciled(row),
        unchecked_at=row.unchecked_at,
        spot_check=spot_checks.unresolved(row),
        warnings=tuple(run_warnings.of_runs(noted)),
        probed_at=probe.probed_at if probe else None,
        probe_differs=probe.differs if probe else (),
        is_configured=note != NOT_CONFIGURED,
    )


def write_json(documents: Iterable[Mapping[str, Any]]) -> None:
    """Writes one line per document to standard output, in ASCII, which every encoding can write."""
    with ignore_broken_pipe():
        for document in documents:
            sys.stdout.write(json.dumps(document) + "\n")


def write_table(columns: Columns, rows: Sequence[Sequence[str]]) -> None:
    """Writes a table to standard output, nothing if it has no rows."""
    if rows:
        with ignore_broken_pipe():
            tables.print_table(sys.stdout, columns, rows)


def write_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Writes facts to standard output, each with its subject; those without words are left out."""
    tables.print_facts(sys.stdout, facts)
