"""The shapes of Mailchimp's own reference (`mailchimp.schema.json`): the fake has them, and the importer takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from conftest import PLAIN
from hypothesis import given, settings
from hypothesis import strategies as st

from mcimport.convert import encode_contact, make_converter
from mcimport.models import ContactRules, Converted, ListFields, MergeField
from mcimport.sandbox.ometria_account import first_error
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.mailchimp.responses import MEMBERS

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


def answers_of(shape: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Anything that a shape allows, with each field there or not."""
    if "$ref" in shape:
        return answers_of(SCHEMA["definitions"][shape["$ref"].rpartition("/")[2]])
    if "enum" in shape:
        return st.sampled_from(shape["enum"])
    if "pattern" in shape:
        return st.from_regex(shape["pattern"], fullmatch=True)
    if shape["type"] == "array":
        return st.lists(answers_of(shape["items"]), max_size=2)
    if shape["type"] == "object" and "properties" in shape:
        return st.fixed_dictionaries({}, optional={name: answers_of(of) for name, of in shape["properties"].items()})
    plain: dict[str, st.SearchStrategy[Any]] = {
        "string": st.text(max_size=12) | st.just("Ann.Lee@example.com"),
        "integer": st.integers(shape.get("minimum", 0), shape.get("maximum", 10**9)),
        "number": st.floats(-180, 180),
        "boolean": st.booleans(),
        "object": st.dictionaries(st.sampled_from(TAGS), st.text(max_size=12) | st.integers(0, 10**6), max_size=3),
    }
    return plain[shape["type"]]


TAGS, KINDS = ("FNAME", "BIRTHDAY", "ADDRESS"), ("text", "birthday", "address")
FIELDS = ListFields({tag: MergeField(tag, kind) for tag, kind in zip(TAGS, KINDS, strict=True)})
SENDABLE = {"web_id": 7, "email_address": "Ann.Lee@example.com"}
MEMBER = answers_of(SCHEMA["definitions"]["member"])


@settings(max_examples=60)
@given(members=st.lists(MEMBER | MEMBER.map(lambda member: member | SENDABLE), min_size=1, max_size=4))
def test_the_importer_takes_whatever_the_reference_allows(members: list[dict[str, Any]]) -> None:
    """A page of such members is decoded, and each becomes a contact that Ometria's validation takes, or a reason."""
    found = MEMBERS.decode(json.dumps({"members": members, "total_items": len(members)}))
    convert = make_converter(FIELDS, ContactRules(list_key=LIST_KEY, collection="mailchimp"))
    for member in found.members:
        conversion = convert(member)
        if isinstance(conversion, Converted):
            record = encode_contact(conversion.contact)
            assert isinstance(record, bytes)
            assert first_error(json.loads(record), is_known=False) is None
        else:
            assert conversion.reason
