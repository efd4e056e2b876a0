"""`mcimport ui`: shows the state file in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli.options import Options, load_settings
from mcimport.cli.output import warn
from mcimport.config import state_file
from mcimport.errors import ConfigError
from mcimport.errors.machine import require_extra

PORT = 8026


def ui(
    context: typer.Context,
    *,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_535, help="Port on loopback; 0 picks a free one.")
    ] = PORT,
) -> None:
    """Shows the state file in the browser, read-only, until stopped: lists, runs, time ranges, dead letters."""
    require_extra("`mcimport ui`", "ui", "datasette", "datasette_dashboards")
    path, overdue = _state_file(context)
    from mcimport.monitoring.ui.server import serve  # noqa: PLC0415 - an extra
    from mcimport.state import open_state  # noqa: PLC0415 - other commands start without it

    open_state(path, create=False).close()  # migrates it, or raises with a reason
    serve(
        path,
        port,
        overdue,
        lambda link: typer.echo(f"Open this link in a browser (it works once); Ctrl-C stops:\n  {link}", err=True),
    )


def _state_file(context: typer.Context) -> tuple[Path, dict[str, int]]:
    """Returns the state file, and the seconds after which a list is overdue, by client, as far as the settings say.

    The pages need no settings: where there are none, or broken ones, that is said, and three missed rounds count.
    """
    try:
        settings = load_settings(context)
    except ConfigError as error:
        options = context.find_object(Options) or Options()
        path = state_file(db=options.db)
        warn(f"shown without the settings ({error}): a list is overdue after three missed rounds")
        return path, {}
    allowed = {name: client.overdue for name, client in settings.clients.items() if client.overdue is not None}
    return settings.db_path, allowed
