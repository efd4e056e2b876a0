"""The main job over RabbitMQ and Celery: every promise holds with any number of workers, whichever of them dies."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from passing import time_passes
from pydantic import SecretStr

from broker.conftest import (
    SYNC,
    Cluster,
    assert_all_imported,
    clients,
    connections_open,
    pushes,
    pushes_at_most,
    span_of,
)
from mcimport.engine.distributed import broker_channel, coordinator
from mcimport.engine.distributed.broker import SHARDS, inspect
from mcimport.sandbox.request_log import Request
from mcimport.state import elsewhere, open_state

# ---- on a good day


def test_twenty_clients_over_four_workers(cluster: Cluster) -> None:
    """Everybody is in, no limit was met, and each worker had a share of the accounts."""
    importer = cluster.importer
    found = clients(cluster, 20, size=600)
    importer.sandbox.settings.pushes_per_second = 8
    importer.sandbox.settings.latency = 0.05
    importer.sandbox.settings.jitter = (
        0.4  # eight processes on two cores: it hears late; eight of two workers each are still too many
    )
    workers = cluster.start_ready_workers(4)
    result = importer.in_a_process(*SYNC, "--json")
    assert result.code == 0, result.err
    assert_all_imported(importer, found)
    assert [
        (one.service, one.status, one.open) for one in importer.sandbox.requests if one.status not in (200, 202)
    ] == []
    for client in found.values():
        assert pushes_at_most(importer, client)
        assert connections_open(importer, client) <= 10
    shares = [one.share for one in workers]
    assert sum(shares) in range(SHARDS, SHARDS + 9)  # two may take one at the same moment: the first is its worker
    assert min(shares) > 0, shares


def test_what_changed_since_is_carried_and_an_idle_list_sends_no_order(cluster: Cluster) -> None:
    """The second run finds nothing, the third one who changed; both are like a sync's in one process."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    (worker,) = cluster.start_ready_workers()
    assert importer.in_a_process(*SYNC).code == 0
    worker.leave()
    idle = importer.in_a_process(*SYNC, "--json")  # without any worker
    assert (idle.code, idle.line["contacts_pushed"]) == (0, 0), idle.err
    audience = importer.sandbox.audience(found["c0"]["list_key"])
    audience.add(email_address="new@example.com")
    time_passes(5)  # who changes in a run's last seconds before it begins comes with the next one
    cluster.start_ready_workers()
    changed = importer.in_a_process(*SYNC, "--json")
    assert (changed.code, changed.line["contacts_pushed"]) == (0, 1), changed.err
    assert_all_imported(importer, found)


def test_a_worker_that_is_asked_to_leave_gives_back_what_it_has(cluster: Cluster) -> None:
    """Its pages end or go to the next worker at once; none is suspected of anything."""
    importer = cluster.importer
    found = clients(cluster, 2, size=1_000)
    importer.sandbox.settings.pushes_per_second = 8
    first, _ = cluster.start_ready_workers(2)
    coordinator = cluster.coordinator()
    while len(pushes(importer, found["c0"])) < 5:
        assert coordinator.poll() is None
    assert first.leave() == 0
    out, err = coordinator.communicate(timeout=100)
    assert coordinator.returncode == 0, err
    assert sum(json.loads(line)["dead_letters"] for line in out.splitlines()) == 0
    assert_all_imported(importer, found)
    for client in found.values():
        assert pushes_at_most(importer, client)


# ---- on a bad one


def test_a_worker_whose_channel_the_broker_ends_leaves_its_pages_to_the_next(cluster: Cluster) -> None:
    """What it had is another's by then: it pushes nothing beside that one, and stands by over a new connection.

    The broker ends a channel where an acknowledgement took too long, say; here because one names no message.
    """
    importer = cluster.importer
    found = clients(cluster, 1, size=3_000, window=100)
    importer.sandbox.settings.pushes_per_second = 10_000  # how fast it was is measured here
    wrongly = (
        "from celery import signals\n\ndone = []\n\n\n@signals.task_received.connect(weak=False)\n"
        "def acknowledge_wrongly(sender=None, **_):\n    if not done:\n        done.append(1)\n"
        "        sender.timer.call_after(1.5, lambda: sender.task_consumer.channel.basic_ack(99_999))\n"
    )
    (first,) = cluster.start_ready_workers(before=wrongly)
    cluster.start_ready_workers()
    result = importer.in_a_process(*SYNC, "--json")
    assert (result.code, result.line["dead_letters"]) == (0, 0), result.err
    assert_all_imported(importer, found)
    assert pushes_at_most(importer, found["c0"])
    assert any("PreconditionFailed" in line for line in first.lines), first.lines
    assert first.leave() == 0


