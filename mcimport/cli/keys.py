"""`mcimport keys`: accepts a new Ometria key after testing that it belongs to the same account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mcimport.cli import completion
from mcimport.cli.help import LineGroup, PlainCommand, epilog
from mcimport.cli.options import load_settings
from mcimport.cli.output import say, warn_root
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError, names_client
from mcimport.models.records import ListRow
from mcimport.report.format import pluralize

app = typer.Typer(cls=LineGroup, help="Changed API keys.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Makes `keys` a group: typer would turn a group of one command into that command."""


@app.command("accept", cls=PlainCommand, epilog=epilog("keys accept"))
def accept(
    context: typer.Context,
    client: Annotated[
        str, typer.Argument(metavar="CLIENT", help="Name of the client.", autocompletion=completion.clients)
    ],
    *,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Only test the key, because the account was emptied on purpose.")
    ] = False,
) -> None:
    """Confirms that a client's new Ometria key or address belongs to the same account, and continues with it.

    It does if the account holds contacts of each list that was imported; if not, nothing changes.
    """
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite
    from mcimport.state import destinations, lock_client, runs  # noqa: PLC0415 - as above

    settings = load_settings(context)
    chosen = _find_client(settings, client)
    chosen.ometria_key()
    moving, bound = list[ListRow](), list[ListRow]()
    with read_state.open_if_exists(settings) as state:
        if state is None:
            return
        warn_root(settings.db_path)
        account = state.account_fingerprint(*chosen.ometria_access())
        with lock_client(settings.db_path, chosen.name):
            moving = destinations.at_other_accounts(state, chosen.name, account)
            if moving:
                bound = [row for row in moving if runs.has_pushed(state, row.id)]
                present = [row for row in bound if _is_present(chosen, row)]
                _check_key(chosen, [] if unseen else present or bound)
            destinations.accept_key(state, chosen.name, account)
    synced = {row.list_key for row in moving if row in bound or row.sync_point is not None}
    what = "key" if any(not destinations.is_same_key(row.destination, account) for row in moving) else "address"
    if synced:
        goes_on = f"{pluralize(len(synced), 'list')} {'continues' if len(synced) == 1 else 'continue'}"
        say(f"{chosen.name}: {goes_on} with the new {what}")
    else:
        say(f"{chosen.name}: nothing to accept: its lists already use this key and address, or were never synced")


def _is_present(client: Client, row: ListRow) -> bool:
    """Returns whether the list is still sent to that collection; an old collection may be empty by now."""
    return bool(client.among([row.list_key])) and row.collection == client.collection(row.list_key)


def _check_key(client: Client, bound: Sequence[ListRow]) -> None:
    """Raises ConfigError where the account holds no contacts of these lists, ServiceError where the key is refused."""
    from mcimport.services.connections import ConnectionPool  # noqa: PLC0415 - loads the HTTP client
    from mcimport.services.http.shutdown import StopSignal  # noqa: PLC0415 - as above
    from mcimport.sync.destination import check_same_account  # noqa: PLC0415 - as above

    with names_client(client.name), ConnectionPool(StopSignal()).open(client) as services:
        check_same_account(services, bound, client.name)


def _find_client(settings: Settings, name: str) -> Client:
    client = settings.clients.get(name)
    if client is None:  # perhaps a key: not to be repeated
        raise ConfigError("no client is called that", hint=f"Configured: {', '.join(settings.clients)}.")
    return client
