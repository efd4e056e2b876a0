"""`mcimport forget`: what the state file knows of a client, removed, for when a contract ends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mcimport.cli.options import say, settings
from mcimport.errors import ConfigError


def forget(
    context: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="As it was called when it was last synced.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line on standard output.")] = False,
) -> None:
    """Removes all that the state file knows of a client: sync points, runs, dead letters. Asks first."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import lists, lock_client, retention  # noqa: PLC0415 - as above

    known = settings(context)
    with read_state.remembered(known) as state:
        names = {row.client for row in lists.all_lists(state)} if state else set()
        if state is None or client not in names:
            there = f"it knows {', '.join(sorted(names))}" if names else "it knows no client"
            raise ConfigError(f"the state file knows nothing of a client {client!r}", hint=there)
        if not yes and not _agreed(client):
            say("nothing was removed")
            return
        with lock_client(known.db_path, client):
            gone = retention.forget(state, client)
    if json:
        document = {"lists": gone.lists, "runs": gone.runs, "dead_letters": gone.dead_letters}
        read_state.write_json([{"client": client, **document}])
    else:
        typer.echo(f"{client}: removed {gone.lists:,} lists, {gone.runs:,} runs, {gone.dead_letters:,} dead letters.")
    if client in known.clients:
        say(f"{client} is still configured: its next sync would be a first one, of everybody.")


def _agreed(client: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("nobody is here to be asked", hint="--yes removes it without asking.")
    return typer.confirm(f"Forget all of {client}: its sync points, its runs, its dead letters?", err=True)
