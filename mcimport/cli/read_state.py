"""What the commands that only look have in common: the state file if there is one, whose its lists are, their output.

Only imported by a command that runs: it loads SQLite's helpers and rich.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mcimport.cli.options import NOTHING_YET
from mcimport.cli.output import say, while_read
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError, McimportError
from mcimport.models.records import ListRow, Run
from mcimport.report import tables
from mcimport.services.destination import note, place_of
from mcimport.state import State, destinations, lists, lock_holder, open_state, runs, state_exists
from mcimport.state.destinations import Destination

HERE = ""
NOT_CONFIGURED = "not configured"
OTHER_DESTINATION = "earlier Ometria key or collection"
UNKNOWN = "Ometria key not set here, so its account is unknown"


@contextmanager
def remembered(settings: Settings) -> Iterator[State | None]:
    """The state file, or None, told on standard error, where no sync has made one yet. Raises StateError."""
    if not state_exists(settings.db_path):
        say(NOTHING_YET)
        yield None
        return
    with open_state(settings.db_path, create=False) as state:
        yield state


def as_it_is(settings: Settings, state: State, run: Run) -> Run:
    """A run that is noted as under way, though nobody holds its client's lock, was cut off, as the next one notes.

    Where the lock cannot be looked at, nothing contradicts the note.
    """
    try:
        if run.status != "running" or lock_holder(settings.db_path, run.client) is not None:
            return run
    except McimportError:
        return run
    latest = runs.get(state, run.id)  # it may have ended just now
    return replace(latest, status="interrupted") if latest.status == "running" else latest


def list_status(settings: Settings, state: State, row: ListRow) -> str:
    """HERE for a list that is configured, at the destination it goes to now; else what is different."""
    client = settings.clients.get(row.client)
    if client is None or not client.among([row.list_key]):
        return NOT_CONFIGURED
    place = destination(client, row.list_key, state)
    if place is None:
        return UNKNOWN
    here = destinations.current(state, place)
    return HERE if here is not None and here.id == row.id else OTHER_DESTINATION


def list_statuses(settings: Settings, state: State) -> Mapping[int, str]:
    """List id to `list_status`, of everything that is remembered."""
    return {row.id: list_status(settings, state, row) for row in lists.all_lists(state)}


def destination(client: Client, list_key: str, state: State) -> Destination | None:
    """Where a list goes now; None while its client has no usable key."""
    try:
        return place_of(state, client, list_key)
    except ConfigError:
        return None


def moved_away(client: Client, list_key: str, state: State) -> str:
    """For a list that was not sent to where it goes now: says so if it was sent elsewhere, and what to do."""
    place = destination(client, list_key, state)
    former = None if place is None else destinations.bound_elsewhere(state, place)
    return "" if place is None or former is None else note(place, former)


def write_json(documents: Iterable[Mapping[str, Any]]) -> None:
    """A line each, on standard output; nothing but ASCII, so that no encoding stands in the way."""
    with while_read():
        for document in documents:
            sys.stdout.write(json.dumps(document) + "\n")


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, prose: str = "") -> None:
    """On standard output; nothing at all where there is no row. `prose`: the head of the column that may wrap."""
    if rows:
        with while_read():
            tables.show(sys.stdout, heads, rows, prose=prose)


def write_facts(facts: Iterable[tuple[str, str]]) -> None:
    """A subject a line on standard output, without those of which there is nothing to say."""
    told = [(name, words) for name, words in facts if words]
    width = max(len(name) for name, _ in told)
    sys.stdout.write("".join(f"{name:<{width}}  {words}\n" for name, words in told))


def width() -> int:
    """Columns of standard output; without a terminal, as many as anybody could want."""
    return tables.paper(sys.stdout).width
