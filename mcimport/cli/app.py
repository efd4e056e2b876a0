"""The command line: its commands, its global options, and the exit code that an error leads to."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli import (
    check,
    dlq,
    forget,
    init,
    keys,
    preview,
    reconcile,
    replay,
    runs,
    sandbox,
    status,
    sync,
    ui,
    worker,
)
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


def _with_exit_code(command: Callable[..., int | None]) -> Callable[..., None]:
    """Wraps a command so that what it returns becomes the exit code; None becomes 0."""

    @functools.wraps(command)
    def run(*arguments: object, **options: object) -> None:
        code = None
        with ignore_broken_pipe():
            code = command(*arguments, **options)
            sys.stdout.flush()
        raise typer.Exit(code or OK)

    return run


for command in (
    sync.sync,
    preview.preview,
    reconcile.reconcile,
    status.status,
    check.check,
    init.init,
    forget.forget,
    ui.ui,
    worker.worker,
    sandbox.demo,
    sandbox.sandbox,
):
    app.command()(_with_exit_code(command))
dlq.app.command()(replay.replay)
for name, group in {"runs": runs.app, "dlq": dlq.app, "keys": keys.app}.items():
    app.add_typer(group, name=name)
    for info in group.registered_commands:
        info.callback = _with_exit_code(info.callback) if info.callback else None


def _show_version(*, requested: bool) -> None:
    if requested:
        typer.echo(f"mcimport {__version__}")
        raise typer.Exit


@app.callback()
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
        with ignore_broken_pipe():
            sys.stdout.flush()
        sys.exit(OK)
    except McimportError as error:
        print_error(error)
        sys.exit(of_error(error))
    except OSError as error:
        # Standard output may be a file on a full disk; the state file has recorded the work all the same.
        print_error(McimportError(f"the output cannot be written: {error.strerror}"))
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - no traceback may reach a user
        print_error(as_ours(error))
        sys.exit(FAILED)
