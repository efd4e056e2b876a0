"""`mcimport notify test`: every kind of notification reaches every address, and is taken for what it is."""

from __future__ import annotations

from typing import get_args

import pytest
from conftest import CONFIG, Importer, MakeImporter, WebhookReceiver

from mcimport.monitoring.trouble import Kind

BOTH = '[notify]\nhealthcheck_url = "{receiver}/ping"\nwebhook_url = "{receiver}/hook"\n\n' + CONFIG


def telling(make_importer: MakeImporter, receiver: WebhookReceiver, text: str = BOTH) -> Importer:
    """An importer that was never synced, and has such addresses."""
    importer = make_importer(size=0)
    importer.configure(text, receiver=receiver.url)
    return importer


def test_every_kind_is_sent_to_every_address_and_marked_as_a_test(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """The health check ends with a success, so that no alarm stays; programs see `test`, people read it first."""
    importer = telling(make_importer, receiver)
    result = importer("notify", "test")
    assert result.code == 0, result.out
    assert receiver.paths[:3] == ["/ping/start", "/ping/fail", "/ping"]
    assert all("test" in text for _, text in receiver.received[:3])
    kinds = [(document["event"], document["kind"]) for document in receiver.documents]
    assert kinds == [*(("failure", kind) for kind in get_args(Kind)), ("recovery", "failed")]
    assert [document["status"] for document in receiver.documents] == [*["failed"] * len(get_args(Kind)), "completed"]
    for document in receiver.documents:
        assert document["test"] is True
        assert document["text"].startswith("TEST. ")
        assert (document["client"], document["list_key"]) == ("acme", importer.sandbox.list_key)
    assert len(result.out.splitlines()) == len(receiver.received) == 3 + len(kinds)
    assert {line[0] for line in result.out.splitlines()} == {"✓"}
    assert not importer.db.exists()


def test_what_is_not_delivered_is_1_with_a_reason_and_without_the_address(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """One that fails is crossed, the others are ticked; no key and no address is repeated."""
    importer = telling(make_importer, receiver)
    receiver.statuses = [200, 404, 404]
    result = importer("notify", "test")
    assert result.code == 1
    marks = [line[0] for line in result.out.splitlines()]
    assert marks == ["✓", "✗", *["✓"] * (len(marks) - 2)]
    assert result.out.splitlines()[1].endswith("healthcheck_url answered 404: notification not delivered")
    assert receiver.url not in result.out + result.err
    assert importer.sandbox.mailchimp_key not in result.out + result.err


def test_an_address_that_takes_nothing_is_soon_left_alone(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """After three in a row, the rest of that address is not sent, which is said for each; others get theirs."""
    importer = telling(make_importer, receiver)
    receiver.statuses = [*[200] * 3, *[500] * 100]
    lines = importer("notify", "test", "--json").lines
    assert [line["delivered"] for line in lines] == [True] * 3 + [False] * (len(lines) - 3)
    assert {line["reason"] for line in lines[6:]} == {"not sent, because those before it were not delivered"}
    assert len(receiver.documents) == 6  # two tries each


def test_the_addresses_of_one_client_alone_can_be_tested(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Its own health check, and the webhook that it shares with others; the health check of the call is nobody's."""
    text = BOTH + 'notify.healthcheck_url = "{receiver}/acme"\n'
    importer = telling(make_importer, receiver, text)
    assert importer("notify", "test", "--client", "acme").code == 0
    assert receiver.paths[:3] == ["/acme/start", "/acme/fail", "/acme"]
    assert set(receiver.paths[3:]) == {"/hook"}


def test_a_webhook_that_clients_share_is_tested_once(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Nobody wants the same message from each of a hundred clients."""
    second = CONFIG[CONFIG.index("[clients.acme]") :].replace("clients.acme", "clients.globex")
    second = second.replace("{list_key}", "9f8e7d6c5b")
    importer = telling(make_importer, receiver, f"{BOTH}\n{second}")
    assert importer("notify", "test").code == 0
    assert len(receiver.documents) == len(get_args(Kind)) + 1


def test_json_has_a_line_for_each_notification(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """With the name of the setting, never its value."""
    lines = telling(make_importer, receiver)("notify", "test", "--json").lines
    assert lines[0] == {"address": "healthcheck_url", "kind": "start", "delivered": True, "reason": None}
    assert {line["address"] for line in lines} == {"healthcheck_url", "webhook_url of acme"}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (CONFIG, []),
        ('[notify]\nhealthcheck_url = "{receiver}/ping"\n\n' + CONFIG, ["--client", "acme"]),
        (BOTH, ["--client", "nobody"]),
    ],
    ids=["no address", "none of the client", "no such client"],
)
def test_where_there_is_no_address_it_is_2(
    make_importer: MakeImporter, receiver: WebhookReceiver, text: str, options: list[str]
) -> None:
    """Nothing is sent, and the message says what to set."""
    result = telling(make_importer, receiver, text)("notify", "test", *options)
    assert (result.code, result.out, receiver.received) == (2, "", [])
    assert "onfigured" in result.err


def test_an_address_that_is_not_set_is_a_reason(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Its variable is named."""
    importer = telling(make_importer, receiver, BOTH.replace("{receiver}/ping", "env:PING_THAT_NOBODY_SET"))
    result = importer("notify", "test")
    assert result.code == 1
    assert "PING_THAT_NOBODY_SET is not set" in result.out
    assert len(receiver.documents) == len(get_args(Kind)) + 1
