"""What goes over the broker is believed of those alone who have a client's keys, and once; nothing goes in the open."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from celery.exceptions import Reject
from conftest import CONFIG, MakeImporter
from pydantic import SecretStr

from engine.distributed.test_executor import TWIN, fence, page_message, sent, stop, workplace
from mcimport.config import Client, load
from mcimport.engine.distributed.broker import application
from mcimport.engine.distributed.broker_channel import BrokerChannel
from mcimport.engine.distributed.messages import FenceCleared, Outdated, Returned
from mcimport.engine.distributed.seal import Direction, SealError, _sealed, open_reply, reason_words, sealed_of
from mcimport.engine.distributed.worker import _opened
from mcimport.services.http.shutdown import StopSignal

__all__ = ["stop"]  # a fixture


CHANGED = {
    "another window": ('"until":2000000000', '"until":1000000000'),
    "another list": ('"list_key":"', '"list_key":"x'),
    "another run": ('"run_id":1', '"run_id":2'),
    "another reply queue": ('"reply_to":"q"', '"reply_to":"other"'),
    "a later epoch": ('"epoch":1', '"epoch":9'),
    "every event allowed": ('"subscription_events":"none"', '"subscription_events":"all"'),
    "more events": ('"events_left":0', '"events_left":9'),
    "texts allowed": ('"has_sms":true', '"has_sms":false'),
}


@pytest.mark.parametrize("name", CHANGED)
def test_an_order_that_was_seen_cannot_be_repeated_with_anything_else_in_it(
    make_importer: MakeImporter, stop: StopSignal, name: str
) -> None:
    """The seal is over the whole of it: nothing else than what its coordinator sent is carried out."""
    importer = make_importer(size=10)
    seen = sent(importer, page_message(importer, has_sms=True))
    text = seen.text.replace(*CHANGED[name])
    assert text != seen.text
    with pytest.raises(SealError) as dropped:
        workplace(importer, stop).opened(msgspec.structs.replace(seen, text=text))
    assert dropped.value.reason == "both"


def test_an_order_that_is_not_sealed_or_for_another_client_is_not_opened(
    make_importer: MakeImporter, stop: StopSignal
) -> None:
    """Also where that client has the same keys, and where the seal is one that was seen on a reply."""
    importer = make_importer(size=10)
    importer.configure(CONFIG + TWIN.replace("NAME", "twin"))
    place = workplace(importer, stop)
    ours = page_message(importer)
    seen = sent(importer, ours)
    back = sealed_of(place.sealed(ours, Returned(ours.ref)))
    forged = [
        msgspec.structs.replace(seen, client="twin"),
        msgspec.structs.replace(seen, mailchimp="", ometria=""),
        msgspec.structs.replace(seen, mailchimp="é" * 64),
        msgspec.structs.replace(seen, mailchimp=seen.ometria, ometria=seen.mailchimp),
        msgspec.structs.replace(back, text=seen.text),
        back,
    ]
    for one in forged:
        with pytest.raises(SealError):
            place.opened(one)
    assert place.opened(seen) == ours


def test_a_reply_is_heard_only_as_its_worker_sealed_it(make_importer: MakeImporter, stop: StopSignal) -> None:
    """Nobody who has not the client's keys tells a coordinator what became of its members."""
    importer = make_importer(size=10)
    client = load(config=importer.config, environ={}).clients["acme"]
    place = workplace(importer, stop)
    ours = page_message(importer)
    reply = Returned(ours.ref)
    back = sealed_of(place.sealed(ours, reply))
    assert open_reply(client, back) == reply
    changed = back.text.replace('"type":"returned"', '"type":"revoked"')
    assert changed != back.text
    for forged in (msgspec.structs.replace(back, text=changed), sent(importer, ours)):
        with pytest.raises(SealError):
            open_reply(client, forged)


def test_an_order_that_was_seen_cannot_be_repeated_as_it_is(make_importer: MakeImporter, stop: StopSignal) -> None:
    """Its worker has had it, a later fence makes it old, and no other worker answered the fence before it."""
    importer = make_importer(size=10)
    place, another = workplace(importer, stop), workplace(importer, stop)
    first = place.execute(fence(importer, epoch=1))
    assert type(first) is FenceCleared
    page = page_message(importer, epoch=1, worker_token=first.worker_token)
    assert place.has_fenced(page)
    assert not place.is_repeated(page)
    assert place.is_repeated(page)
    assert not place.is_repeated(page_message(importer, message_id="another"))
    assert type(another.execute(fence(importer, epoch=1))) is FenceCleared  # repeated there, too
    assert not another.has_fenced(page)
    assert not place.has_fenced(page_message(importer, epoch=1))
    assert type(place.execute(fence(importer, epoch=2))) is FenceCleared
    assert type(place.execute(page)) is Outdated
    assert type(place.execute(fence(importer, epoch=1))) is Outdated
    assert importer.sandbox.requests == []


FORMER = {  # as version 0.1.0 sent them before each message named its type
    "kind": "page",
    "id": "1",
    "epoch": 1,
    "state_id": "m",
    "reply_to": "q",
    "client": "acme",
    "list_key": "l",
    "run_id": 1,
    "settings": "0123456789abcdef",
    "worker_token": "w",
    "window": {"number": 0, "sweep": "listed", "since": None, "until": 2_000_000_000},
}
FORMER_REPLY = {"kind": "returned", "id": "1", "epoch": 1, "state_id": "m", "run_id": 1, "worker": "w"}


def sealed_text(client: Client, direction: Direction, message: dict[str, Any]) -> str:
    """A message of any form with the seals of the client's keys, as the broker has it."""
    return msgspec.json.encode(_sealed(client, direction, json.dumps(message))).decode()


