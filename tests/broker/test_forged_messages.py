"""Whoever can write to the broker: what they send, repeat or change is believed by nobody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from kombu import Connection, Queue
from passing import time_passes
from pydantic import SecretStr

from broker.conftest import SYNC, Cluster, Worker, assert_all_imported, clients, pushes
from mcimport.engine.distributed.broker import DEAD, ORDERS, application, connection, inspect
from mcimport.engine.distributed.messages import PageMessage, Processed, encoded
from mcimport.engine.distributed.seal import Sealed, sealed_of
from mcimport.models import Outcome, Usage
from mcimport.sandbox.request_log import Request

STEERING = "\x1b[2J[red]"
SHOWN = "\\x1b[2J[red]"


class Attacker:
    """Hears a copy of each order, and writes what they like; has none of the client's keys."""

    def __init__(self, line: Connection) -> None:
        self._channel = line.default_channel
        self._copies = Queue("", ORDERS, routing_key="#", exclusive=True)(self._channel)
        self._copies.declare()
        self._producer = line.Producer()

    def next(self) -> Any:
        """The next order that was sent; None: there is none at present."""
        return self._copies.get(no_ack=True)

    def all(self) -> list[Any]:
        return list(iter(self.next, None))

    def send(self, order: Any, **changes: tuple[str, str]) -> None:
        """As it was; `changes`: what stands in its text or its envelope, and what is to stand there instead."""
        ((text,), *rest) = json.loads(order.body)
        sealed = json.loads(text)
        for name, (before, after) in changes.items():
            assert before in sealed[name]
            sealed[name] = sealed[name].replace(before, after)
        self._producer.publish(
            json.dumps([[json.dumps(sealed)], *rest]),
            exchange=ORDERS,
            routing_key=order.delivery_info["routing_key"],
            headers=order.headers,
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id=order.properties["correlation_id"],
        )

    def return_copy(self, order: Any, reason: str) -> None:
        """As the broker sends back what was rejected, or what nobody took in time."""
        self._producer.publish(
            order.body,
            exchange=DEAD,
            routing_key=order.delivery_info["routing_key"],
            headers={**order.headers, "x-first-death-reason": reason},
            content_type="application/json",
            content_encoding="utf-8",
        )

    def answer(self, order: Any, seals: str) -> None:
        """That everything was moved, though nothing was."""
        sealed = sealed_of(json.loads(order.body)[0][0])
        asked = msgspec.json.decode(sealed.text, type=PageMessage)
        reply = Processed(asked.ref, outcome=Outcome(asked.window, members=120, pushed=120), usage=Usage())
        forged = Sealed(client=asked.client, text=encoded(reply).decode(), mailchimp=seals, ometria=seals)
        self._producer.publish(
            msgspec.json.encode(forged),
            routing_key=asked.reply_to,
            content_type="application/json",
            content_encoding="utf-8",
        )


@contextmanager
def attacker(cluster: Cluster) -> Iterator[Attacker]:
    with connection(application(SecretStr(cluster.rabbit.address))) as line:
        yield Attacker(line)


def wait_for(worker: Worker, words: str, times: int = 1) -> None:
    """Until it has said so, so many times."""
    while sum(words in line for line in worker.lines) < times:
        assert worker.is_alive


def wait_for_outcomes(cluster: Cluster, least: int) -> None:
    """Until so many replies wait for a coordinator."""
    while inspect(SecretStr(cluster.rabbit.address), cluster.importer.db, ["c0"]).outcomes < least:
        assert cluster.workers[-1].is_alive


