"""`mcimport preview`: shows members beside the contacts they become, and where a list's fields go; pushes nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from mcimport.cli import completion
from mcimport.cli.options import LIST_HELP, load_settings


def preview(
    context: typer.Context,
    list_key: Annotated[
        str,
        typer.Argument(metavar="LIST_KEY", help=LIST_HELP, autocompletion=completion.lists),
    ],
    *,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Number of members to show.")] = 5,
    member: Annotated[str | None, typer.Option(metavar="ID", help="Show only the member with this contact_id.")] = None,
    client: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Client, if several have this list.", autocompletion=completion.clients),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per member, and one for the fields.")
    ] = False,
) -> None:
    """Shows members beside the contacts they become, and where the list's fields go. Pushes nothing.

    The only command that shows personal data, on standard output alone.
    """
    from mcimport.cli.preview_list import preview_list  # noqa: PLC0415 - loads the HTTP client and tables of countries

    preview_list(load_settings(context), list_key, client, limit, member, json=json)
