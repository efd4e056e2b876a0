"""Validates records as Ometria does after a push: by the contact's JSON Schema.

The schema is a file of the package, `contact.schema.json`: the one thing that the sandbox and the importer share.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.resources import files
from typing import Any

import jsonschema_rs

PushError = dict[str, str]
"""`error_message` and `error_path`, as `GET /push/_errors` lists them."""

DROPPED: PushError = {"error_message": "not a valid value", "error_path": "root > email"}
"""The error of a valid record that is to be dropped."""

_REQUIRED_IF_NEW = ("@type", "@collection", "id", "email")
_REQUIRED = ("@type", "id")


def schema() -> dict[str, Any]:
    """Returns the contact's JSON Schema, which requires everything that the importer always sends."""
    found: dict[str, Any] = json.loads((files("mcimport") / "contact.schema.json").read_text(encoding="utf-8"))
    return found


def _validator(required: Collection[str]) -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator({**schema(), "required": list(required)}, validate_formats=True)


_whole, _partial = _validator(_REQUIRED_IF_NEW), _validator(_REQUIRED)


def first_error(record: dict[str, Any], *, is_known: bool) -> PushError | None:
    """Returns the first error of a record; None for a valid one. Of other types than contacts only ids are checked.

    Args:
        record: as pushed.
        is_known: a record with its id is stored already, so this one may be a part only.
    """
    if record.get("@type") != "contact":
        missing = next((name for name in _REQUIRED if name not in record), None)
        return None if missing is None else _push_error("required", missing)
    validator = _partial if is_known else _whole
    if validator.is_valid(record):
        return None
    return _described(next(validator.iter_errors(record)), record, _REQUIRED if is_known else _REQUIRED_IF_NEW)


def has_address(record: dict[str, Any]) -> bool:
    """Returns whether `email` is a text that is not blank."""
    email = record.get("email")
    return isinstance(email, str) and bool(email.strip())


def _described(error: jsonschema_rs.ValidationError, record: dict[str, Any], needed: Collection[str]) -> PushError:
    missing = next((name for name in needed if name not in record), None)
    if missing is not None:
        return _push_error("required", missing)
    unknown = next((name for name in record if name not in schema()["properties"]), None)
    if unknown is not None:
        return _push_error("unknown field", unknown)
    return _push_error("not a valid value", *map(str, error.instance_path[:1]))


def _push_error(message: str, *names: str) -> PushError:
    return {"error_message": message, "error_path": " > ".join(("root", *names))}
