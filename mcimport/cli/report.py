"""`mcimport report`: shows what was done for each client in a period."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli.options import CLIENTS, load_settings
from mcimport.cli.output import ignore_broken_pipe, say
from mcimport.cli.output_file import output_file
from mcimport.config import Settings
from mcimport.errors import ConfigError
from mcimport.models.activity import ClientActivity

if TYPE_CHECKING:  # other commands start without SQLite
    from mcimport.state import State


def report(
    context: typer.Context,
    *,
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="Start of the period: a date, or an age in s, min, h, d, w.")
    ] = "7d",
    client: CLIENTS = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per client.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with a row for each list.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one HTML page with a chart, to send to a client.")
    ] = None,
) -> None:
    """Shows what was done for each client since a date or for some days: runs, contacts, consent, dead letters.

    Only reads the state file. A run counts where it began.
    """
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import activity  # noqa: PLC0415 - as above
    from mcimport.sync.since import parse, read_as  # noqa: PLC0415 - as above

    if json and as_csv:
        raise ConfigError("--json and --csv cannot be used together")
    now = int(time.time())
    begun = parse(since, datetime.fromtimestamp(now, UTC))
    if not (json or as_csv) and (words := read_as(since, begun)):
        say(words)
    first = now if begun == "now" else max(0, begun)
    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        if state is None:
            settings.chosen(client or [])
            return
        clients = _clients(settings, state, client or [], activity.active_clients(state, first, now))
        found = activity.of_clients(state, clients, first, now, settings.keep)
    if html is not None:
        _write_page(html, found)
    if json or as_csv or html is None:
        _print(found, json=json, as_csv=as_csv)


def _clients(
    settings: Settings, state: State, names: Sequence[str], active: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Returns the clients to report on, by name with their configured lists; in the order of the file.

    Without names: all that are configured, and the `active`. Raises ConfigError for a name that no client has or had.
    """
    from mcimport.state import lists  # noqa: PLC0415 - other commands start without SQLite

    configured = {client.name: client.lists for client in settings.clients.values()}
    recorded = {row.client for row in lists.all_lists(state)}
    settings.chosen([name for name in names if name not in recorded])
    former = [name for name in names or active if name not in configured]
    every: dict[str, tuple[str, ...]] = {**configured, **dict.fromkeys(former, ())}
    return {name: keys for name, keys in every.items() if not names or name in names}


def _write_page(path: Path, found: Sequence[ClientActivity]) -> None:
    from mcimport.report.client_report_html import page  # noqa: PLC0415 - only for --html

    with output_file(path) as stream:
        stream.write(page(found))
    say(f"written to {path}")


def _print(found: Sequence[ClientActivity], *, json: bool, as_csv: bool) -> None:
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.report import client_report, tables  # noqa: PLC0415 - as above

    if json:
        read_state.write_json(map(client_report.document, found))
        return
    with ignore_broken_pipe():
        if as_csv:
            rows = (row for one in found for row in client_report.csv_rows(one))
            csv.writer(sys.stdout, lineterminator="\n").writerows([client_report.CSV_HEADS, *rows])
            return
        plain = tables.is_plain(sys.stdout)
        columns = tables.screen_columns(sys.stdout, client_report.COLUMNS)
        blocks = (
            "".join(f"{line}\n" for line in client_report.lines(one, plain=plain, columns=columns)) for one in found
        )
        sys.stdout.write("\n".join(blocks))
