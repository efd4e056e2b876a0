"""What the commands that only read have in common: the state file if it exists, the status of its lists, their output.

Only imported once a command runs, because it loads SQLite's helpers and rich.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mcimport.cli.options import NOTHING_YET
from mcimport.cli.output import ignore_broken_pipe, say
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError, McimportError
from mcimport.models.records import ListRow, Run
from mcimport.report import tables
from mcimport.services.destination import note, place_of
from mcimport.state import State, destinations, lists, lock_holder, open_state, runs, state_exists
from mcimport.state.destinations import Destination

CURRENT = ""
NOT_CONFIGURED = "not configured"
OTHER_DESTINATION = "earlier Ometria key or collection"
UNKNOWN = "Ometria key not set here, so its account is unknown"


@contextmanager
def open_if_exists(settings: Settings) -> Iterator[State | None]:
    """Opens the state file; yields None, and says so on standard error, before the first sync. Raises StateError."""
    if not state_exists(settings.db_path):
        say(NOTHING_YET)
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
    return CURRENT if current is not None and current.id == row.id else OTHER_DESTINATION


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
    return "" if place is None or former is None else note(place, former)


def write_json(documents: Iterable[Mapping[str, Any]]) -> None:
    """Writes one line per document to standard output, in ASCII, which every encoding can write."""
    with ignore_broken_pipe():
        for document in documents:
            sys.stdout.write(json.dumps(document) + "\n")


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, prose: str = "") -> None:
    """Writes a table to standard output, nothing if it has no rows. `prose`: the head of the column that may wrap."""
    if rows:
        with ignore_broken_pipe():
            tables.print_table(sys.stdout, heads, rows, prose=prose)


def write_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Writes one line per fact to standard output, its subject first; facts without words are left out."""
    filled = [(name, words) for name, words in facts if words]
    width = max(len(name) for name, _ in filled)
    sys.stdout.write("".join(f"{name:<{width}}  {words}\n" for name, words in filled))


def output_width() -> int:
    """Returns the columns of standard output; without a terminal, more than any table needs."""
    return tables.make_console(sys.stdout).width
