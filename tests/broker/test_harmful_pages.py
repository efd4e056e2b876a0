"""Pages that harm: that kill their workers, that no worker understands, or that none ends in time."""

from __future__ import annotations

import signal
import sqlite3
import threading
from contextlib import closing

import pytest

from broker.conftest import SYNC, Cluster, assert_all_imported, clients, pushes, span_of
from mcimport.engine.distributed.work_queue import REVOCATIONS
from mcimport.sandbox.request_log import Request
from mcimport.state import open_state

SECOND = "a second thread writes to the connection of the first"
SECOND_THREAD = f"""
import sys
import threading

from amqp.transport import _AbstractTransport as Transport

read, write, firsts = Transport.read_frame, Transport.write, []


def read_frame(self):
    if threading.current_thread() is threading.main_thread() and not any(one is self for one in firsts):
        firsts.append(self)
    return read(self)


def written(self, *arguments):
    if threading.current_thread() is not threading.main_thread() and any(one is self for one in firsts):
        sys.stderr.write("{SECOND}\\n")
    return write(self, *arguments)


Transport.read_frame, Transport.write = read_frame, written
"""


def test_a_page_that_kills_its_workers_and_one_that_fails_are_one_dead_letter_each(cluster: Cluster) -> None:
    """All else is done, of another client, too, whose pages the same workers had; each kind of replay mends one."""
    importer = cluster.importer
    found = clients(cluster, 2, size=600, window=100)
    sandbox, list_key = importer.sandbox, found["c0"]["list_key"]
    sandbox.settings.broken = ["550-550"]
    sandbox.settings.latency = 0.3
    workers = cluster.start_ready_workers(1)
    deadly: list[tuple[str, str]] = []

    def send_signal(request: Request) -> None:
        """Whoever asks for that page dies of it, as of a fault in a library; the other workers go on."""
        span = span_of(request)
        if span is None:
            return
        if not deadly:
            deadly.append(span)
        if span == deadly[0]:
            for one in workers:
                if one.is_alive:
                    one.kill()
            workers.extend(cluster.start_workers())

    def fault(request: Request) -> str | None:
        if request.service == "mailchimp" and request.path == f"/lists/{list_key}/members":
            send_signal(request)
        return None

    sandbox.settings.fault = fault
    result = importer.in_a_process(*SYNC, "--json")
    sandbox.settings.fault = None
    assert result.code == 3, result.err
    letters = importer("dlq", "list", "--json").lines
    found_by = {"workers died": ["c0"], "500": ["c0", "c1"]}
    for words, whose in found_by.items():
        assert sorted(letter["client"] for letter in letters if words in letter["reason"]) == whose, letters
    assert len(letters) == 3
    sandbox.settings.broken = []
    (killer,) = [str(letter["id"]) for letter in letters if "workers died" in letter["reason"]]
    assert importer.in_a_process("dlq", "replay", killer, "--engine", "celery").code == 0
    assert importer.in_a_process("dlq", "replay").code == 0
    assert importer("dlq", "list", "--json").lines == []
    assert_all_imported(importer, found)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("TypeError('person@example.com')", "unexpected error in mcimport: TypeError"),
        ("OSError(errno.EMFILE, 'person@example.com')", "the operating system reported an error: Too many open files"),
    ],
    ids=["mistake", "machine"],
)
def test_a_worker_that_fails_at_every_page_ends_the_run_in_its_words(cluster: Cluster, fault: str, words: str) -> None:
    """That is no member's fault, so nobody's dead letter: with another worker the next sync goes on."""
    importer = cluster.importer
    found = clients(cluster, 1, size=40, window=100)
    before = (
        f"import errno\n\nimport tenacity\n\ndef broken(*_):\n    raise {fault}\n\n"
        "tenacity.Retrying.__call__ = broken\n"
    )
    (worker,) = cluster.start_ready_workers(before=before)
    result = importer.in_a_process(*SYNC, "--json")
    assert (result.code, result.line["status"]) == (1, "failed"), result.err
    assert words in result.err
    assert importer("dlq", "list", "--json").lines == []
    assert any("was answered with failed: worker" in line and words in line for line in worker.lines), worker.lines
    assert not any("example.com" in line or "Traceback" in line for line in (*worker.lines, result.err))
    worker.leave()
    cluster.start_ready_workers()
    assert importer.in_a_process(*SYNC).code == 0
    assert_all_imported(importer, found)


