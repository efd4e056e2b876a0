"""`mcimport status`: where each list stands."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli.context import settings
from mcimport.cli.exits import DEAD_LETTERS, OK
from mcimport.report.standing import HEADS, Standing, document, row

if TYPE_CHECKING:  # loads SQLite's helpers
    from mcimport.config import Settings
    from mcimport.records import ListRow
    from mcimport.state import State

RUNS_SHOWN = 24


def status(
    context: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a list.")] = False,
) -> int:
    """Shows each list's sync point, last run, open dead letters and recent contacts; exit 3 with dead letters.

    Lists that are no longer configured, and other destinations, are marked; their dead letters do not count.
    """
    from mcimport.cli import looking  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.report.tables import is_plain  # noqa: PLC0415 - as above

    known, now = settings(context), int(time.time())
    with looking.remembered(known) as state:
        standings = list(_standings(known, state))
    if json:
        looking.write_json(document(standing, now) for standing in standings)
    else:
        plain = is_plain(sys.stdout)
        looking.write_table(HEADS, [row(standing, now, plain=plain) for standing in standings], prose="note")
    return DEAD_LETTERS if any(standing.open_letters for standing in standings if _counts(standing.note)) else OK


def _standings(known: Settings, state: State | None) -> Iterator[Standing]:
    """The configured lists in the order of the file, then what else is remembered."""
    configured = [(client, key) for client in known.clients.values() for key in client.lists]
    if state is None:
        yield from (Standing(client.name, key) for client, key in configured)
        return
    from mcimport.cli import looking  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import lists  # noqa: PLC0415 - as above

    rest = lists.overview(state)
    notes = {one.id: looking.standing(known, state, one) for one in rest}
    for client, key in configured:
        present = [one for one in rest if (one.client, one.list_key) == (client.name, key) and _counts(notes[one.id])]
        if not present:
            yield Standing(client.name, key, note=looking.changed_key(client, key, state))
        yield from (_standing(state, one, notes[one.id]) for one in present)
        rest = [one for one in rest if one not in present]
    yield from (_standing(state, one, notes[one.id]) for one in rest)


def _counts(note: str) -> bool:
    """Whether the dead letters of a list so marked count: they can be replayed, or nobody can say that they cannot."""
    from mcimport.cli import looking  # noqa: PLC0415 - other commands start without SQLite and rich

    return note in (looking.HERE, looking.UNKNOWN)


def _standing(state: State, row: ListRow, note: str) -> Standing:
    from mcimport.state import letters, runs  # noqa: PLC0415 - other commands start without SQLite

    latest = tuple(runs.latest(state, list_id=row.id, most=RUNS_SHOWN))
    open_letters = letters.count_open(state, row.id)
    return Standing(row.client, row.list_key, row.collection, row.sync_point, latest, open_letters, note)