# ---- who may not, and who is not there


def test_a_note_that_pages_are_out_stays_until_a_worker_says_that_none_are(cluster: Cluster) -> None:
    """Whoever cannot reach the broker, or is refused by a worker, knows nothing of what a coordinator before left."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    with open_state(importer.db) as state:
        elsewhere.begin(state, "c0")
    wrong = cluster.rabbit.address.replace("guest:guest", "x:x")
    away = importer.in_a_process(*SYNC, environment={"MCIMPORT_BROKER": wrong})
    assert "refused the login" in away.err
    assert importer("sync").code == 1
    whole = importer.config.read_text()
    importer.config.write_text(whole.replace("[mailchimp]", '[ometria]\ncollection = "people"\n[mailchimp]'))
    (worker,) = cluster.start_ready_workers()
    importer.config.write_text(whole)
    refused = importer.in_a_process(*SYNC)
    assert "settings of client c0" in refused.err
    assert importer("sync").code == 1
    assert pushes(importer, found["c0"]) == []
    worker.leave()
    cluster.start_ready_workers()
    assert importer.in_a_process(*SYNC).code == 0
    assert importer("sync").code == 0
    assert_all_imported(importer, found)


def test_a_client_of_which_no_page_went_out_may_be_synced_here_at_once(cluster: Cluster) -> None:
    """Somebody tried the engine, and had typed the address wrong: nothing is out, so nothing is to be waited for."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    wrong = cluster.rabbit.address.replace("guest:guest", "x:x")
    assert importer.in_a_process(*SYNC, environment={"MCIMPORT_BROKER": wrong}).code == 2
    assert importer("sync").code == 0
    assert_all_imported(importer, found)


def test_a_worker_refuses_a_client_that_it_does_not_have(cluster: Cluster) -> None:
    """In words that reach the coordinator; nothing is pushed, and the other client is done."""
    importer = cluster.importer
    found = clients(cluster, 2, size=120)
    whole = importer.config.read_text()
    importer.config.write_text(whole[: whole.index("[clients.c1]")])
    (worker,) = cluster.start_ready_workers()
    importer.config.write_text(whole)
    result = importer.in_a_process(*SYNC, "--json")
    assert result.code == 2
    errors = {line["client"]: line["error"] for line in result.lines}
    assert errors["c0"] is None
    assert "has no client c1" in errors["c1"]
    assert any("has no client c1" in line for line in worker.lines)
    assert pushes(importer, found["c1"]) == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('ometria_api_key = "{ometria_key}"', 'ometria_api_key = "another"', "another Ometria key for client c0 than"),
        ("[retry]", '[ometria]\ncollection = "people"\n[retry]', "settings of client c0 differ from"),
    ],
    ids=["another key", "another collection"],
)
def test_a_worker_with_another_configuration_moves_nothing(
    cluster: Cluster, before: str, after: str, words: str
) -> None:
    """Another key leads to another account, other settings make another contact: both are refused before any push."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    whole = importer.config.read_text()
    changed = whole.replace(before.format(**found["c0"]), after)
    assert changed != whole
    importer.config.write_text(changed)
    cluster.start_ready_workers()
    importer.config.write_text(whole)
    result = importer.in_a_process(*SYNC, "--json")
    assert result.code == 2
    assert words in result.line["error"]
    assert [one for one in importer.sandbox.requests if one.path == "/push"] == []


def with_broker(cluster: Cluster) -> None:
    """For a coordinator in this process."""
    text = cluster.importer.config.read_text().replace("{", "{{").replace("}", "}}")
    cluster.importer.configure(f'{text}[engine]\nbroker = "{cluster.rabbit.address}"\n')


def test_without_workers_a_sync_ends_in_words(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than waiting for ever: they all died, with a page in their hands that nobody takes then.

    Orders that nobody took come back, and the next sync sends new ones. That pages are out was noted anew all the time,
    so that it holds for as long as one may be.
    """
    monkeypatch.setattr(broker_channel, "MESSAGES_LIVE", 0.2)
    monkeypatch.setattr(coordinator, "NO_WORKER", 3.0)
    monkeypatch.setattr(coordinator, "LOOK_AT_QUEUE", 0.2)
    monkeypatch.setattr(coordinator, "LEND_ANEW", 0.2)
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    with_broker(cluster)
    (worker,) = cluster.start_ready_workers()

    def hang(request: Request) -> str | None:
        if span_of(request) is None:
            return None
        threading.Timer(1.5, worker.kill).start()
        return "silent"

    importer.sandbox.settings.fault = hang
    result = importer(*SYNC, "--json")
    importer.sandbox.settings.fault = None
    assert result.code == 1
    assert "no worker is connected" in result.line["error"]
    assert "waiting up to 3 s" in result.err
    assert inspect(SecretStr(cluster.rabbit.address), importer.db, ["c0"]).waiting == 0
    with open_state(importer.db) as state:
        began = state.value("SELECT unixepoch(max(started_at)) FROM runs")
        noted = elsewhere.since(state, "c0")
    assert noted is not None
    assert noted > began + 2
    cluster.start_ready_workers()
    assert importer.in_a_process(*SYNC).code == 0
    assert_all_imported(importer, found)


