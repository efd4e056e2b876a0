"""What Ometria's asynchronous validation refuses of a record: whatever the contact's JSON Schema does.

The schema is a file of the package, `contact.schema.json`: the one thing that the sandbox and the importer share.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.resources import files
from typing import Any

import jsonschema_rs

Complaint = dict[str, str]
"""`error_message` and `error_path`, as `GET /push/_errors` lists them."""

REFUSED: Complaint = {"error_message": "not a valid value", "error_path": "root > email"}
"""Of a record with nothing wrong in it."""

_NEEDED = ("@type", "@collection", "id", "email")
_ALWAYS = ("@type", "id")


def schema() -> dict[str, Any]:
    """The contact's, whole: with everything that the importer always sends among what is required."""
    found: dict[str, Any] = json.loads((files("mcimport") / "contact.schema.json").read_text(encoding="utf-8"))
    return found


def _demanding(required: Collection[str]) -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator({**schema(), "required": list(required)}, validate_formats=True)


_whole, _partial = _demanding(_NEEDED), _demanding(_ALWAYS)


def complaint_of(record: dict[str, Any], *, known: bool) -> Complaint | None:
    """The first thing wrong with a record; None if nothing is. Only contacts are looked at closely.

    Args:
        record: as pushed.
        known: a record with its id is stored already, so this one may be a part only.
    """
    if record.get("@type") != "contact":
        missing = next((name for name in _ALWAYS if name not in record), None)
        return None if missing is None else _complaint("required", missing)
    validator = _partial if known else _whole
    if validator.is_valid(record):
        return None
    return _named(next(validator.iter_errors(record)), record, _ALWAYS if known else _NEEDED)


def has_address(record: dict[str, Any]) -> bool:
    """Whether its `email` is a text with something in it."""
    email = record.get("email")
    return isinstance(email, str) and bool(email.strip())


def _named(error: jsonschema_rs.ValidationError, record: dict[str, Any], needed: Collection[str]) -> Complaint:
    missing = next((name for name in needed if name not in record), None)
    if missing is not None:
        return _complaint("required", missing)
    stranger = next((name for name in record if name not in schema()["properties"]), None)
    if stranger is not None:
        return _complaint("unknown field", stranger)
    return _complaint("not a valid value", *map(str, error.instance_path[:1]))


def _complaint(message: str, *names: str) -> Complaint:
    return {"error_message": message, "error_path": " > ".join(("root", *names))}
