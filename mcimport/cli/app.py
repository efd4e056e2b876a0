"""The command line as a whole: its commands, the options before them, and how errors end it."""

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
from mcimport.cli.output import complain, speak, while_read
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


def _exiting(command: Callable[..., int | None]) -> Callable[..., None]:
    """The command as it is, except that what it returns becomes the exit code."""

    @functools.wraps(command)
    def run(*arguments: object, **options: object) -> None:
        code = None
        with while_read():
            code = command(*arguments, **options)
            sys.stdout.flush()
        raise typer.Exit(code or OK)

    return run


app.command("sync")(_exiting(sync.sync))
app.command("preview")(_exiting(preview.preview))
app.command("reconcile")(_exiting(reconcile.reconcile))
app.command("status")(_exiting(status.status))
app.command("check")(_exiting(check.check))
app.command("init")(_exiting(init.init))
app.command("forget")(_exiting(forget.forget))
app.command("ui")(_exiting(ui.ui))
app.command("worker")(_exiting(worker.worker))
app.command("demo")(_exiting(sandbox.demo))
app.command("sandbox")(_exiting(sandbox.sandbox))
dlq.app.command("replay")(replay.replay)
app.add_typer(runs.app, name="runs")
app.add_typer(dlq.app, name="dlq")
app.add_typer(keys.app, name="keys")


for group in (runs.app, dlq.app, keys.app):
    for info in group.registered_commands:
        info.callback = _exiting(info.callback) if info.callback else None


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"mcimport {__version__}")
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Configuration file.", envvar="MCIMPORT_CONFIG")] = None,
    db: Annotated[Path | None, typer.Option(help="State file.", envvar="MCIMPORT_DB")] = None,
    version: Annotated[  # noqa: ARG001, FBT002 - typer reads the signature; the callback has done its work
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before every command."""
    speak(LogFormat.TEXT)  # whatever an earlier command line of this process asked for
    context.obj = Options(config, db)


def main() -> None:
    """Runs the command and exits; errors become one line or two and an exit code, never a traceback."""
    output = sys.stdout
    try:
        app()
    except SystemExit:
        if sys.stdout is output:
            raise
        # It was put in another's place because its reader has left (of `--help`, say), and the code speaks of that.
        sys.stdout = output
        with while_read():
            sys.stdout.flush()
        sys.exit(OK)
    except McimportError as error:
        complain(error)
        sys.exit(of_error(error))
    except OSError as error:
        # Standard output on a full disk, say; what was done is recorded all the same.
        complain(McimportError(f"the output cannot be written: {error.strerror}"))
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - whatever it is, no traceback reaches a user
        complain(as_ours(error))
        sys.exit(FAILED)
