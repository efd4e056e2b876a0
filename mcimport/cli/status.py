"""`mcimport status`: shows each list's sync point, last run and dead letters."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from mcimport.cli.exits import DEAD_LETTERS, OK
from mcimport.cli.options import CLIENTS, load_settings
from mcimport.cli.output import print_error, say
from mcimport.config import Settings
from mcimport.errors import McimportError
from mcimport.errors.machine import require_extra
from mcimport.report.list_status import COLUMNS, document
from mcimport.report.list_status import row as table_row


def status(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list.")] = False,
) -> int:
    """Shows each list's sync point, last run, dead letters and recent contacts; exit 3 if a list needs attention.

    A list needs attention if it is overdue, if its last run failed, if it has open dead letters, if both sides differed
    when they were compared last, if it goes to another Ometria account or collection than before, or if there is no
    state file.

    Lists that are no longer configured, or of an earlier key, address or collection, are marked and do not count.
    Neither do discarded dead letters: the note shows them until a full sync has read the list again.
    """
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.report.tables import is_plain  # noqa: PLC0415 - as above

    settings, now = load_settings(context), int(time.time())
    chosen = {owner.name for owner in settings.chosen(client or [])}
    with read_state.open_if_exists(settings) as state:
        list_statuses = [
            found for found in read_state.report_lists(settings, state, now) if not client or found.client in chosen
        ]
    if json:
        read_state.write_json(document(list_status, now) for list_status in list_statuses)
    else:
        plain = is_plain(sys.stdout)
        read_state.write_table(COLUMNS, [table_row(list_status, now, plain=plain) for list_status in list_statuses])
        _print_broker(settings)
    needs_attention = state is None or any(list_status.needs_attention for list_status in list_statuses)
    return DEAD_LETTERS if needs_attention else OK


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
