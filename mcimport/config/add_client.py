"""Adds a client to the text of a configuration, which otherwise stays as somebody wrote it: order, comments, blanks.

Only imported by `mcimport init --add`, because it loads tomlkit.
"""

from __future__ import annotations

import tomllib
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

from mcimport.config.template import Answers
from mcimport.errors import ConfigError


def with_client(text: str, answers: Answers, shared_collection: str) -> str:
    """Returns the text with the client after all others. Raises ConfigError where the file is written too unusually.

    `shared_collection`: what the client has without a line of its own.
    """
    settings: dict[str, Any] = {
        "lists": list(answers.lists),
        "mailchimp_api_key": answers.mailchimp_key,
        "ometria_api_key": answers.ometria_key,
    }
    if answers.collection != shared_collection:
        settings["ometria"] = {"collection": answers.collection}
    expected = tomllib.loads(text)
    expected.setdefault("clients", {})[answers.client] = settings
    changed = _insert(text, answers.client, settings)
    if _parsed(changed) != expected:  # tomlkit does not extend every way of writing a table
        raise ConfigError(
            "the client cannot be added to the file as it is written",
            hint="Nothing was written. Write each client as a table, [clients.NAME], or add this one by hand.",
        )
    return changed


def _insert(text: str, client: str, settings: dict[str, Any]) -> str:
    document = tomlkit.parse(text)
    clients = document.get("clients")
    if clients is None:
        clients = tomlkit.table(is_super_table=True)
        document.append("clients", clients)
    clients[client] = _inline(settings) if isinstance(clients, InlineTable) else _table(settings)
    changed = tomlkit.dumps(document)
    is_last = changed.endswith("\n\n") and not text.endswith("\n\n")
    return changed.removesuffix("\n") if is_last else changed


def _inline(settings: dict[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    table.update(settings)
    return table


def _table(settings: dict[str, Any]) -> Table:
    """Returns a table with a blank line behind it, for what may follow."""
    table = tomlkit.table()
    for name, value in settings.items():
        if isinstance(value, dict):
            for inner, setting in value.items():
                table.append(tomlkit.key([name, inner]), setting)
        else:
            table.append(name, value)
    table.add(tomlkit.nl())
    return table


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except ValueError:
        return None
