"""The JSON Schema of mcimport.toml, made from the models; `make readme` writes it, a test holds it to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from mcimport.config import template
from mcimport.config.schema import CLIENT_NAME, File, duration_text
from mcimport.config.template import SCHEMA
from mcimport.config.variables import BROKER

HEAD = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "mcimport.toml",
    "description": "What mcimport imports from Mailchimp into Ometria, and how. `mcimport check` checks more than this"
    " schema can: addresses that would expose a key, names that occur twice, clients that overwrite each other.",
}
_SETTING = re.compile(r"(?:# )?(?:\[(?P<table>\w+)\]|(?P<name>\w+) = .*?) +# (?P<comment>.+)")
_HEADER = re.compile(r"\[(\w+)\]")


def comments() -> Iterator[tuple[tuple[str, str], str]]:
    """What the file that `init` writes says of each table (`("retry", "")`) and setting."""
    table = ""
    for line in template().splitlines():
        header = _HEADER.match(line)
        table = header[1] if header else table
        found = _SETTING.match(line)
        if found and not found["comment"].startswith("as above"):
            yield (table, found["name"] or ""), found["comment"]


def document() -> dict[str, Any]:
    made = File.model_json_schema(ref_template="#/definitions/{model}")
    definitions = {name: plain(table) for name, table in made.pop("$defs").items()}
    whole = plain(made)
    for (table, name), comment in comments():
        if table not in whole["properties"]:
            continue
        described = whole["properties"][table]
        if name:
            properties = definitions[described["$ref"].rpartition("/")[2]]["properties"] if "$ref" in described else {}
            described = properties.get(name, {})
        words = described.get("description")
        described["description"] = f"{comment}. Must be {words}." if words else comment
    clients = whole["properties"]["clients"]
    clients["patternProperties"] = {CLIENT_NAME: {"$ref": "#/definitions/ClientTable"}}
    clients["additionalProperties"] = False
    definitions["Engine"]["properties"]["broker"]["default"] = f"env:{BROKER}"
    return {**HEAD, **{name: part for name, part in whole.items() if name not in HEAD}, "definitions": definitions}


def plain(node: Any) -> Any:
    """Without what pydantic says to programmers: its titles, docstrings of tables, null (which TOML lacks)."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: plain(part) for name, part in node.items() if name not in ("title", "format", "writeOnly")}
    if "properties" in node:
        made["properties"] = {name: plain(part) for name, part in node["properties"].items()}
        made.pop("description", None)
    options = [option for option in made.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        made = {**{name: part for name, part in made.items() if name != "anyOf"}, **options[0]}
    return with_default(made)


def with_default(node: dict[str, Any]) -> dict[str, Any]:
    """With its default as the file writes it; without one for a table, and where there is none."""
    default = node.pop("default", None)
    if default is None or isinstance(default, dict) or "$ref" in node:
        return node
    if node.get("type") == "string" and isinstance(default, int):
        default = duration_text(default)
    if isinstance(default, list) and len(default) == 1:
        (default,) = default
    return {**node, "default": default}


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(), encoding="utf-8")