def test_a_page_that_no_worker_ends_in_time_is_moved_by_the_coordinator(cluster: Cluster) -> None:
    """A crowded second is read whole, and an account may be busy for hours: there is no deadline in that process."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    before = "from mcimport.engine.distributed import executor\n\nexecutor.PAGE_DEADLINE, executor.LOOK = 0.3, 0.1\n"
    importer.sandbox.settings.latency = 0.6
    cluster.start_ready_workers(before=before)
    result = importer.in_a_process(*SYNC, "--json")
    assert (result.code, result.line["dead_letters"]) == (0, 0), result.err
    assert_all_imported(importer, found)


def test_a_page_that_makes_workers_stand_still_is_moved_by_the_coordinator(cluster: Cluster) -> None:
    """It keeps its worker from everything else, as a swapping machine does, so that it may be another's: for ever.

    Over TLS, where a connection that is hung up under a reader is just as gone. No second thread ever writes to it:
    neither TLS nor the client library knows what to make of that.
    """
    importer = cluster.importer
    found = clients(cluster, 1, size=600, window=100)
    before = f"{SECOND_THREAD}\nfrom mcimport.engine.distributed import executor\n\nexecutor.SUSPENDED = 0.5\n"
    cluster.speak_over_tls()
    (worker,) = cluster.start_ready_workers(before=before)
    standstills: list[tuple[str, str]] = []

    def stand_still(request: Request) -> str | None:
        """At one and the same page, for a second."""
        span = span_of(request)
        if span is not None and span == (standstills or [span])[0]:
            standstills.append(span)
            worker.signal(signal.SIGSTOP)
            threading.Timer(1.0, worker.signal, (signal.SIGCONT,)).start()
        return None

    importer.sandbox.settings.fault = stand_still
    result = importer.in_a_process(*SYNC, "--json")
    importer.sandbox.settings.fault = None
    assert (result.code, result.line["dead_letters"]) == (0, 0), result.err
    assert len(standstills) > REVOCATIONS
    assert_all_imported(importer, found)
    assert not any("Traceback" in line or SECOND in line for line in worker.lines), worker.lines
    assert worker.leave() == 0


def test_a_worker_that_does_not_understand_ends_the_run_in_words(cluster: Cluster) -> None:
    """It is of another version, so it rejects whatever it is sent: at once, rather than when somebody wakes up."""
    importer = cluster.importer
    found = clients(cluster, 1, size=120)
    before = (
        "import msgspec\nfrom mcimport.engine.distributed import messages\n\n\n"
        "def message_of(_):\n    raise msgspec.MsgspecError\n\n\nmessages.message_of = message_of\n"
    )
    (worker,) = cluster.start_ready_workers(before=before)
    result = importer.in_a_process(*SYNC, "--json")
    assert result.code == 1, result.err
    assert "did not understand" in result.line["error"]
    worker.leave()
    cluster.start_ready_workers()
    assert importer.in_a_process(*SYNC).code == 0
    assert_all_imported(importer, found)


def test_what_could_not_be_recorded_is_heard_again_by_the_next_run(cluster: Cluster) -> None:
    """A full disk, say: the broker keeps the outcomes, and no page is moved twice."""
    importer = cluster.importer
    found = clients(cluster, 1, size=600, window=100)
    cluster.start_ready_workers()
    with open_state(importer.db):
        pass
    with closing(sqlite3.connect(importer.db)) as db, db:
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE OF status ON windows WHEN new.status = 'done'"
            " BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    assert importer.in_a_process(*SYNC).code != 0
    assert pushes(importer, found["c0"]) != []
    with closing(sqlite3.connect(importer.db)) as db, db:
        db.execute("DROP TRIGGER full")
    assert importer.in_a_process(*SYNC).code == 0
    assert_all_imported(importer, found)
    pushed = [who for push in pushes(importer, found["c0"]) for who in push.ids]
    assert len(pushed) == len(set(pushed))
