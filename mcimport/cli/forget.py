"""`mcimport forget`: removes what the state file holds of a client or a list, for when a contract ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli import completion
from mcimport.cli.confirm import check_terminal, confirm
from mcimport.cli.options import load_settings
from mcimport.cli.output import say, show, warn_root
from mcimport.errors import ConfigError
from mcimport.report.format import pluralize

if TYPE_CHECKING:  # loads SQLite
    from mcimport.state import State


def forget(
    context: typer.Context,
    client: Annotated[
        str,
        typer.Argument(
            metavar="CLIENT",
            help="Name of the client when it was last synced.",
            autocompletion=completion.recorded_clients,
        ),
    ],
    *,
    list_key: Annotated[
        str | None,
        typer.Option(
            "--list", metavar="LIST_KEY", help="Only this list of the client.", autocompletion=completion.lists
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line on standard output.")] = False,
) -> None:
    """Removes everything recorded for a client, or one of its lists: sync points, runs, dead letters. Asks first."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import lock_client, retention  # noqa: PLC0415 - as above

    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        _check_recorded(state, client, list_key)
        whose = client if list_key is None else f"{client} {list_key}"
        if state is None or not (yes or _confirmed(client, list_key)):
            say("nothing was removed")
            return
        warn_root(settings.db_path)
        owner = settings.clients.get(client)
        is_told = owner is not None and owner.webhook_source is not None
        with lock_client(settings.db_path, client):
            gone = retention.forget(state, client, list_key, keeps_troubles=is_told)
    if json:
        of_list = {} if list_key is None else {"list_key": list_key}
        read_state.write_json([{"client": client, **of_list, **gone}])
    else:
        parts = (pluralize(count, table.removesuffix("s").replace("_", " ")) for table, count in gone.items())
        show(f"{whose}: removed {', '.join(parts)}.")
    if owner is not None and (list_key is None or owner.among([list_key])):
        say(f"{whose} is still configured: its next sync will import every member again.")


def _check_recorded(state: State | None, client: str, list_key: str | None) -> None:
    """Raises ConfigError, which names what there is, where nothing is recorded for the client or the list."""
    from mcimport.config.messages import quoted  # noqa: PLC0415 - as above
    from mcimport.state import lists  # noqa: PLC0415 - as above

    rows = lists.all_lists(state) if state else []
    names = sorted({row.client for row in rows})
    if client not in names:
        there = f"Recorded: {', '.join(names)}." if names else "It has no client at all."
        raise ConfigError(f"the state file has no client {client!r}", hint=there)
    keys = sorted({row.list_key for row in rows if row.client == client})
    if list_key is not None and list_key not in keys:
        raise ConfigError(
            f"the state file has no list {quoted(list_key)} of the client {client}",
            hint=f"Recorded: {', '.join(keys)}.",
        )


def _confirmed(client: str, list_key: str | None) -> bool:
    check_terminal("cannot ask for confirmation", hint="Add --yes to remove it without being asked.")
    if list_key is None:
        return confirm(f"Remove everything recorded for {client}: sync points, runs and dead letters?")
    return confirm(
        f"Remove everything recorded for the list {list_key} of {client}: sync point, runs and dead letters?"
    )
