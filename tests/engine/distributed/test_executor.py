"""The engine of many machines, as far as it needs no broker: `make test-engine` tries the rest."""

from __future__ import annotations

import errno
import itertools
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import tenacity
import trustme
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from pydantic import SecretStr

from mcimport.config import load
from mcimport.engine.distributed import broker, broker_term, client_slot
from mcimport.engine.distributed import executor as engine_workplace
from mcimport.engine.distributed.broker import group_by_account
from mcimport.engine.distributed.executor import PageExecutor
from mcimport.engine.distributed.messages import (
    Failed,
    Fence,
    FenceCleared,
    Message,
    MessageRef,
    Outdated,
    PageMessage,
    Processed,
    Refused,
    Returned,
    Revoked,
    TimedOut,
    WorkerLost,
    encoded,
    reply_of,
    settings_digest,
)
from mcimport.engine.distributed.seal import Sealed, seal, sealed_of
from mcimport.errors import InterruptedRunError, UnreachableError
from mcimport.models import Window
from mcimport.sandbox.request_log import Request
from mcimport.services.http.shutdown import StopSignal
from mcimport.state import elsewhere, open_state

LATER = 2_000_000_000
TWIN = '[clients.NAME]\nlists = ["other"]\nmailchimp_api_key = "{mailchimp_key}"\nometria_api_key = "{ometria_key}"\n'


def page_message(importer: Importer, *, epoch: int = 1, message_id: str = "page", **changes: Any) -> PageMessage:
    """For the whole list of the importer's one client."""
    made = PageMessage(
        ref=MessageRef(message_id, "m", 1),
        epoch=epoch,
        reply_to="q",
        client="acme",
        list_key=importer.sandbox.list_key,
        settings=digest(importer),
        window=Window(number=0, sweep="listed", since=None, until=LATER),
        worker_token="",
    )
    return msgspec.structs.replace(made, **changes)


def fence(importer: Importer, *, epoch: int = 1) -> Fence:
    """Of the same run."""
    return Fence(
        ref=MessageRef(f"fence{epoch}", "m", 1),
        epoch=epoch,
        reply_to="q",
        client="acme",
        list_key=importer.sandbox.list_key,
        settings=digest(importer),
    )


def digest(importer: Importer) -> str:
    client = load(config=importer.config, environ={}).clients["acme"]
    return settings_digest(client, importer.sandbox.list_key, account_group="acme")


def sent(importer: Importer, message: Message) -> Sealed:
    """As the broker has it."""
    return sealed_of(seal(load(config=importer.config, environ={}).clients["acme"], message))


@pytest.fixture
def stop() -> Any:
    one = StopSignal()
    yield one
    one.abort()


def hanging(importer: Importer) -> threading.Event:
    """From now on Mailchimp accepts a request and never answers; set with the first one."""
    asked = threading.Event()

    def hang(request: Request) -> str | None:
        asked.set()
        return "silent" if request.service == "mailchimp" else None

    importer.sandbox.settings.fault = hang
    return asked


def workplace(importer: Importer, stop: StopSignal) -> PageExecutor:
    executor = PageExecutor("w", load(config=importer.config, environ={}).clients, stop)
    executor.start()
    return executor


