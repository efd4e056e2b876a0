"""`mcimport forget`: removes what the state file holds of a client, for when a contract ends."""

from __future__ import annotations

from typing import Annotated

import typer

from mcimport.cli.confirm import check_terminal, confirm
from mcimport.cli.options import load_settings
from mcimport.cli.output import say, warn_root
from mcimport.errors import ConfigError
from mcimport.report.format import pluralize


def forget(
    context: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="Name of the client when it was last synced.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line on standard output.")] = False,
) -> None:
    """Removes everything recorded for a client: sync points, runs, dead letters. Asks first."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import lists, lock_client, retention  # noqa: PLC0415 - as above

    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        names = {row.client for row in lists.all_lists(state)} if state else set()
        if state is None or client not in names:
            there = f"Recorded: {', '.join(sorted(names))}." if names else "It has no client at all."
            raise ConfigError(f"the state file has no client {client!r}", hint=there)
        if not yes and not _confirmed(client):
            say("nothing was removed")
            return
        warn_root(settings.db_path)
        with lock_client(settings.db_path, client):
            gone = retention.forget(state, client)
    if json:
        read_state.write_json([{"client": client, **gone}])
    else:
        parts = (pluralize(count, table.removesuffix("s").replace("_", " ")) for table, count in gone.items())
        typer.echo(f"{client}: removed {', '.join(parts)}.")
    if client in settings.clients:
        say(f"{client} is still configured: its next sync will import every member again.")


def _confirmed(client: str) -> bool:
    check_terminal("cannot ask for confirmation", hint="Add --yes to remove it without being asked.")
    return confirm(f"Remove everything recorded for {client}: sync points, runs and dead letters?")
