"""`mcimport backup`: copies the state file while runs go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli.options import Options
from mcimport.cli.output import show
from mcimport.config import state_file


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must not exist yet.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line on standard output.")] = False,
) -> None:
    """Copies the state file, also while runs go on, to a file that only you can read; never overwrites one."""
    from mcimport.cli.read_state import write_json  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import back_up  # noqa: PLC0415 - as above

    path = state_file(db=(context.find_object(Options) or Options()).db)  # without the settings, which may be wrong
    size = back_up(path, file.absolute())
    if json:
        write_json([{"file": str(file), "bytes": size}])
    else:
        show(f"Copied {path} to {file} ({size / 1e6:,.1f} MB), and checked the copy.")
