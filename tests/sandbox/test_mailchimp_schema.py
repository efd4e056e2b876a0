"""The fake Mailchimp's answers, held to the shapes in Mailchimp's own reference (`mailchimp.schema.json`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from conftest import PLAIN

from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("mailchimp.schema.json").read_text(encoding="utf-8"))
HERE = f"/lists/{LIST_KEY}"


@pytest.fixture(scope="module", name="sandbox")
def a_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(size=900)) as sandbox:
        yield sandbox


def get(sandbox: Sandbox, path: str, **query: Any) -> Any:
    url, auth = sandbox.mailchimp_url + path, ("x", sandbox.mailchimp_key)
    return httpx.get(url, params=query, auth=auth, trust_env=False, verify=PLAIN).json()


def differences(shape: str, answer: object) -> list[str]:
    validator = jsonschema_rs.Draft7Validator({**SCHEMA, "$ref": f"#/definitions/{shape}"})
    return [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(answer)]


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/lists", "lists"),
        (HERE, "list"),
        (f"{HERE}/members", "members"),
        (f"{HERE}/members?status=archived", "members"),
        (f"{HERE}/merge-fields", "merge_fields"),
        (f"{HERE}/interest-categories", "categories"),
        (f"{HERE}/interest-categories/CATEGORY/interests", "interests"),
        (f"{HERE}/members/MEMBER", "member"),
        (f"{HERE}/members/MEMBER/tags", "tags"),
        ("/lists/0000000000", "problem"),
        (f"{HERE}/members?count=many", "problem"),
    ],
)
def test_an_answer_has_the_shape_of_the_reference(sandbox: Sandbox, path: str, shape: str) -> None:
    """No field is of another type, and none is there that the reference does not have."""
    audience = sandbox.audience()
    tagged = next(one for one in audience.listed() if one["email_address"] and one["tags"])
    path = path.replace("CATEGORY", audience.identity.categories[0]).replace("MEMBER", tagged["id"])
    path, _, query = path.partition("?")
    answer = get(sandbox, path, **{"count": "1000", **dict([query.split("=")] if query else [])})
    assert answer
    assert differences(shape, answer) == []


def test_the_audience_has_every_field_of_a_member_of_the_reference(sandbox: Sandbox) -> None:
    """Each is there of some member, the seldom ones as well: notes, permissions, reasons for leaving."""
    seen: set[str] = set()
    for status in ("", "archived"):
        seen.update(*get(sandbox, f"{HERE}/members", count=1000, status=status)["members"])
    assert seen == SCHEMA["definitions"]["member"]["properties"].keys()


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        ("list", {"list_rating": 3.5}),
        ("list", {"web_id": "1"}),
        ("member", {"last_changed": "2026-11-24T08:00:00"}),
        ("member", {"status": "nonsubscribed"}),
        ("member", {"location": {"country": "GB"}}),
        ("member", {"horoscope": "Leo"}),
        ("member", {"last_note": {"note_id": "1"}}),
        ("problem", {"status": 404}),
    ],
)
def test_the_shapes_notice_what_is_not_in_the_reference(shape: str, answer: dict[str, Any]) -> None:
    """A wrong type, an unknown word, an unknown field, and a part that is missing where all are required."""
    assert differences(shape, answer)
