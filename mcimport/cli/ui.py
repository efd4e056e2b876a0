"""`mcimport ui`: shows the state file in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from mcimport.cli.options import load_settings
from mcimport.errors.machine import require_extra

PORT = 8026


def ui(
    context: typer.Context,
    *,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on loopback; 0 picks a free one.")] = PORT,
) -> None:
    """Shows the state file in the browser, read-only, until stopped: lists, runs, time ranges, dead letters."""
    settings = load_settings(context)
    require_extra("`mcimport ui`", "ui", "datasette", "datasette_dashboards")
    from mcimport.monitoring.ui.server import serve  # noqa: PLC0415 - an extra
    from mcimport.state import open_state  # noqa: PLC0415 - other commands start without it

    open_state(settings.db_path, create=False).close()  # migrates it, or raises with a reason
    serve(
        settings.db_path,
        port,
        lambda link: typer.echo(f"Open this link in a browser (it works once); Ctrl-C stops:\n  {link}", err=True),
    )