@pytest.mark.parametrize("kind", ["page", "fence"])
def test_a_message_of_the_former_form_is_rejected(make_importer: MakeImporter, stop: StopSignal, kind: str) -> None:
    """Its coordinator has the right keys and another version: it gets its message back, and nothing is processed."""
    importer, lines = make_importer(size=10), list[tuple[str, str]]()
    client = load(config=importer.config, environ={}).clients["acme"]
    text = sealed_text(client, "order", {**FORMER, "kind": kind})
    with pytest.raises(Reject) as rejected:
        _opened(None, workplace(importer, stop), None, text, lambda *line: lines.append(line))
    assert vars(rejected.value)["requeue"] is False
    assert lines == [("error", "a message was rejected: this version of mcimport does not understand it")]
    assert importer.sandbox.requests == []


def test_neither_form_of_messages_is_decoded_as_the_other(make_importer: MakeImporter, stop: StopSignal) -> None:
    """What a former version decodes by needs a field that no message has any more, and the other way round."""
    importer = make_importer(size=10)
    client = load(config=importer.config, environ={}).clients["acme"]
    for message in (page_message(importer), fence(importer)):
        assert "kind" not in json.loads(sent(importer, message).text)
    back = sealed_of(workplace(importer, stop).sealed(page_message(importer), Returned(page_message(importer).ref)))
    assert "kind" not in json.loads(back.text)
    with pytest.raises(msgspec.MsgspecError):
        open_reply(client, sealed_of(sealed_text(client, "reply", FORMER_REPLY)))


def test_a_coordinator_drops_messages_and_replies_of_the_former_form(
    make_importer: MakeImporter,
) -> None:
    """A coordinator takes it off its queue, and what it was about stays pending."""
    importer, warnings, done = make_importer(size=10), list[str](), list[str]()
    client = load(config=importer.config, environ={}).clients["acme"]
    channel = BrokerChannel(application(SecretStr("amqp://localhost")), 0, "m", client, warnings.append)
    returned = json.dumps([[sealed_text(client, "order", FORMER)], {}, {}])
    for body, headers in (
        (returned, {"task": "mcimport.page"}),
        (sealed_text(client, "reply", FORMER_REPLY), {}),
    ):
        channel._receive(SimpleNamespace(body=body, headers=headers, ack=lambda: done.append("done")))
    assert (list(channel._received), warnings, done) == ([], [], ["done", "done"])


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[clients.acme]", "[clients.other]", "has no client acme"),
        ('mailchimp_api_key = "', 'mailchimp_api_key = "another', "another Mailchimp key for client acme than"),
        ('ometria_api_key = "', 'ometria_api_key = "another', "another Ometria key for client acme than"),
        ('api_key = "', 'api_key = "another', "is not signed with the keys of client acme"),
        ('ometria_api_key = "', 'ometria_api_key = "env:NOWHERE', "cannot read the keys of client acme"),
    ],
)
def test_a_worker_says_why_it_does_not_open_an_order(
    make_importer: MakeImporter, stop: StopSignal, before: str, after: str, words: str
) -> None:
    """Which client and which of the keys is to be looked at."""
    importer = make_importer(size=10)
    seen = sent(importer, page_message(importer))
    text = importer.config.read_text()
    assert before in text
    importer.config.write_text(text.replace(before, after))
    with pytest.raises(SealError) as dropped:
        workplace(importer, stop).opened(seen)
    assert words in reason_words(dropped.value.reason, "acme")


# ---- in the open

PLAIN = ["amqp://u:secret@broker.example:5672/", "amqp://rabbitmq", "amqp://u:secret@10.0.0.5//", "amqp://[fd00::5]/"]


@pytest.mark.parametrize("address", PLAIN)
@pytest.mark.parametrize("command", [("sync",), ("check", "--offline")], ids=" ".join)
def test_a_broker_that_is_not_this_machine_is_not_spoken_to_in_the_open(
    make_importer: MakeImporter, command: tuple[str, ...], address: str
) -> None:
    """Before any request, in words that say both ways out and repeat nothing of the address."""
    importer = make_importer(size=10)
    importer.configure(f'[engine]\nkind = "celery"\nbroker = "{address}"\n{CONFIG}')
    result = importer(*command)
    assert result.code == (1 if command[0] == "check" else 2)
    said = result.out + result.err
    assert "amqps://" in said
    assert "allow_plain = true" in said
    assert "secret" not in said
    assert importer.sandbox.requests == []


def test_a_worker_does_not_begin_with_a_broker_that_others_could_hear(make_importer: MakeImporter) -> None:
    """It ends at once, rather than waiting for that broker."""
    importer = make_importer(size=10)
    importer.configure(f'[engine]\nbroker = "{PLAIN[0]}"\n{CONFIG}')
    result = subprocess.run(importer.command("worker"), capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert "allow_plain = true" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    ("address", "more"),
    [
        *((one, "allow_plain = true\n") for one in PLAIN),
        *((one.replace("amqp:", "amqps:"), "") for one in PLAIN),
        *((f"amqp://u:p@{host}:5672//", "") for host in ("localhost", "127.0.0.1", "127.3.2.1", "[::1]")),
    ],
)
def test_a_broker_over_tls_or_on_this_machine_or_allowed_by_name_is_taken(
    make_importer: MakeImporter, address: str, more: str
) -> None:
    """Nothing of a working configuration is refused."""
    importer = make_importer(size=10)
    importer.configure(f'[engine]\nbroker = "{address}"\n{more}{CONFIG}')
    assert load(config=importer.config, environ={}).engine.broker().get_secret_value() == address
