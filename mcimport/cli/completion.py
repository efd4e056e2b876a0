"""What the shell completes: clients, lists, dead letters, runs. Makes no request and no file, and tells no error."""

from __future__ import annotations

import functools
import os
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from mcimport.config import variables
from mcimport.config.places import current_folder, default_db, find_file, named_path

Choices = list[tuple[str, str]]
"""What may be typed, each with a few words on it."""


def _silent(complete: Callable[[typer.Context], Choices]) -> Callable[[typer.Context], Choices]:
    """Returns a completer that offers nothing where anything is wrong: its message would be on the line being typed."""

    @functools.wraps(complete)
    def completer(context: typer.Context) -> Choices:
        try:
            return complete(context)
        except Exception:  # noqa: BLE001 - see above
            return []

    return completer


@_silent
def clients(context: typer.Context) -> Choices:
    """Offers the clients of the configuration file."""
    return [(name, _lists_in_words(keys)) for name, keys in _configured(context).items()]


@_silent
def recorded_clients(context: typer.Context) -> Choices:
    """Offers the clients of the state file, which may have left the configuration."""
    from mcimport.state.completion import recorded_lists  # noqa: PLC0415 - loads SQLite's helpers

    found: defaultdict[str, list[str]] = defaultdict(list)
    for client, key in recorded_lists(_state_file(context)):
        found[client].append(key)
    return [(name, _lists_in_words(keys)) for name, keys in found.items()]


@_silent
def lists(context: typer.Context) -> Choices:
    """Offers the lists of the clients that are named, else of all; without any in the file, those of the state file."""
    from mcimport.state.completion import recorded_lists  # noqa: PLC0415 - as above

    configured = [(name, key) for name, keys in _configured(context).items() for key in keys]
    return _of_named(context, configured) or _of_named(context, recorded_lists(_state_file(context)))


def _of_named(context: typer.Context, pairs: Iterable[tuple[str, str]]) -> Choices:
    """Returns lists, each with its clients; only those of the clients that were typed before, if any were."""
    named = context.params.get("client") or ()
    wanted = [named] if isinstance(named, str) else named
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for name, key in pairs:
        if not wanted or name in wanted:
            owners[key].append(name)
    return [(key, ", ".join(names)) for key, names in owners.items()]


@_silent
def letters(context: typer.Context) -> Choices:
    """Offers the open dead letters."""
    from mcimport.state.completion import open_letters  # noqa: PLC0415 - as above

    return open_letters(_state_file(context))


@_silent
def runs(context: typer.Context) -> Choices:
    """Offers the latest runs."""
    from mcimport.state.completion import latest_runs  # noqa: PLC0415 - as above

    return latest_runs(_state_file(context))


def _configured(context: typer.Context) -> dict[str, list[str]]:
    """Returns each client's lists as the file has them, which need not be valid; nothing without a file."""
    named = named_path(context.find_root().params.get("config"), os.environ, "--config", variables.CONFIG)
    path = find_file(named, current_folder(None, named))
    if path is None:
        return {}
    tables = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("clients", {})
    return {name: list(table.get("lists", ())) for name, table in tables.items()}


def _state_file(context: typer.Context) -> Path:
    named = named_path(context.find_root().params.get("db"), os.environ, "--db", variables.DB)
    return current_folder(None, named) / (named or default_db())


def _lists_in_words(keys: list[str]) -> str:
    return f"{len(keys)} lists" if len(keys) > 1 else ", ".join(keys)
