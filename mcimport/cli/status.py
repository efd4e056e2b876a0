"""`mcimport status`: shows each list's sync point, last run and dead letters."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli.exits import DEAD_LETTERS, OK
from mcimport.cli.options import CLIENTS, load_settings
from mcimport.cli.output import print_error, say
from mcimport.errors import McimportError
from mcimport.errors.machine import require_extra
from mcimport.models.records import affected
from mcimport.report.list_status import HEADS, ListStatus, document
from mcimport.report.list_status import row as table_row

if TYPE_CHECKING:  # loads SQLite's helpers
    from mcimport.config import Settings
    from mcimport.models.records import ListRow
    from mcimport.state import State

RUNS_SHOWN = 24


def status(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list.")] = False,
) -> int:
    """Shows each list's sync point, last run, dead letters and recent contacts; exit 3 if a list needs attention.

    A list needs attention if it is overdue, if its last run failed, or if it has open dead letters.

    Lists that are no longer configured, or of an earlier Ometria key or collection, are marked and do not count.
    Neither do discarded dead letters: the note shows them until a full sync has read the list again.
    """
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.report.tables import is_plain  # noqa: PLC0415 - as above

    settings, now = load_settings(context), int(time.time())
    chosen = {owner.name for owner in settings.chosen(client or [])}
    with read_state.open_if_exists(settings) as state:
        list_statuses = [
            found for found in _list_statuses(settings, state, now) if not client or found.client in chosen
        ]
    if json:
        read_state.write_json(document(list_status, now) for list_status in list_statuses)
    else:
        plain = is_plain(sys.stdout)
        read_state.write_table(
            HEADS, [table_row(list_status, now, plain=plain) for list_status in list_statuses], prose="note"
        )
        _print_broker(settings)
    return DEAD_LETTERS if any(list_status.needs_attention for list_status in list_statuses) else OK


def _print_broker(settings: Settings) -> None:
    """Writes the state of the broker to standard error; one that cannot be reached does not change the exit code."""
    if settings.engine.kind != "celery":
        return
    try:
        require_extra("the engine celery", "celery", "celery")
        from mcimport.engine.distributed import broker  # noqa: PLC0415 - an extra

        say(f"broker: {broker.inspect(settings.engine.broker(), settings.db_path, settings.clients).words}")
    except McimportError as error:
        print_error(error)


def _list_statuses(settings: Settings, state: State | None, now: int) -> Iterator[ListStatus]:
    """Yields the configured lists in the order of the file, then all others that the state file holds."""
    configured = [(client, key) for client in settings.clients.values() for key in client.lists]
    if state is None:
        yield from (ListStatus(client.name, key) for client, key in configured)
        return
    from mcimport.cli import read_state  # noqa: PLC0415 - as above
    from mcimport.monitoring import overdue  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import lists  # noqa: PLC0415 - as above

    here = (read_state.CURRENT, read_state.UNKNOWN)  # an unknown account counts as the present one
    rest = lists.all_lists(state)
    notes = {row.id: read_state.list_status(settings, state, row) for row in rest}
    for client, key in configured:
        present = [row for row in rest if (row.client, row.list_key) == (client.name, key) and notes[row.id] in here]
        if not present:
            note = read_state.moved_note(client, key, state)
            moved = [row for row in rest if (row.client, row.list_key) == (client.name, key)]
            latest = overdue.waiting_since(settings, state, moved, now)
            yield ListStatus(client.name, key, note=note, is_overdue=now - latest > client.overdue)
        yield from (_list_status(settings, state, row, notes[row.id], client.overdue, now) for row in present)
        rest = [row for row in rest if row not in present]
    for row in rest:
        owner = settings.clients.get(row.client)
        is_here = owner is not None and notes[row.id] in here
        yield _list_status(settings, state, row, notes[row.id], owner.overdue if owner and is_here else None, now)


def _list_status(
    settings: Settings, state: State, row: ListRow, note: str, at_most: int | None, now: int
) -> ListStatus:
    """Returns the status of one list at one destination.

    `at_most`: seconds after which the list is overdue; None for a list that is not synced there any more.
    """
    from mcimport.cli import read_state  # noqa: PLC0415 - as above
    from mcimport.monitoring import overdue  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import dead_letters, lists, run_warnings, runs, spot_checks  # noqa: PLC0415 - as above

    noted = runs.latest(state, list_id=row.id, limit=RUNS_SHOWN)
    latest = tuple(read_state.with_current_status(settings, state, run) for run in noted)
    since = overdue.age_began(state, row, now)
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
    )
