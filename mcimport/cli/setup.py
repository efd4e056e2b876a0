"""`mcimport init` and `mcimport check`: from nothing to settings that work."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli.context import Options, settings
from mcimport.config import Client, Settings, template
from mcimport.errors import ConfigError, McimportError

if TYPE_CHECKING:  # loads the HTTP client
    from mcimport.accounts import Services


def init(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="Where to write it; ./mcimport.toml if not named.")] = None,
) -> None:
    """Writes a commented mcimport.toml; never overwrites one."""
    options = context.find_object(Options) or Options()
    target = path or options.config or Path("mcimport.toml")
    try:
        with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        raise ConfigError(f"{target} exists already; it was left as it is") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
    typer.echo(f"{target} is written, for you alone to read. Fill in the client at its end, then:")
    typer.echo("  mcimport check")
    typer.echo("  mcimport preview LIST_KEY")
    typer.echo("  mcimport sync")


def check(context: typer.Context) -> int:
    """Looks at configuration, state file, keys, both services and every list: a tick, or a reason, for each."""
    known = settings(context)
    _tell("configuration", str(known.config_path or "from the environment"))
    outcomes = [_try("state file", lambda: _check_state(known))]
    for client in known.clients.values():
        outcomes.extend(_check_client(client))
    typer.echo("To know before a first sync: Ometria has a Mailchimp synchronisation of its own; switch it off there,")
    typer.echo(
        "or each undoes the other. And of one person's listings in Ometria, an opted-out one outweighs the rest."
    )
    return 0 if all(outcomes) else 1


def _check_state(known: Settings) -> str:
    from mcimport.state import open_state  # noqa: PLC0415 - as in `_check_client`

    if not known.db_path.exists():
        return f"{known.db_path} will be made by the first sync"
    with open_state(known.db_path) as state:
        verdict = state.value("PRAGMA quick_check")
    if verdict != "ok":
        raise ConfigError(f"{known.db_path} is damaged", hint="Restore it from a backup, or move it away.")
    return str(known.db_path)


def _check_client(client: Client) -> list[bool]:
    """Both keys against their services, then each list."""
    from mcimport.accounts import Accounts  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.limits import Stop  # noqa: PLC0415 - as above

    try:
        with Accounts(Stop()).open(client) as services:
            outcomes = [
                _try(f"{client.name}: Mailchimp key", services.mailchimp.ping),
                _try(f"{client.name}: Ometria key", services.ometria.check_key),
            ]
            if outcomes[0]:
                outcomes += [_try(f"{client.name}: list {key}", partial(_size, services, key)) for key in client.lists]
            return outcomes
    except McimportError as error:
        _tell_trouble(client.name, error)
        return [False]


def _size(services: Services, list_key: str) -> str:
    return f"{services.mailchimp.glance(list_key, 'listed', None, 1).total:,} members"


def _try(what: str, look: Callable[[], str | None]) -> bool:
    try:
        _tell(what, look() or "accepted")
    except McimportError as error:
        _tell_trouble(what, error)
        return False
    return True


def _tell(what: str, finding: str) -> None:
    typer.echo(f"✓ {what}: {finding}")


def _tell_trouble(what: str, error: McimportError) -> None:
    typer.echo(f"✗ {what}: {error}")
    if error.hint:
        typer.echo(f"    {error.hint}")
