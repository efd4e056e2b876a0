"""`mcimport lists`: shows the lists that each Mailchimp key can see."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from mcimport.cli.exits import OK, of_error, worst
from mcimport.cli.options import CLIENTS, load_settings
from mcimport.cli.output import print_error, say
from mcimport.config.schema import LIST_KEY
from mcimport.errors import McimportError, names_client
from mcimport.report import former_names
from mcimport.report.columns import Columns

if TYPE_CHECKING:  # loads the HTTP client; other commands start without it
    from mcimport.config import Client
    from mcimport.services.mailchimp.lists import AccountList

COLUMNS = Columns(
    heads=("client", "list", "name", "members on list", "subscribed", "last change", "synced to"),
    dropped=("last change", "subscribed"),
    wrapped="name",
)


class ListOfKey(Struct, frozen=True):
    """Holds a list and the client whose key sees it.

    Attributes:
        client: the client that has the list; else one that has the key.
        sync_point: seconds UTC; None: never synced.
    """

    client: str
    is_configured: bool
    found: AccountList
    sync_point: int | None


def lists(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list.")] = False,
) -> int:
    """Shows the lists that each Mailchimp key can see, and which of them are configured and synced."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.report.format import escape, moment_utc  # noqa: PLC0415 - as above

    settings, now = load_settings(context), int(time.time())
    with read_state.open_if_exists(settings) as state:
        statuses = read_state.report_lists(settings, state, now)
        synced = {(status.client, status.list_key): status.sync_point for status in statuses if not status.note}
    rows: list[ListOfKey] = []
    codes = [OK]
    chosen = [owner.name for owner in settings.chosen(client or [])]
    for clients in _by_key(settings.clients.values()):
        asked = [owner for owner in clients if owner.name in chosen]
        if not asked:
            continue
        try:
            with names_client(", ".join(owner.name for owner in asked)):
                rows += [row for row in _lists_of(clients, asked[0], synced) if row.client in chosen]
        except McimportError as error:
            codes.append(of_error(error))
            print_error(error)
    if json:
        read_state.write_json(map(_document, rows))
        return worst(codes)
    read_state.write_table(
        COLUMNS,
        [
            (
                row.client,
                escape(row.found.list_key),
                escape(row.found.name),
                _count(row.found.members),
                _count(row.found.subscribed),
                moment_utc(row.found.changed_at) if row.found.changed_at else "-",
                (moment_utc(row.sync_point) if row.sync_point else "not yet")
                if row.is_configured
                else "not configured",
            )
            for row in rows
        ],
    )
    _print_what_to_paste(rows, {key for owner in settings.clients.values() for key in owner.lists})
    return worst(codes)


def _by_key(clients: Iterable[Client]) -> Iterator[Sequence[Client]]:
    """Yields the clients that share a key and its address; alone, a client whose key cannot be read."""
    shared: dict[tuple[str, str], list[Client]] = {}
    for client in clients:
        try:
            endpoint = (client.mailchimp_url(), client.mailchimp_key().get_secret_value())
        except McimportError:
            endpoint = ("", client.name)
        shared.setdefault(endpoint, []).append(client)
    yield from shared.values()


def _lists_of(
    clients: Sequence[Client], asked: Client, synced: dict[tuple[str, str], int | None]
) -> Iterator[ListOfKey]:
    """Yields the lists of one key, once for each of its clients that has them, else for the client that is asked about.

    Raises what Mailchimp's client raises.
    """
    from mcimport.services.connections import ConnectionPool  # noqa: PLC0415 - loads the HTTP client
    from mcimport.services.http.shutdown import StopSignal  # noqa: PLC0415 - as above
    from mcimport.services.mailchimp.lists import read_lists  # noqa: PLC0415 - as above

    with ConnectionPool(StopSignal(), busy_for=10).open_mailchimp(asked) as mailchimp:
        found = read_lists(mailchimp)
    for one in found:
        owners = [client for client in clients if client.any_list or one.list_key in client.lists]
        for owner in owners or [asked]:
            yield ListOfKey(owner.name, bool(owners), one, synced.get((owner.name, one.list_key)))


def _document(row: ListOfKey) -> dict[str, object]:
    from mcimport.state.row_mapping import text  # noqa: PLC0415 - loads SQLite's helpers

    moments = {"changed_at": row.found.changed_at, "sync_point": row.sync_point}
    document = {
        "client": row.client,
        "list_key": row.found.list_key,
        "name": row.found.name,
        "members_on_list": row.found.members,
        "members_subscribed": row.found.subscribed,
        "configured": row.is_configured,
        **{name: None if moment is None else text(moment) for name, moment in moments.items()},
    }
    return former_names.with_former(document, former_names.LIST_OF_KEY)


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _print_what_to_paste(rows: Sequence[ListOfKey], taken: Container[str]) -> None:
    """Prints, for each client whose key sees lists that no client has, the setting that would add them.

    `taken`: the lists that some client has. What is another client's must not come to this one's Ometria account.
    """
    free = [row for row in rows if row.found.list_key not in taken and LIST_KEY.fullmatch(row.found.list_key)]
    for name in dict.fromkeys(row.client for row in free if not row.is_configured):
        own = [row for row in rows if row.client == name and (row.is_configured or row in free)]
        keys = ", ".join(f'"{row.found.list_key}"' for row in own)
        say(f"To import all lists that {name}'s key can see, and no other client has: lists = [{keys}]")