def test_a_sync_without_it_loads_nothing_of_celery(make_importer: MakeImporter) -> None:
    """Who does not have the extra misses nothing."""
    importer = make_importer(size=10)
    importer.create_state_file()
    program = (
        "import sys\nfrom mcimport.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'celery', 'kombu', 'amqp', 'billiard'}, loaded\n"
    )
    command = [sys.executable, "-c", program, *importer.command("sync", "--quiet")[3:]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_clients_that_share_an_account_by_way_of_others_have_one_leader(make_importer: MakeImporter) -> None:
    """A and c share nothing with each other, but both share something with b."""
    importer = make_importer()
    table = '[clients.{}]\nlists = ["{}"]\nmailchimp_api_key = "{}-us6"\nometria_api_key = "{}"\n'
    importer.configure(
        table.format("c", "3", "m3", "o2") + table.format("b", "2", "m1", "o2")
        + table.format("a", "1", "m1", "o1") + table.format("alone", "4", "m4", "o4")
    )  # fmt: skip
    found = group_by_account(load(config=importer.config, environ={}).clients.values())
    assert found == {"a": "a", "b": "a", "c": "a", "alone": "alone"}


def test_an_order_holds_no_key_and_nobody(make_importer: MakeImporter, stop: StopSignal) -> None:
    """What is sent is read by whoever can read the broker's disk."""
    importer = make_importer(size=10)
    one = sent(importer, page_message(importer, watched={"abc": 5}))
    assert workplace(importer, stop).opened(one) == page_message(importer, watched={"abc": 5})
    text = msgspec.json.encode(one).decode()
    assert importer.sandbox.ometria_key not in text
    assert importer.sandbox.mailchimp_key.partition("-")[0] not in text
    assert "@" not in text


def test_a_worker_moves_a_page_without_a_state_file(make_importer: MakeImporter, stop: StopSignal) -> None:
    """What it needs stands in the order and in its own configuration."""
    importer = make_importer(size=50)
    reply = workplace(importer, stop).execute(page_message(importer))
    assert type(reply) is Processed
    assert reply.outcome.pushed == len(expected_ids(importer)) == len(imported_ids(importer))
    assert reply.usage.ometria_requests == 1
    assert not importer.db.exists()


def test_a_worker_names_a_few_of_those_whom_it_pushed(make_importer: MakeImporter, stop: StopSignal) -> None:
    """So that a spot check asks for contacts of such a run, too: ids without anybody's data."""
    importer = make_importer(size=50)
    importer.configure(CONFIG.replace("spot_check = 0", "spot_check = 10"))
    reply = reply_of(encoded(workplace(importer, stop).execute(page_message(importer))))
    assert type(reply) is Processed
    chosen = {own for _, own in reply.outcome.sample}
    assert len(chosen) == 10
    assert chosen < imported_ids(importer)


def test_a_worker_leaves_an_account_alone_for_a_second_at_first(make_importer: MakeImporter, stop: StopSignal) -> None:
    """Whoever had it before may have pushed until now: eight of theirs and eight of ours are too many for a second."""
    importer = make_importer(size=50)
    began = time.monotonic()
    workplace(importer, stop).execute(page_message(importer))
    assert next(one.at for one in importer.sandbox.requests if one.service == "ometria") > began + 1


def test_a_fence_stands_when_nothing_older_is_under_way(make_importer: MakeImporter, stop: StopSignal) -> None:
    """Even where that hangs in a dead connection: it is ended, says so, and nothing of it is pushed afterwards."""
    importer = make_importer(size=50)
    asked = hanging(importer)
    place = workplace(importer, stop)
    with ThreadPoolExecutor(1) as pool:
        older = pool.submit(place.execute, page_message(importer, epoch=1))
        assert asked.wait(20)
        cleared = place.execute(fence(importer, epoch=2))
        assert older.done()
        assert type(cleared) is FenceCleared
        assert older.result() == Outdated(page_message(importer).ref, epoch=2)
    importer.sandbox.settings.fault = None
    assert type(place.execute(page_message(importer, epoch=1))) is Outdated
    assert imported_ids(importer) == set()
    assert type(place.execute(page_message(importer, epoch=2))) is Processed
    assert imported_ids(importer) == expected_ids(importer)


def test_a_worker_refuses_a_page_under_a_permission_that_nobody_has(
    make_importer: MakeImporter, stop: StopSignal
) -> None:
    """The coordinator hears the words and the remedy, and nobody is pushed."""
    importer = make_importer(size=30, permissions=("E-Mail",))
    there = workplace(importer, stop)
    assert type(there.execute(fence(importer))) is FenceCleared
    for number in range(2):
        reply = there.execute(page_message(importer, message_id=f"page{number}"))
        assert type(reply) is Refused
        assert "has no marketing permission “Email”; it has “E-Mail”" in reply.words
        assert 'permission = "E-Mail"' in reply.hint
    assert not importer.sandbox.contacts()
    there.close()


def test_who_was_broken_off_gives_its_page_back(make_importer: MakeImporter, stop: StopSignal) -> None:
    """The message may be another worker's by now: after a standstill, or when the broker is gone."""
    importer = make_importer(size=50)
    asked = hanging(importer)
    place = workplace(importer, stop)
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(place.execute, page_message(importer))
        assert asked.wait(20)
        place.revoke()
        assert type(page.result(20)) is Revoked
    importer.sandbox.settings.fault = None
    assert type(place.execute(page_message(importer))) is Processed


def test_what_lay_ready_when_a_connection_ended_is_given_back(make_importer: MakeImporter, stop: StopSignal) -> None:
    """The broker gave it to another worker: ours may not begin it beside that one."""
    importer = make_importer(size=50)
    place = workplace(importer, stop)
    place.term.begin(lambda: None, lambda: 0)
    former = place.term.of_connection
    place.revoke()
    assert type(place.execute(page_message(importer), former)) is Revoked
    assert type(place.execute(fence(importer, epoch=2), former)) is Revoked
    assert importer.sandbox.requests == []
    place.term.begin(lambda: None, lambda: 0)
    assert type(place.execute(page_message(importer, epoch=2), place.term.of_connection)) is Processed
    assert imported_ids(importer) == expected_ids(importer)


def test_of_suspects_one_at_a_time_is_begun_and_announced(make_importer: MakeImporter, stop: StopSignal) -> None:
    """Whoever dies of one of them is known to have had that one alone; pages of others go on beside it."""
    importer = make_importer(size=50)
    asked = hanging(importer)
    place, announced = workplace(importer, stop), list[str]()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(
            place.execute, page_message(importer, is_suspect=True), None, lambda: announced.append("first")
        )
        assert asked.wait(20)
        second = place.execute(page_message(importer, is_suspect=True), None, lambda: announced.append("second"))
        assert (type(second), announced) == (Returned, ["first"])
        importer.sandbox.settings.fault = None
        assert type(place.execute(page_message(importer))) is Processed
        place.revoke()
        first.result(20)
    third = place.execute(page_message(importer, is_suspect=True), None, lambda: announced.append("third"))
    assert type(third) is Processed
    assert announced == ["first", "third"]


@pytest.mark.parametrize("whose", ["acme", "twin"])
def test_an_account_that_a_dead_worker_had_is_left_alone_for_a_second(
    make_importer: MakeImporter, stop: StopSignal, whose: str
) -> None:
    """That one may have pushed until now, for whichever client of the account, whether ours had it before or not."""
    importer = make_importer(size=50)
    importer.configure(CONFIG + TWIN.replace("NAME", "twin"))
    place = workplace(importer, stop)
    assert type(place.execute(page_message(importer))) is Processed
    assert type(place.worker_lost(page_message(importer, client=whose))) is WorkerLost
    began = time.monotonic()
    assert type(place.execute(page_message(importer))) is Processed
    assert [one.at for one in importer.sandbox.requests if one.service == "ometria"][-1] > began + 1


def test_who_shares_an_account_with_others_than_the_coordinator_knows_moves_nothing(
    make_importer: MakeImporter, stop: StopSignal
) -> None:
    """The first name among them decides on the queue, and so on the one worker that keeps the account's limits."""
    importer = make_importer(size=50)
    importer.configure(CONFIG + TWIN.replace("NAME", "aaa"))
    reply = workplace(importer, stop).execute(page_message(importer))
    assert type(reply) is Refused
    assert "settings of client acme" in reply.words
    assert importer.sandbox.requests == []


def test_a_renamed_client_waits_for_workers_that_have_pages_under_its_former_name(make_importer: MakeImporter) -> None:
    """Whichever engine it goes on with: neither hears of those."""
    importer = make_importer(size=50)
    assert importer("sync").code == 0
    with open_state(importer.db) as state:
        elsewhere.begin(state, "acme")
    importer.configure(CONFIG.replace("[clients.acme]", "[clients.renamed]"))
    result = importer("sync")
    assert result.code == 1
    assert "from an earlier run as acme" in result.err
    with open_state(importer.db) as state, state.transaction():
        state.write("UPDATE elsewhere SET since = ?", ["2026-11-20T00:00:00+00:00"])
    assert importer("sync").code == 0


def test_what_a_run_has_to_say_after_its_first_page_is_heard_too(make_importer: MakeImporter, stop: StopSignal) -> None:
    """Each reply takes along what was said since the one before: here that the list's events are used up."""
    importer = make_importer(size=50)
    importer.configure("[ometria]\nsubscription_events = 'all'\n" + CONFIG)
    place = workplace(importer, stop)
    one = page_message(importer, events_left=100, subscription_events="all")
    first, *more = [reply for reply in (place.execute(one) for _ in range(11)) if type(reply) is Processed]
    assert (first.warnings, len(more)) == ((), 10)
    assert next(len(reply.warnings) for reply in more if reply.is_silenced) == 1


def test_a_page_that_takes_too_long_is_ended_and_says_so(
    make_importer: MakeImporter, stop: StopSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the broker would take its message back, and give it to another beside it."""
    monkeypatch.setattr(engine_workplace, "PAGE_DEADLINE", 0.2)
    monkeypatch.setattr(engine_workplace, "LOOK", 0.05)
    importer = make_importer(size=50)
    importer.sandbox.settings.fault = lambda request: "silent" if request.service == "mailchimp" else None
    assert type(workplace(importer, stop).execute(page_message(importer))) is TimedOut


def test_a_broker_that_falls_silent_is_taken_for_gone(
    make_importer: MakeImporter, stop: StopSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hear nothing either, and have given the pages to another: they are ended, and the line is hung up."""
    monkeypatch.setattr(broker_term, "SILENT", 0.3)
    monkeypatch.setattr(engine_workplace, "LOOK", 0.05)
    importer = make_importer(size=50)
    asked, hung_up, came = hanging(importer), threading.Event(), itertools.count()
    place = workplace(importer, stop)
    place.term.begin(hung_up.set, lambda: next(came))
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(place.execute, page_message(importer))
        assert asked.wait(20)
        with pytest.raises(TimeoutError):
            page.result(1.0)
        assert not hung_up.is_set()
        place.term.begin(hung_up.set, lambda: 1)
        assert type(page.result(20)) is Revoked
        assert hung_up.wait(20)


def test_pages_beside_one_that_takes_too_long_are_only_given_back(
    make_importer: MakeImporter, stop: StopSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share its connections, which are closed under it, and are to blame for nothing."""
    monkeypatch.setattr(engine_workplace, "LOOK", 0.05)
    clock, asked = [0.0], queue.Queue[Request]()
    for module in (engine_workplace, client_slot):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    importer = make_importer(size=50)

    def hang(request: Request) -> str:
        asked.put(request)
        return "silent"

    importer.sandbox.settings.fault = hang
    place = workplace(importer, stop)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(place.execute, page_message(importer))
        asked.get(timeout=20)
        clock[0] = 10.0
        second = pool.submit(place.execute, page_message(importer, message_id="second"))
        asked.get(timeout=20)
        clock[0] = engine_workplace.PAGE_DEADLINE + 5.0
        assert (type(first.result(20)), type(second.result(20))) == (TimedOut, Returned)


def test_a_process_that_stood_still_may_not_speak_until_what_it_had_is_ended() -> None:
    """It was stopped for longer than it has leave to be; nothing tells it but its clock."""
    program = (
        "import sys\nfrom mcimport.engine.distributed.broker_term import SuspendDetector\n"
        "detector = SuspendDetector(0.5, lambda: print('ended', flush=True))\n"
        "detector.start()\ndetector.check()\nprint('up', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1.5)
        child.send_signal(signal.SIGCONT)
        assert child.stdout.readline() == "ended\n"
        child.stdin.close()


def test_after_a_standstill_nothing_is_said_until_what_was_under_way_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where ending it fails at first: it is tried again, and only then may this process speak."""
    clock, go_on, tries = [0.0], threading.Event(), list[float]()
    monkeypatch.setattr(broker_term, "_clock", lambda: clock[0])

    def end() -> None:
        tries.append(clock[0])
        if len(tries) == 1:
            raise OSError
        go_on.wait(20)

    one = broker_term.SuspendDetector(5.0, end)
    one.start()
    one.check()
    clock[0] = 10.0
    while len(tries) < 2:
        with pytest.raises(InterruptedRunError):
            one.check()
    go_on.set()
    may_speak = False
    while not may_speak:
        with suppress(InterruptedRunError):
            one.check()
            may_speak = True
    one.end()
    assert tries == [10.0, 10.0]


def test_the_brokers_address_is_the_configured_one_whatever_celery_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables come before an application's own address, and belong to another application."""
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_WRITE_URL", "CELERY_BROKER_READ_URL"):
        monkeypatch.setenv(name, "amqp://other.example//")
    app = broker.application(SecretStr("amqp://ours.example//"))
    assert broker.connection(app).hostname == app.connection_for_read().hostname == "ours.example"


def test_a_broker_that_cannot_prove_its_name_hears_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that this machine trusts is not enough: it has to be that host's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def hear() -> None:
            """Until nobody is listened to any more."""
            with suppress(OSError):
                while True:
                    plain = listener.accept()[0]
                    heard.append(b"")
                    plain.settimeout(20)
                    with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as line:
                        heard.append(line.recv(100))

        pool.submit(hear)
        app = broker.application(SecretStr(f"amqps://user:secret@localhost:{listener.getsockname()[1]}//"))
        try:
            with pytest.raises(UnreachableError), broker.in_words(), broker.connection(app) as line:
                line.connect()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    assert heard
    assert b"".join(heard) == b""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"list_key": "another"}, "client acme has no list another"),
        ({"settings": "x"}, "settings of client acme"),
    ],
    ids=["another list", "other settings"],
)
def test_what_is_not_alike_is_refused_before_any_request(
    make_importer: MakeImporter, stop: StopSignal, changes: dict[str, Any], words: str
) -> None:
    """In words for the coordinator."""
    importer = make_importer(size=50)
    reply = workplace(importer, stop).execute(page_message(importer, **changes))
    assert type(reply) is Refused
    assert words in reply.words
    assert importer.sandbox.requests == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('lists = ["', 'ometria.force_optin = true\nlists = ["'),
        ('lists = ["', 'ometria.collection = "people"\nlists = ["'),
        ('lists = ["', 'ometria.account = "shop"\nlists = ["'),
        ('lists = ["', 'mailchimp.account = "shop"\nlists = ["'),
        ('lists = ["', 'mailchimp.connections = 9\nlists = ["'),
        ('lists = ["', 'ometria.batch = 50\nlists = ["'),
        ('lists = ["', 'fields.SIZE = "properties.fit"\nlists = ["'),
        ('lists = ["', 'consent.cleaned = "unspecified"\nlists = ["'),
        ("requests_per_second = 500", "requests_per_second = 8"),
        ("reads_per_second = 1000", "reads_per_second = 4"),
        ("127.0.0.1", "localhost"),
    ],
)
def test_a_worker_with_any_other_setting_that_matters_moves_nothing(
    make_importer: MakeImporter, stop: StopSignal, before: str, after: str
) -> None:
    """Where people go, what of them, and how fast: one end that differs would work against the other."""
    importer = make_importer(size=50)
    sent = page_message(importer)
    text = importer.config.read_text()
    assert before in text
    importer.config.write_text(text.replace(before, after))
    assert type(workplace(importer, stop).execute(sent)) is Refused
    assert importer.sandbox.requests == []


