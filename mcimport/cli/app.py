"""The command line as a whole: its commands, the options before them, and how errors end it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from mcimport import __version__
from mcimport.cli import dlq, keys, preview, runs, sandbox, setup, status, sync
from mcimport.cli.context import Options, complain
from mcimport.cli.exits import of_error
from mcimport.errors import McimportError

app = typer.Typer(
    name="mcimport",
    help="Carries every contact of a Mailchimp audience into Ometria, and loses nobody.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("sync")(sync.sync)
app.command("preview")(preview.preview)
app.command("status")(status.status)
app.command("check")(setup.check)
app.command("init")(setup.init)
app.command("demo")(sandbox.demo)
app.command("sandbox")(sandbox.sandbox)
app.add_typer(runs.app, name="runs")
app.add_typer(dlq.app, name="dlq")
app.add_typer(keys.app, name="keys")


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"mcimport {__version__}")
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="The configuration file.", envvar="MCIMPORT_CONFIG")] = None,
    db: Annotated[Path | None, typer.Option(help="The state file.", envvar="MCIMPORT_DB")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,  # noqa: ARG001, FBT002 - typer reads the signature; the callback has done its work
) -> None:
    """Options that stand before every command."""
    context.obj = Options(config, db)


def main() -> None:
    """Runs the command; errors become one line or two and an exit code, never a traceback."""
    try:
        code = app(standalone_mode=False)
    except McimportError as error:
        complain(error)
        sys.exit(of_error(error))
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
