"""One story in which whoever can die does: nobody is lost, and no account is pushed to faster than it may be."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from passing import time_passes

from broker.conftest import SYNC, Cluster, assert_all_imported, clients, connections_open, pushes_at_most

OVERLAP = 10  # requests that a worker which was stopped may have had in its hands when it woke


@contextmanager
def meanwhile(*deeds: tuple[float, Callable[[], object]]) -> Iterator[list[float]]:
    """Does each so many seconds after the one before, as long as the block goes on; yields when each was done."""
    over, done = threading.Event(), list[float]()

    def do() -> None:
        for pause, deed in deeds:
            if over.wait(pause):
                return
            deed()
            done.append(time.monotonic())

    thread = threading.Thread(target=do)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def test_nobody_is_lost_whoever_dies(cluster: Cluster) -> None:
    """A worker killed every few seconds, one stopped and woken, the coordinator twice, the broker restarted once.

    Sync points stand where they would without all that, and no account is pushed to faster than it may, but for what
    the stopped worker had in its hands.
    """
    importer = cluster.importer
    found = clients(cluster, 20, size=3_000, window=12)  # more than is done before the last deed
    importer.sandbox.settings.pushes_per_second = 10_000  # how fast it was is measured here, rather than refused there
    workers = cluster.start_ready_workers(4)
    stopped = workers.pop()
    coordinators = [cluster.coordinator()]

    def kill_a_worker() -> None:
        workers.pop(0).kill()
        workers.extend(cluster.start_workers(is_alone=False))

    def kill_the_coordinator() -> None:
        former = coordinators[-1]
        former.kill()
        coordinators.append(cluster.coordinator())

    deeds = [
        (3.0, kill_a_worker),
        (2.0, kill_the_coordinator),
        (2.0, kill_a_worker),
        (1.0, lambda: stopped.signal(signal.SIGSTOP)),
        (3.0, kill_the_coordinator),
        (2.0, kill_a_worker),
        (1.0, cluster.rabbit.stop),
        (1.0, cluster.rabbit.start),
        (4.0, kill_a_worker),
        (4.0, kill_a_worker),
        (4.0, lambda: stopped.signal(signal.SIGCONT)),
    ]
    with meanwhile(*deeds) as done:
        for number in range(len(deeds)):
            coordinators[number].communicate(timeout=150)
            if number == len(coordinators) - 1:
                break
    assert len(done) == len(deeds)
    cluster.start_ready_workers()
    last = importer.in_a_process(*SYNC, "--json")
    assert last.code == 0, last.err
    assert_all_imported(importer, found)
    assert importer("dlq", "list", "--json").lines == []
    for client in found.values():
        importer.sandbox.audience(client["list_key"], client["mailchimp_key"]).add(email_address="new@example.com")
    time_passes(5)  # who changes in a run's last seconds before it begins comes with the next one
    result = importer("sync", "--json")  # nothing is out any more, so this process may work again
    assert [(line["status"], line["kind"], line["contacts_pushed"]) for line in result.lines] == [
        ("completed", "incremental", 1)
    ] * len(found), result.err
    assert_all_imported(importer, found)
    for client in found.values():
        assert pushes_at_most(importer, client, OVERLAP)
        assert connections_open(importer, client) <= 10 + OVERLAP