def test_a_key_that_is_not_accepted_reaches_the_coordinator_in_words(
    make_importer: MakeImporter, stop: StopSignal
) -> None:
    """As it would stand in a run's error here."""
    importer = make_importer(size=50)
    importer.sandbox.settings.fault = lambda _: "401"
    reply = workplace(importer, stop).execute(page_message(importer))
    assert type(reply) is Failed
    assert "does not accept the API key" in reply.words


NO_LIBRARY = """
import errno
import runpy

import phonenumbers


def load_all():
    raise OSError(errno.EMFILE, "Too many open files")


phonenumbers.PhoneMetadata.load_all = load_all
runpy.run_module("mcimport", run_name="__main__")
"""


def test_a_worker_that_cannot_load_its_libraries_ends_before_it_takes_an_order(make_importer: MakeImporter) -> None:
    """With exit code 1 and the reason, so that it is started anew; its broker, which is away, is not waited for."""
    importer = make_importer(size=10)
    command = [sys.executable, "-c", NO_LIBRARY, *importer.command("worker")[3:]]
    environment = {**os.environ, "MCIMPORT_BROKER": "amqp://127.0.0.1:1/"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=20)
    assert (result.returncode, result.stderr.strip()) == (
        1,
        "mcimport: the operating system reported an error: Too many open files",
    )


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            OSError(errno.EMFILE, "/home/ada@example.com"),
            "worker w: the operating system reported an error: Too many open files",
        ),
        (TypeError("ada@example.com"), "worker w: unexpected error in mcimport: TypeError"),
    ],
    ids=["machine", "mistake"],
)
def test_a_fault_of_a_workers_machine_or_of_ours_is_a_reply_in_words(
    make_importer: MakeImporter, stop: StopSignal, monkeypatch: pytest.MonkeyPatch, fault: Exception, words: str
) -> None:
    """The run fails as it would in one process, nobody is to blame, and the same worker does the page the next time."""
    importer = make_importer(size=10)
    place = workplace(importer, stop)

    def broken(*_: object) -> None:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(tenacity.Retrying, "__call__", broken)
        reply = place.execute(page_message(importer))
    assert type(reply) is Failed
    assert (reply.words.startswith(words), "@" in reply.words) == (True, False), reply.words
    assert type(place.execute(page_message(importer, epoch=2))) is Processed
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize("command", [("sync",), ("dlq", "replay"), ("reconcile", "--mend", "--yes")], ids=" ".join)
def test_nothing_is_pushed_here_while_workers_may_have_pages(
    make_importer: MakeImporter, command: tuple[str, ...]
) -> None:
    """What one of them read before would follow what is read now; an hour later none can have any."""
    importer = make_importer(size=50)
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{next(iter(expected_ids(importer)))}"}
    assert importer("sync").code == 3
    importer.sandbox.settings.rejects = set()
    pushed = len([one for one in importer.sandbox.requests if one.path == "/push"])
    with open_state(importer.db) as state:
        elsewhere.begin(state, "acme")
    result = importer(*command)
    assert result.code == 1
    assert "workers may still be processing pages" in result.err
    assert len([one for one in importer.sandbox.requests if one.path == "/push"]) == pushed
    assert importer("sync", "--dry-run").code == 0
    checked = {line["subject"]: line["verdict"] for line in importer("check", "--json").lines}
    assert checked["pages elsewhere"] == "bad"
    with open_state(importer.db) as state, state.transaction():
        state.write("UPDATE elsewhere SET since = ?", ["2026-11-20T00:00:00+00:00"])
    assert importer("dlq", "replay").code == 0
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize(
    "address",
    [
        "redis://127.0.0.1",
        "amqp://host name",
        "http://u:secret@host/",
        "amqp://u:p@h:5672/ x",
        "amqp://127.0.0.1/;amqp://h/",
    ],
)
def test_an_address_of_no_broker_is_refused_without_being_repeated(make_importer: MakeImporter, address: str) -> None:
    """Before any request, with exit code 2."""
    importer = make_importer(size=10)
    importer.configure(f'[engine]\nkind = "celery"\nbroker = "{address}"\n{CONFIG}')
    result = importer("sync")
    assert result.code == 2
    assert "[engine] broker" in result.err
    assert address not in result.err
    assert importer.sandbox.requests == []


def test_a_broker_that_is_not_set_is_said_so(make_importer: MakeImporter) -> None:
    """It is asked for in a variable where nothing else is said."""
    importer = make_importer(size=10)
    result = importer.in_a_process("sync", "--engine", "celery")
    assert result.code == 2
    assert "the variable MCIMPORT_BROKER is not set" in result.err
