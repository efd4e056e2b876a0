"""`mcimport keys`: tells a renewed key of the same account from the key of another."""

from __future__ import annotations

from typing import Annotated

import typer

from mcimport.cli.context import say, settings
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError
from mcimport.report.words import counted

app = typer.Typer(help="Keys that have changed.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Keeps `accept` a word of its own: a group of one command would be that command."""


@app.command("accept")
def accept(context: typer.Context, client: Annotated[str, typer.Argument(metavar="CLIENT")]) -> None:
    """Says that the client's present Ometria key is the same account's, renewed: its lists go on under it."""
    from mcimport.cli import looking  # noqa: PLC0415 - other commands start without SQLite
    from mcimport.state import hold, lists  # noqa: PLC0415 - as above

    known = settings(context)
    chosen = _named(known, client)
    key = chosen.ometria_key().get_secret_value()
    with looking.remembered(known) as state:
        if state is None:
            return
        with hold(known.db_path, chosen.name):
            moved = lists.accept_key(state, chosen.name, state.destination(key))
    if moved:
        say(f"{chosen.name}: {counted(moved, 'list')} {'goes' if moved == 1 else 'go'} on under the new key")
    else:
        say(f"{chosen.name}: nothing to accept: its lists are under this key already, or were never synced")


def _named(known: Settings, name: str) -> Client:
    client = known.clients.get(name)
    if client is None:
        raise ConfigError("no client of that name is configured", hint=f"There is {', '.join(known.clients)}.")
    return client
