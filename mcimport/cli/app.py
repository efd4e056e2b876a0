"""The command line: its commands, its global options, and the exit code that an error leads to."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli import (
    backup,
    check,
    config,
    dlq,
    forget,
    init,
    keys,
    lists,
    notify,
    preview,
    probe,
    reconcile,
    report,
    runs,
    sandbox,
    status,
    sync,
    ui,
    worker,
)
from mcimport.cli.exits import FAILED, OK, of_error
from mcimport.cli.help import PanelGroup, PlainCommand, epilog
from mcimport.cli.options import Options
from mcimport.cli.output import LogFormat, ignore_broken_pipe, print_error, set_log_format
from mcimport.config import variables
from mcimport.errors import McimportError
from mcimport.errors.machine import as_ours
from mcimport.version import __version__


def _exit(code: int | None, **_: object) -> None:
    """Ends with the exit code that a command returned; None becomes 0."""
    with ignore_broken_pipe():
        sys.stdout.flush()
    raise typer.Exit(code or OK)


def _show_version(*, requested: bool) -> None:
    if requested:
        typer.echo(f"mcimport {__version__}")
        raise typer.Exit


def _global_options(
    context: typer.Context,
    # Not checked by click, which would call another user's file a wrong usage, and know no way out.
    config: Annotated[
        Path | None, typer.Option(help="Configuration file.", envvar=variables.CONFIG, readable=False)
    ] = None,
    db: Annotated[Path | None, typer.Option(help="State file.", envvar=variables.DB, readable=False)] = None,
    version: Annotated[  # noqa: ARG001, FBT002 - typer reads the signature; the callback has done its work
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Keeps the options that precede every command."""
    set_log_format(LogFormat.TEXT)  # an earlier command line of this process may have set another
    context.obj = Options(config, db)


_COMMANDS: Mapping[str, Callable[..., object]] = {
    "sync": sync.sync,
    "preview": preview.preview,
    "reconcile": reconcile.reconcile,
    "status": status.status,
    "report": report.report,
    "check": check.check,
    "probe": probe.probe,
    "init": init.init,
    "lists": lists.lists,
    "forget": forget.forget,
    "backup": backup.backup,
    "ui": ui.ui,
    "worker": worker.worker,
    "demo": sandbox.demo,
    "sandbox": sandbox.sandbox,
}
_GROUPS: Mapping[str, typer.Typer] = {
    "config": config.app,
    "runs": runs.app,
    "dlq": dlq.app,
    "keys": keys.app,
    "notify": notify.app,
}


def _command_line(words: Sequence[str]) -> typer.Typer:
    """Returns the command line with the one command that these words name; with all, where they name none.

    To put a command together takes some milliseconds, and a call needs one of them.
    """
    names = (*_COMMANDS, *_GROUPS)
    if words and words[0] in ("--config", "--db"):
        return _command_line(words[2:])
    if words and words[0].startswith(("--config=", "--db=")):
        return _command_line(words[1:])
    return _with_commands((words[0],) if words and words[0] in names else names)


@functools.cache
def _with_commands(names: tuple[str, ...]) -> typer.Typer:
    found = typer.Typer(
        name="mcimport",
        help="Imports every contact of a Mailchimp audience into Ometria, and loses none.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        cls=PanelGroup,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_global_options,
        result_callback=_exit,
    )
    for name in names:
        if name in _COMMANDS:
            found.command(name, cls=PlainCommand, epilog=epilog(name))(_COMMANDS[name])
        else:
            found.add_typer(_GROUPS[name], name=name)
    return found


app = _command_line(())


def main() -> None:
    """Runs the command and exits; an error becomes one or two lines and an exit code, never a traceback."""
    output = sys.stdout
    try:
        _command_line(sys.argv[1:])(prog_name="mcimport")
    except SystemExit:
        if sys.stdout is output:
            raise
        # Click replaced the stream because its reader is gone (`--help | head`), and exits with 1 for that.
        sys.stdout = output
        sys.exit(OK)
    except OSError as error:
        # Standard output may be a file on a full disk; the state file has recorded the work all the same.
        is_of_files = error.errno in (errno.EMFILE, errno.ENFILE)
        words = f"the output cannot be written: {error.strerror}"
        print_error(as_ours(error) if is_of_files else McimportError(words))
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - no traceback may reach a user
        ours = as_ours(error)
        print_error(ours)
        sys.exit(of_error(ours))