def test_an_order_that_was_seen_is_carried_out_by_nobody(cluster: Cluster) -> None:
    """Neither as it was, by the same worker or by one that has just begun, nor with anything else in it."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    (worker,) = cluster.start_ready_workers()
    with attacker(cluster) as one:
        assert importer.in_a_process(*SYNC).code == 0
        fence, *pages = one.all()
        assert pages
        pushed = len(pushes(importer, found["c0"]))
        for page in pages:
            one.send(page)
        wait_for(worker, "has already had it, for client c0", len(pages))
        one.send(pages[0], text=('"events_left":1000', '"events_left":9999'))
        wait_for(worker, "is not signed with the keys of client c0")
        one.send(pages[0], client=("c0", f"c{STEERING}0"))
        wait_for(worker, f"has no client c{SHOWN}0")
        worker.leave()
        cluster.start_ready_workers()
        for order in (fence, *pages):
            one.send(order)
        wait_for_outcomes(cluster, 1 + len(pages))
    assert len(pushes(importer, found["c0"])) == pushed
    assert not any("\x1b" in line for line in worker.lines)
    importer.sandbox.audience(found["c0"]["list_key"]).add(email_address="new@example.com")
    time_passes(5)  # who changes in a run's last seconds before it begins comes with the next one
    result = importer.in_a_process(*SYNC)
    assert (result.code, result.err.count("not signed")) == (0, 1), result.err  # the changed one, which came back
    assert_all_imported(importer, found)


def test_a_reply_from_somebody_without_the_keys_is_not_believed(cluster: Cluster) -> None:
    """It says first that all was moved: nobody is missed, and the run says what it was sent."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    importer.sandbox.settings.latency = 0.5
    cluster.start_ready_workers()
    with attacker(cluster) as one:
        coordinator = cluster.coordinator()
        over = threading.Event()

        def answer() -> None:
            while not over.is_set():
                order = one.next()
                if order is not None and '\\"type\\":\\"page\\"' in json.loads(order.body)[0][0]:
                    one.answer(order, "0" * 64)

        forging = threading.Thread(target=answer)
        forging.start()
        out, err = coordinator.communicate(timeout=100)
        over.set()
        forging.join()
    assert coordinator.returncode == 0, err
    line = json.loads(out.splitlines()[0])
    assert "a message from the broker was dropped: it is not signed with the keys of client c0" in line["warnings"]
    assert_all_imported(importer, found)


def test_a_worker_with_other_keys_that_takes_over_ends_the_run_and_buries_nobody(cluster: Cluster) -> None:
    """What it cannot open says nothing of the page: no dead letter, and with the right keys the next run goes on."""
    importer = cluster.importer
    found = clients(cluster, 1, size=600)
    importer.sandbox.settings.pushes_per_second = 8
    (first,) = cluster.start_ready_workers()
    whole = importer.config.read_text()
    importer.config.write_text(whole.replace('ometria_api_key = "', 'ometria_api_key = "another'))
    (second,) = cluster.start_ready_workers()  # stands by
    importer.config.write_text(whole)
    coordinator = cluster.coordinator()
    while len(pushes(importer, found["c0"])) < 2:
        assert coordinator.poll() is None
    first.leave()
    out, err = coordinator.communicate(timeout=100)
    assert coordinator.returncode == 2, err
    assert "another Ometria key for client c0 than the coordinator" in json.loads(out.splitlines()[0])["error"]
    assert importer("dlq", "list", "--json").lines == []
    second.leave()
    cluster.start_ready_workers()
    assert importer.in_a_process(*SYNC).code == 0
    assert_all_imported(importer, found)


@pytest.mark.parametrize(
    ("before", "after"),
    [("[clients.c0]", "[clients.other]"), ("[retry]", '[ometria]\ncollection = "people"\n[retry]')],
    ids=["unopened", "refused"],
)
def test_a_workers_name_is_shown_escaped(cluster: Cluster, before: str, after: str) -> None:
    """It cannot steer a terminal, by the reason that comes back with an order or in a reply."""
    importer = cluster.importer
    clients(cluster, 1, size=20)
    whole = importer.config.read_text()
    importer.config.write_text(whole.replace(before, after))
    cluster.start_ready_workers(before=f"import socket\n\nsocket.gethostname = lambda: {'w' + STEERING!r}\n")
    importer.config.write_text(whole)
    result = importer.in_a_process(*SYNC)
    assert result.code == 2
    assert f"worker w{SHOWN}" in result.err
    assert "\x1b" not in result.err


@pytest.mark.parametrize("reason", ["rejected", "expired"])
def test_a_copy_of_an_order_that_comes_as_a_dead_letter_is_nobodys(cluster: Cluster, reason: str) -> None:
    """A page under way is said to be dead: it is done to its end, once, and nobody becomes a dead letter."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    cluster.start_ready_workers()
    copied: list[Request] = []
    with attacker(cluster) as one:

        def return_copy(request: Request) -> str | None:
            """Of every page that was sent so far, at the first push."""
            if request.path == "/push" and not copied:
                copied.append(request)
                for order in one.all():
                    one.return_copy(order, reason)
            return None

        importer.sandbox.settings.fault = return_copy
        result = importer.in_a_process(*SYNC, "--json")
        later = [json.loads(json.loads(json.loads(order.body)[0][0])["text"])["type"] for order in one.all()]
    assert copied
    assert "fence" in later  # before a page goes out again: whoever has it is ended first
    assert (result.code, result.line["dead_letters"]) == (0, 0), result.err
    assert_all_imported(importer, found)
