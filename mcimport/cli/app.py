"""The command line: its commands, its global options, and the exit code that an error leads to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli import check, dlq, forget, init, keys, preview, reconcile, runs, sandbox, status, sync, ui, worker
from mcimport.cli.exits import FAILED, OK, of_error
from mcimport.cli.options import LogFormat, Options
from mcimport.cli.output import ignore_broken_pipe, print_error, set_log_format
from mcimport.errors import McimportError
from mcimport.errors.machine import as_ours
from mcimport.version import __version__

app = typer.Typer(
    name="mcimport",
    help="Imports every contact of a Mailchimp audience into Ometria, and loses none.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.command()(sync.sync)
app.command()(preview.preview)
app.command()(reconcile.reconcile)
app.command()(status.status)
app.command()(check.check)
app.command()(init.init)
app.command()(forget.forget)
app.command()(ui.ui)
app.command()(worker.worker)
app.command()(sandbox.demo)
app.command()(sandbox.sandbox)
app.add_typer(runs.app, name="runs")
app.add_typer(dlq.app, name="dlq")
app.add_typer(keys.app, name="keys")


def _exit(code: int | None, **_: object) -> None:
    """Ends with the exit code that a command returned; None becomes 0."""
    with ignore_broken_pipe():
        sys.stdout.flush()
    raise typer.Exit(code or OK)


def _show_version(*, requested: bool) -> None:
    if requested:
        typer.echo(f"mcimport {__version__}")
        raise typer.Exit


@app.callback(result_callback=_exit)
def global_options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Configuration file.", envvar="MCIMPORT_CONFIG")] = None,
    db: Annotated[Path | None, typer.Option(help="State file.", envvar="MCIMPORT_DB")] = None,
    version: Annotated[  # noqa: ARG001, FBT002 - typer reads the signature; the callback has done its work
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Keeps the options that precede every command."""
    set_log_format(LogFormat.TEXT)  # an earlier command line of this process may have set another
    context.obj = Options(config, db)


def main() -> None:
    """Runs the command and exits; an error becomes one or two lines and an exit code, never a traceback."""
    output = sys.stdout
    try:
        app()
    except SystemExit:
        if sys.stdout is output:
            raise
        # Click replaced the stream because its reader is gone (`--help | head`), and exits with 1 for that.
        sys.stdout = output
        sys.exit(OK)
    except OSError as error:
        # Standard output may be a file on a full disk; the state file has recorded the work all the same.
        print_error(McimportError(f"the output cannot be written: {error.strerror}"))
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - no traceback may reach a user
        ours = as_ours(error)
        print_error(ours)
        sys.exit(of_error(ours))
