"""`mcimport probe`: shows which of the assumptions about both services hold on the operator's own account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli.options import LIST_HELP, VERBOSE, load_settings
from mcimport.errors import ConfigError


def probe(  # noqa: PLR0913 - typer reads the signature: these are the options of the command
    context: typer.Context,
    list_key: Annotated[
        str | None,
        typer.Argument(metavar="LIST_KEY", help=LIST_HELP, show_default=False),
    ] = None,
    *,
    write: Annotated[
        bool,
        typer.Option("--write", help="Also push one invented contact to Ometria, opted out at the end. Asks first."),
    ] = False,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="With --write: an email address that belongs to you.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to FILE as JSON, without anything personal.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="NAME", help="Say why a fact matters, and what was known of it. No request.")
    ] = None,
    connections: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=11, help="Connections to Mailchimp; 11 also tries what one too many is answered."
        ),
    ] = 2,
    client: Annotated[str | None, typer.Option(metavar="NAME", help="Client, if several have this list.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per fact.")] = False,
    verbose: VERBOSE = False,
) -> int | None:
    """Shows which facts about both APIs hold on this account; changes nothing. Exit 3 if a needed one does not hold."""
    from mcimport.cli import probe_list  # noqa: PLC0415 - loads the HTTP client; other commands start without it

    if explain is not None:
        probe_list.explain(explain)
        return None
    if list_key is None:
        raise ConfigError("which list?", hint="`mcimport probe LIST_KEY`; `mcimport lists` shows the lists there are.")
    options = probe_list.ProbeOptions(connections, report, write, address, yes, json, verbose)
    return probe_list.probe(load_settings(context), list_key, client, options)
