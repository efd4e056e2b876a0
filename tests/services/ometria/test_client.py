"""Ometria's client: the key is checked, and hints are read, with nothing personal in them."""

from __future__ import annotations

import json

import pytest

from mcimport.errors import FatalError, RetriableError
from mcimport.services.ometria.client import HINTS
from services.http.test_client import answer
from services.ometria.accounts import Boxes, client, saying_always, stored


def test_the_key_is_checked_without_storing_anything(make: Boxes) -> None:
    """One read; a wrong key is refused with the words that lead to it."""
    sandbox, ometria = make()
    ometria.check_key()
    wrong = client(sandbox, key="0123456789abcdef")
    with pytest.raises(FatalError, match="key"):
        wrong.check_key()
    wrong.close()
    assert [(one.method, one.path) for one in sandbox.requests] == [("GET", "/push/_errors")] * 2
    assert stored(sandbox) == set()


def test_the_latest_validation_errors_are_a_few_words_each() -> None:
    """Path and message, five at most."""
    body = json.dumps([{"error_message": "not a valid value", "error_path": f"root > f{n}"} for n in range(9)])
    with saying_always(answer(body.encode())) as ometria:
        hints = ometria.latest_errors()
    assert hints == [f"root > f{n}: not a valid value" for n in range(HINTS)]
    assert HINTS == 5


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("root > properties > mmerge7", "not a valid value", "root > properties > mmerge7: not a valid value"),
        ("root > email", "'Ann Lee' is not valid", "root > email: … is not valid"),
        ("root > email", "\u201cAnn Lee\u201d is not valid", "root > email: … is not valid"),
        ("root > email", "ann@example.com is not valid", "root > email: … is not valid"),
        ("root > phone_number", "+447911123456 is too long", "root > phone_number: … is too long"),
        ("ann@example.com", "not a valid value\n", "…: not a valid value "),
        ("root > email", '"Ann', "root > email: …"),
    ],
)
def test_a_hint_repeats_nothing_that_may_be_personal(path: str, message: str, hint: str) -> None:
    """Names of fields stay; what is quoted, and whatever holds a digit or an @, does not."""
    body = json.dumps([{"error_message": message, "error_path": path}])
    with saying_always(answer(body.encode())) as ometria:
        assert ometria.latest_errors() == [hint]


@pytest.mark.parametrize("body", [b"", b"{}", b"[7]", b"<html>", b"[" * 100_000])
def test_hints_that_cannot_be_read_are_none(body: bytes) -> None:
    """They are worth no error and no second request."""
    with saying_always(answer(body)) as ometria:
        assert ometria.latest_errors() == []


def test_hints_are_asked_for_once(make: Boxes) -> None:
    """A failing hint is no reason to wait."""
    sandbox, ometria = make(fault=lambda _: "500")
    with pytest.raises(RetriableError):
        ometria.latest_errors()
    assert len(sandbox.requests) == 1
