"""`mcimport status`: shows each list's sync point, last run and dead letters."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli.exits import DEAD_LETTERS, OK
from mcimport.cli.options import CLIENTS, settings
from mcimport.cli.output import print_error, say
from mcimport.errors import McimportError
from mcimport.models.records import affected
from mcimport.report.list_status import HEADS, ListStatus, document, row

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

    known, now = settings(context), int(time.time())
    chosen = {one.name for one in known.chosen(client or [])}
    with read_state.open_if_exists(known) as state:
        list_statuses = [one for one in _list_statuses(known, state, now) if not client or one.client in chosen]
    if json:
        read_state.write_json(document(list_status, now) for list_status in list_statuses)
    else:
        plain = is_plain(sys.stdout)
        read_state.write_table(
            HEADS, [row(list_status, now, plain=plain) for list_status in list_statuses], prose="note"
        )
        _print_broker(known)
    return DEAD_LETTERS if any(list_status.needs_attention for list_status in list_statuses) else OK


def _print_broker(known: Settings) -> None:
    """Writes the state of the broker to standard error; one that cannot be reached does not change the exit code."""
    if known.engine.kind != "celery":
        return
    from mcimport.engine.select import check_extra  # noqa: PLC0415 - loads the HTTP client

    try:
        check_extra()
        from mcimport.engine.distributed import broker  # noqa: PLC0415 - an extra

        say(f"broker: {broker.inspect(known.engine.broker(), known.db_path, known.clients).words}")
    except McimportError as error:
        print_error(error)


def _list_statuses(known: Settings, state: State | None, now: int) -> Iterator[ListStatus]:
    """Yields the configured lists in the order of the file, then all others that the state file holds."""
    configured = [(client, key) for client in known.clients.values() for key in client.lists]
    if state is None:
        yield from (ListStatus(client.name, key) for client, key in configured)
        return
    from mcimport.cli import read_state  # noqa: PLC0415 - as above
    from mcimport.monitoring import overdue  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import lists  # noqa: PLC0415 - as above

    here = (read_state.CURRENT, read_state.UNKNOWN)  # can be replayed, or nobody can say that it cannot
    rest = lists.all_lists(state)
    notes = {one.id: read_state.list_status(known, state, one) for one in rest}
    for client, key in configured:
        present = [one for one in rest if (one.client, one.list_key) == (client.name, key) and notes[one.id] in here]
        if not present:
            note = read_state.moved_note(client, key, state)
            moved = [one for one in rest if (one.client, one.list_key) == (client.name, key)]
            latest = overdue.waiting_since(known, state, moved, now)
            yield ListStatus(client.name, key, note=note, is_overdue=now - latest > client.overdue)
        yield from (_list_status(known, state, one, notes[one.id], client.overdue, now) for one in present)
        rest = [one for one in rest if one not in present]
    for one in rest:
        owner = known.clients.get(one.client)
        is_here = owner is not None and notes[one.id] in here
        yield _list_status(known, state, one, notes[one.id], owner.overdue if owner and is_here else None, now)


def _list_status(known: Settings, state: State, row: ListRow, note: str, at_most: int | None, now: int) -> ListStatus:
    """Returns the status of one list at one destination.

    `at_most`: seconds after which the list is overdue; None for a list that is not synced there any more.
    """
    from mcimport.cli import read_state  # noqa: PLC0415 - as above
    from mcimport.monitoring import overdue  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import dead_letters, lists, run_warnings, runs, spot_checks  # noqa: PLC0415 - as above

    noted = runs.latest(state, list_id=row.id, limit=RUNS_SHOWN)
    latest = tuple(read_state.with_current_status(known, state, run) for run in noted)
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
