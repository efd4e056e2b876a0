"""The document of a webhook: what it always held, and a text that people read in a chat."""

from __future__ import annotations

from html import unescape
from typing import get_args

import pytest
from conftest import CONFIG, MakeImporter, WebhookReceiver

from mcimport.models.results import ListResult
from mcimport.monitoring.trouble import Kind, Trouble
from mcimport.monitoring.webhook_document import MAX_TEXT, Event, make_document

NOW = 1_795_507_200  # 2026-11-24 08:00:00 UTC
FIELDS = {
    *("event", "kind", "client", "list_key", "run_id", "status", "reason", "reasons", "next"),
    *("dead_letters", "dead_letter_members", "other_kinds", "since", "at"),
}
RESULT = ListResult("acme", "1a2d7ebf82", "failed")


def text_of(event: Event, kind: Kind, words: str, hint: str = "") -> str:
    return str(make_document(event, RESULT, Trouble(kind, words, (words,), hint), NOW, [])["text"])


def test_a_failure_and_its_end_are_told_in_a_few_words(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Which list, what went wrong and what to do next; beside the fields that there always were."""
    importer = make_importer(size=10)
    importer.configure(f'[notify]\nwebhook_url = "{receiver.url}/hook"\n\n{CONFIG}')
    importer.sandbox.settings.fault = lambda _: "401"
    importer("sync")
    importer.sandbox.settings.fault = None
    importer("sync")
    failure, recovery = receiver.documents
    where = f"list {importer.sandbox.list_key} of acme"
    assert {*failure} == {*recovery} == {"text", *FIELDS}
    assert failure["text"] == f"mcimport: The sync of {where} failed: {failure['reason']}.\n{failure['next']}"
    assert recovery["text"].startswith(f"mcimport: Resolved: the sync of {where} works again.\nIt began at ")


def test_a_client_is_named_once(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Whatever the error says of it, in the chat and in the health check."""
    importer = make_importer(size=5)
    assert importer("sync").code == 0
    addresses = f'[notify]\nhealthcheck_url = "{receiver.url}/ping"\nwebhook_url = "{receiver.url}/hook"\n\n'
    for key in ("env:NOT_SET", "e" * 32):
        importer.configure(addresses + CONFIG, ometria_key=key)
        assert importer("sync").code == 2
    texts = [document["text"] for document in receiver.documents]
    pings = [text for path, text in receiver.received if path.startswith("/ping/fail")]
    assert "of acme failed: ometria_api_key: the variable NOT_SET is not set" in texts[0]
    assert "with a different Ometria API key" in texts[1]
    sentences = [text.splitlines()[0] for text in [*texts, *pings]]
    assert {sentence.count("acme") for sentence in sentences} == {1}


@pytest.mark.parametrize("event", get_args(Event))
@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_has_a_text_that_names_the_list(event: Event, kind: Kind) -> None:
    """Of its beginning and of its end."""
    text = text_of(event, kind, "some reason", "`mcimport status` shows more.")
    assert "list 1a2d7ebf82 of acme" in text
    assert ("some reason" in text) == (event == "failure" or kind not in ("failed", "reconcile_failed"))
    assert len(text.splitlines()) == 2


def test_markup_in_a_reason_is_shown_and_not_obeyed() -> None:
    """`<!channel>` would wake everybody in Slack."""
    text = text_of("failure", "failed", "Ometria said <!channel> & more")
    assert "<" not in text
    assert "Ometria said <!channel> & more." in unescape(text)


def test_a_text_is_no_longer_than_a_chat_takes() -> None:
    """However long the reason."""
    assert len(text_of("failure", "failed", "x" * 100_000)) == MAX_TEXT
