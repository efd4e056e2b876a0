"""`mcimport runs`: lists the runs, and shows one with its windows."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mcimport.cli import completion
from mcimport.cli.help import LineGroup, PlainCommand, epilog
from mcimport.cli.options import CLIENTS, LARGEST_ID, load_settings
from mcimport.cli.output import say
from mcimport.errors import ConfigError
from mcimport.report import run_tables
from mcimport.report.format import escape, pluralize

app = typer.Typer(cls=LineGroup, help="Log of runs.", no_args_is_help=True)


@app.command("list", cls=PlainCommand, epilog=epilog("runs list"))
def list_runs(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Number of runs to show.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per run.")] = False,
) -> None:
    """Lists runs, newest first, including those of clients that are no longer configured."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import runs  # noqa: PLC0415 - as above

    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        noted = runs.latest(state, clients=client or (), limit=min(limit + 1, LARGEST_ID)) if state else []
        found = [read_state.with_current_status(settings, state, run) for run in noted[:limit]] if state else []
    if not found:
        settings.chosen(client or [])
    if json:
        read_state.write_json(map(run_tables.run_document, found))
    else:
        read_state.write_table(run_tables.RUN_COLUMNS, [run_tables.run_row(run) for run in found])
    if len(noted) > limit:
        say(f"only the latest {pluralize(limit, 'run')}; `mcimport runs list --limit {10 * limit}` shows more")


@app.command("show", cls=PlainCommand, epilog=epilog("runs show"))
def show_run(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="RUN", help="Number of the run.", autocompletion=completion.runs)],
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every time range, even of many that went well.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line, with the windows.")] = False,
) -> None:
    """Shows one run: what it did, how its time was spent, and its time ranges on a timeline."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.report import tables  # noqa: PLC0415 - as above
    from mcimport.state import dead_letters, run_windows, runs  # noqa: PLC0415 - as above

    settings, run_id = load_settings(context), _run_id(number)
    with read_state.open_if_exists(settings) as state:
        noted = runs.find(state, run_id) if state else None
        if state is None or noted is None:
            raise ConfigError(f"there is no run {run_id}", hint="`mcimport runs list` shows the latest.")
        run = read_state.with_current_status(settings, state, noted)
        windows, letters = run_windows.of_run(state, run_id), dead_letters.written_by(state, run_id)
    if json:
        read_state.write_json(
            [{**run_tables.run_document(run), "windows": [run_tables.window_document(window) for window in windows]}]
        )
    else:
        plain, columns = tables.is_plain(sys.stdout), tables.make_console(sys.stdout).width
        read_state.write_facts(run_tables.run_facts(run, windows, letters))
        rows = run_tables.window_rows(run, windows, columns=columns, plain=plain, fold=not everything)
        read_state.write_table(run_tables.WINDOW_COLUMNS, rows)


def _run_id(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= LARGEST_ID:
        return int(text)
    raise ConfigError(f"{escape(text)} is not the number of a run", hint="`mcimport runs list` shows them.")