def test_a_run_whose_pages_are_never_answered_ends_in_words(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its fences are: whatever swallows the replies, pages are sent anew once, and not for ever."""
    monkeypatch.setattr(coordinator, "OVERDUE", 2.5)
    monkeypatch.setattr(coordinator, "LOOK_AT_QUEUE", 0.1)
    importer = cluster.importer
    found = clients(cluster, 1, size=40)
    with_broker(cluster)
    swallowed = (
        "from mcimport.engine.distributed import messages, worker\n\nexecuted = worker._executed\n\n\n"
        "def answer_fences(executor, message, *more):\n"
        "    reply = executed(executor, message, *more)\n"
        "    return reply if isinstance(message, messages.Fence) else None\n"
        "\n\nworker._executed = answer_fences\n"
    )
    cluster.start_ready_workers(before=swallowed)
    result = importer(*SYNC, "--json")
    assert result.code == 1
    assert "no worker answers" in result.line["error"]
    assert len(pushes(importer, found["c0"])) == 2


@contextmanager
def cut_short(port: int, bytes_each: int) -> Iterator[int]:
    """A way to a port of this machine on which each connection ends after so many bytes of answers; its own port."""

    def carry(source: socket.socket, target: socket.socket, most: float) -> None:
        with suppress(OSError):
            while most > 0 and (data := source.recv(4096)):
                target.sendall(data)
                most -= len(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", port))
                ends.extend((near, far))
                for way in ((near, far, math.inf), (far, near, bytes_each)):
                    threading.Thread(target=carry, args=way, daemon=True).start()

    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()
            for one in ends:
                one.close()


def test_a_line_that_breaks_as_often_as_it_is_made_ends_the_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the fence is sent, and the line breaks under a look at the queue: that broker is as good as away."""
    monkeypatch.setattr(coordinator, "BROKER_AWAY", 2.0)
    monkeypatch.setattr(coordinator, "LOOK_AT_QUEUE", 0.1)
    importer = cluster.importer
    clients(cluster, 1, size=120)
    with cut_short(cluster.rabbit.port, bytes_each=1_500) as port:
        address = cluster.rabbit.address.replace(str(cluster.rabbit.port), str(port))
        text = importer.config.read_text().replace("{", "{{").replace("}", "}}")
        importer.configure(f'{text}[engine]\nbroker = "{address}"\n')
        result = importer(*SYNC, "--json")
    assert result.code == 1
    assert "the broker cannot be reached" in result.line["error"]
    assert "retrying for up to 2 s" in result.err


def test_check_and_status_know_the_broker(cluster: Cluster) -> None:
    """Whether it can be reached, whether anybody takes orders, and what waits."""
    importer = cluster.importer
    clients(cluster, 1, size=120)
    importer.config.write_text('[engine]\nkind = "celery"\n' + importer.config.read_text())
    result = importer.in_a_process("check", "--json")
    found = {line["subject"]: line for line in result.lines}
    assert (result.code, found["broker"]["verdict"], found["workers"]["verdict"]) == (1, "good", "bad")
    cluster.start_ready_workers()
    assert importer.in_a_process("check").code == 0
    assert importer.in_a_process("sync").code == 0
    result = importer.in_a_process("status")
    assert f"broker: {SHARDS} of {SHARDS} queues have a worker, 0 messages waiting, 0 results not fetched" in result.err
    away = {"MCIMPORT_BROKER": "amqp://guest:pass-word@127.0.0.1:9//"}
    for command in ("check", "status"):
        result = importer.in_a_process(command, environment=away)
        assert "the broker cannot be reached" in result.out + result.err
        assert "pass-word" not in result.out + result.err


def test_a_wrong_password_is_said_at_once(cluster: Cluster) -> None:
    """It is a setting, so the exit code is 2; the address is not repeated."""
    importer = cluster.importer
    clients(cluster, 1, size=120)
    wrong = cluster.rabbit.address.replace("guest:guest", "guest:pass-word")
    for command in (SYNC, ("worker",)):
        result = importer.in_a_process(*command, environment={"MCIMPORT_BROKER": wrong})
        assert result.code == 2
        assert "refused the login" in result.err
        assert "pass-word" not in result.err
