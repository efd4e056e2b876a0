"""`mcimport backup`: copies the state file while runs go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli.options import load_settings
from mcimport.cli.output import show


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must not exist yet.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line on standard output.")] = False,
) -> None:
    """Copies the state file, also while runs go on, to a file that only you can read; never overwrites one."""
    from mcimport.cli.read_state import write_json  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import back_up  # noqa: PLC0415 - as above

    settings = load_settings(context)
    size = back_up(settings.db_path, file.absolute())
    if json:
        write_json([{"file": str(file), "bytes": size}])
    else:
        show(f"Copied {settings.db_path} to {file} ({size / 1e6:,.1f} MB), and checked the copy.")
