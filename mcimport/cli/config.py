"""`mcimport config`: shows the settings that are in force, and where each comes from."""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcimport.cli import completion
from mcimport.cli.exits import OK, USAGE
from mcimport.cli.help import LineGroup, PlainCommand, epilog
from mcimport.cli.options import Options
from mcimport.cli.output import ignore_broken_pipe, print_error, warn
from mcimport.errors import ConfigError
from mcimport.report.columns import Columns

if TYPE_CHECKING:  # loaded by the command, as rich is
    from mcimport.config.origins import Origins, Setting
    from mcimport.config.searched import Place

_HEADS = ("setting", "value", "from")
_PLACE_HEADS = ("looked for", "found")

app = typer.Typer(cls=LineGroup, help="The configuration.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Makes `config` a group: typer would turn a group of one command into that command."""


@app.command("show", cls=PlainCommand, epilog=epilog("config show"))
def show(
    context: typer.Context,
    *,
    client: Annotated[
        str | None,
        typer.Option(
            "--client", metavar="NAME", help="Everything in force for this client.", autocompletion=completion.clients
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per setting.")] = False,
) -> int:
    """Shows every setting in force and where it comes from, never a key; exit 2 if the settings cannot be used.

    Without --client: what all clients share, and of each client what is its own.
    """
    from mcimport.config import misspelt  # noqa: PLC0415 - as below
    from mcimport.config.origins import find_origins  # noqa: PLC0415 - other commands start without it

    options = context.find_object(Options) or Options()
    origins = find_origins(
        config=options.config if _is_typed(context, "config") else None,
        db=options.db if _is_typed(context, "db") else None,
        environ=os.environ,
    )
    if client is not None:
        _check_client(origins, client)
    with ignore_broken_pipe():
        if json:
            _write_json(origins, client)
        else:
            _write_tables(origins, client)
    for words in misspelt(os.environ, origins.references):
        warn(words)
    if origins.error is not None:
        print_error(origins.error)
    return OK if origins.error is None else USAGE


def _is_typed(context: typer.Context, option: str) -> bool:
    """Returns whether a global option was typed, rather than filled in by its variable."""
    source = context.find_root().get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _check_client(origins: Origins, name: str) -> None:
    from mcimport.config.messages import did_you_mean, quoted  # noqa: PLC0415 - as above

    if name not in origins.clients:
        raise ConfigError(
            f"no client is called {quoted(name)}{did_you_mean(name, origins.clients)}",
            hint="`mcimport config show` shows all clients.",
        )


# ---- for people


def _write_tables(origins: Origins, client: str | None) -> None:
    def write(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        typer.echo(title)
        _write_table(heads, rows)
        typer.echo()

    write("Configuration file:", _PLACE_HEADS, [(place.name, place.found) for place in origins.config])
    write("State file:", _PLACE_HEADS, [(place.name, place.found) for place in origins.db])
    if client is not None:
        write(f"In force for the client {client}:", _HEADS, _rows(origins.merged(client), origins, client))
        return
    write("Shared by all clients:", _HEADS, _rows(origins.shared, origins))
    for name, settings in origins.clients.items():
        write(f"Only for the client {name}:", _HEADS, _rows(settings, origins))


def _write_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes a table; a value, the second column, that does not fit beside the others is whole below its row.

    On a screen that is too narrow for the others alone, each row is a block.
    """
    from mcimport.report.tables import print_table, room_for  # noqa: PLC0415 - loads rich

    room = room_for(sys.stdout, heads, rows, heads[1])
    if room < len(heads[1]) or all(len(value) <= room for _, value, *_ in rows):
        print_table(sys.stdout, Columns(tuple(heads)), rows)
        return
    below = f"whole {heads[1]}"
    split = [
        (name, value, *rest, "") if len(value) <= room else (name, "", *rest, value) for name, value, *rest in rows
    ]
    print_table(sys.stdout, Columns((*heads, below), below=(below,)), split)


def _rows(settings: Sequence[Setting], origins: Origins, client: str | None = None) -> list[tuple[str, str, str]]:
    file = origins.path.name if origins.path else ""
    return [
        (setting.name, _with_problem(setting), _source(setting, file, is_merged=client is not None))
        for setting in settings
    ]


def _with_problem(setting: Setting) -> str:
    return f"{setting.value}: {setting.problem}" if setting.problem else setting.value


def _source(setting: Setting, file: str, *, is_merged: bool) -> str:
    """Returns where a setting comes from. `is_merged`: the file's shared tables stand beside a client's own."""
    if setting.source != "file":
        return setting.variable or setting.source
    owner = "" if not is_merged else ", its own" if setting.client else ", shared"
    return f"{file} line {setting.line}{owner}"


# ---- for programs


def _write_json(origins: Origins, client: str | None) -> None:
    documents = [_place_document("--config", origins.config), _place_document("--db", origins.db)]
    documents += (_document(setting, origins.path) for setting in _shown(origins, client))
    for document in documents:
        sys.stdout.write(json_format.dumps(document) + "\n")


def _shown(origins: Origins, client: str | None) -> Iterator[Setting]:
    if client is not None:
        yield from origins.merged(client)
        return
    yield from origins.shared
    for settings in origins.clients.values():
        yield from settings


def _place_document(option: str, places: Sequence[Place]) -> Mapping[str, Any]:
    taken = next((place for place in places if place.taken), None)
    named = taken.name if taken and not Path(taken.name).is_absolute() else ""
    source = {"": "default", option: "option"}.get(named, "environment")
    return {
        "client": None,
        "setting": option,
        "value": str(taken.taken) if taken else None,
        "source": source,
        "file": None,
        "line": None,
        "variable": named if source == "environment" else None,
        "problem": None,
        "looked_for": [{"place": place.name, "found": place.found} for place in places],
    }


def _document(setting: Setting, path: Path | None) -> Mapping[str, Any]:
    return {
        "client": setting.client or None,
        "setting": setting.name,
        "value": setting.value,
        "source": setting.source,
        "file": str(path) if setting.source == "file" else None,
        "line": setting.line,
        "variable": setting.variable or None,
        "problem": setting.problem or None,
    }
