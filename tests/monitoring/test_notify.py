"""Who is told how it went: a health check of every call, a webhook of trouble and of its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from conftest import CONFIG, Importer, MakeImporter, WebhookReceiver
from passing import time_passes

from mcimport.monitoring import http_post
from mcimport.state import lock_client


def telling(importer: Importer, **settings: str) -> Importer:
    """The importer, with these settings in its [notify]."""
    lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    importer.configure(f"[notify]\n{lines}\n{CONFIG}")
    return importer


# ---- health checks


def test_a_health_check_hears_of_start_and_success(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Once for the whole call, in this order."""
    importer = telling(make_importer(size=10), healthcheck_url=f"{receiver.url}/ping")
    assert importer("sync").code == 0
    assert receiver.paths == ["/ping/start", "/ping"]


def test_a_client_has_a_health_check_of_its_own(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Beside that of the whole call, or alone."""
    importer = make_importer(size=10)
    importer.configure(CONFIG + f'notify.healthcheck_url = "{receiver.url}/acme"\n')
    importer("sync")
    assert receiver.paths == ["/acme/start", "/acme"]


def test_a_failure_is_told_with_its_reason_and_without_anybodys_key(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """What a person needs to know in a line; the exit code is that of the run."""
    importer = telling(make_importer(size=10), healthcheck_url=receiver.url)
    importer.sandbox.settings.fault = lambda _: "401"
    assert importer("sync").code == 1
    (_, text) = receiver.received[-1]
    assert receiver.paths == ["/start", "/fail"]
    assert f"acme {importer.sandbox.list_key}: Mailchimp answered 401" in text
    assert importer.sandbox.mailchimp_key not in text


def test_dead_letters_are_a_failure(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Somebody has to look."""
    importer = telling(make_importer(size=10), healthcheck_url=receiver.url)
    importer.sandbox.audience().add(email_address="not an address")
    assert importer("sync").code == 3
    assert receiver.paths == ["/start", "/fail"]
    assert "1 dead letter" in receiver.received[-1][1]


def test_a_run_that_was_skipped_reports_no_success(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Another process is at it: whether that one gets anywhere is for it to say."""
    importer = telling(make_importer(size=10), healthcheck_url=receiver.url)
    importer("sync")
    receiver.received.clear()
    with lock_client(importer.db, "acme"):
        assert importer.in_a_process("sync").code == 0
    assert receiver.paths == ["/start"]


def test_a_stopped_run_reports_neither(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """It is no failure: the next one goes on with it; and nothing holds it up."""
    importer = telling(make_importer(size=1_500, pushes_per_second=8), healthcheck_url=receiver.url)
    process = subprocess.Popen(importer.command("sync"), stderr=subprocess.DEVNULL)
    while not any(one.service == "ometria" for one in importer.sandbox.requests):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert receiver.paths == ["/start"]


def test_a_dry_run_tells_nobody(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """It did nothing."""
    importer = telling(make_importer(size=10), healthcheck_url=receiver.url, webhook_url=f"{receiver.url}/hook")
    importer("sync", "--dry-run")
    assert receiver.received == []


@pytest.mark.parametrize("answers", [[500, 500] * 10, [302] * 20], ids=["an error", "a redirect"])
def test_what_cannot_be_told_fails_nothing_and_is_said_in_a_line(
    make_importer: MakeImporter, receiver: WebhookReceiver, answers: list[int]
) -> None:
    """Neither the run nor its exit code; the address, a secret, is not repeated, and no redirect is followed."""
    importer = telling(make_importer(size=10), healthcheck_url=f"{receiver.url}/secret-uuid")
    importer.create_state_file()
    receiver.statuses = answers
    result = importer("sync", "--quiet")
    assert result.code == 0
    assert (
        result.err.splitlines() == [f"mcimport: healthcheck_url answered {answers[0]}: notification not delivered"] * 2
    )
    assert "secret-uuid" not in result.err
    assert "/elsewhere" not in receiver.paths


def test_one_failed_try_is_followed_by_another(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """A hiccup is not worth a word."""
    importer = telling(make_importer(size=10), healthcheck_url=receiver.url)
    importer.create_state_file()
    receiver.statuses = [502]
    assert importer("sync", "--quiet").err == ""
    assert receiver.paths == ["/start", "/start", "/"]


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the first line of each request that came; `answer` has the connection until it returns."""
    heard: list[str] = []

    def serve(one: socket.socket) -> None:
        with one, suppress(OSError):
            heard.append(one.recv(65_536).split(b"\r\n")[0].decode())
            answer(one)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)


def test_an_answer_that_comes_in_drops_holds_nobody_up(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the whole answer: each drop would come in time by itself."""
    monkeypatch.setattr(http_post, "TIMEOUT", 0.3)
    leave = threading.Event()

    def drip(one: socket.socket) -> None:
        one.sendall(b"HTTP/1.1 200 OK\r\n")
        while not leave.wait(0.05):
            one.sendall(b"X-Drop: 1\r\n")

    with listener(drip) as (url, heard):
        importer = telling(make_importer(size=10), healthcheck_url=url)
        importer.create_state_file()
        result = importer("sync", "--quiet")
        leave.set()
    assert result.code == 0
    assert (
        result.err.splitlines() == ["mcimport: healthcheck_url took too long to answer: notification not delivered"] * 2
    )
    assert len(heard) == 4


def test_of_an_answer_only_the_status_is_read(make_importer: MakeImporter) -> None:
    """However much more of it there is."""
    sent: list[int] = []

    def pour(one: socket.socket) -> None:
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sum(sent) < 1_000_000_000:
            sent.append(one.send(b"x" * 65_536))

    with listener(pour) as (url, heard):
        importer = telling(make_importer(size=10), healthcheck_url=url)
        importer.create_state_file()
        result = importer("sync", "--quiet")
    assert (result.code, result.err, len(heard)) == (0, "", 2)
    assert sum(sent) < 100_000_000


def test_who_asks_to_leave_does_not_wait_for_a_notice(make_importer: MakeImporter) -> None:
    """All lists are done and on record, so the exit code is theirs."""
    leave = threading.Event()

    def answer(one: socket.socket) -> None:
        if "/start" not in heard[-1]:
            process.send_signal(signal.SIGTERM)
            leave.wait()
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with listener(answer) as (url, heard):
        importer = telling(make_importer(size=10), healthcheck_url=f"{url}/ping")
        process = subprocess.Popen(importer.command("sync", "--quiet"))
        assert process.wait() == 0
        leave.set()
    assert heard == ["POST /ping/start HTTP/1.1", "POST /ping HTTP/1.1"]


def test_what_is_escaped_in_an_address_stays_so(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """Another path would be another check."""
    telling(make_importer(size=10), healthcheck_url=f"{receiver.url}/a%2Fb?x=1")("sync")
    assert receiver.paths == ["/a%2Fb/start?x=1", "/a%2Fb?x=1"]


def test_a_state_file_that_is_damaged_is_told_too(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """With every call, for nothing remembers that it was told."""
    importer = telling(make_importer(size=10), webhook_url=f"{receiver.url}/hook")
    importer("sync")
    importer.db.write_bytes(b"no database at all, but long enough to look at" * 100)
    assert importer("sync").code == 1
    importer("sync")
    assert receiver.events == ["failure", "failure"]


@pytest.mark.parametrize(
    "address", ["http://hooks.example/x", "ftp://127.0.0.1/x", "hc-ping.com/x", "https://u:p@host.example/x"]
)
def test_an_address_that_must_not_be_used_is_refused_in_words(make_importer: MakeImporter, address: str) -> None:
    """Plain http to elsewhere, another scheme, a password: told without repeating it, and the run goes on."""
    importer = telling(make_importer(size=10), healthcheck_url=address)
    result = importer("sync", "--quiet")
    assert result.code == 0
    assert "healthcheck_url" in result.err
    assert address not in result.err


def test_addresses_come_from_variables_and_files_as_keys_do(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """They are secrets, too."""
    importer = telling(make_importer(size=10), healthcheck_url="file:check", webhook_url="env:HOOK")
    (importer.folder / "check").write_text(f"{receiver.url}/ping\n", encoding="utf-8")
    (importer.folder / "check").chmod(0o600)
    importer.sandbox.settings.fault = lambda _: "401"
    assert importer.in_a_process("sync", environment={"HOOK": f"{receiver.url}/hook"}).code == 1
    assert sorted(receiver.paths) == ["/hook", "/ping/fail", "/ping/start"]


# ---- the webhook


def test_a_webhook_hears_of_a_failure_once_and_once_of_its_end(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Not every hour: nobody reads the hundredth message."""
    importer = telling(make_importer(size=10), webhook_url=f"{receiver.url}/hook")
    importer("sync")
    assert receiver.received == []
    importer.sandbox.settings.fault = lambda _: "401"
    importer("sync")
    importer("sync")
    assert receiver.events == ["failure"]
    (failure,) = receiver.documents
    assert (failure["client"], failure["list_key"], failure["status"]) == ("acme", importer.sandbox.list_key, "failed")
    assert "401" in failure["reason"]
    assert failure["next"]
    importer.sandbox.settings.fault = None
    importer("sync")
    importer("sync")
    assert receiver.events == ["failure", "recovery"]
    assert receiver.documents[1]["since"] == failure["since"]


def test_trouble_lasts_as_long_as_a_dead_letter_is_open(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """A later run without a new one is no recovery; a replay that closes it is."""
    importer = telling(make_importer(size=10), webhook_url=f"{receiver.url}/hook")
    importer("sync")
    person = importer.sandbox.audience().add(email_address="refused@example.com")
    time_passes(120)
    importer.sandbox.settings.rejects = {f"{importer.sandbox.list_key}-{person['contact_id']}"}
    assert importer("sync").code == 3
    time_passes(600)
    assert importer("sync").code == 0
    assert receiver.events == ["failure"]
    importer.sandbox.settings.rejects = set()
    assert importer("dlq", "replay").code == 0
    assert receiver.events == ["failure", "recovery"]


def test_sides_that_differ_are_trouble_until_they_are_compared_again(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """A sync that goes well mends nothing of it; `reconcile --mend` does."""
    importer = telling(make_importer(size=60, reads_per_second=10**6, settling=0), webhook_url=f"{receiver.url}/hook")
    importer.config.write_text(
        importer.config.read_text(encoding="utf-8") + "reconcile.settling = 0\n", encoding="utf-8"
    )
    importer("sync")
    importer.sandbox.delete_contacts(list(importer.sandbox.contacts())[:2])
    assert importer("reconcile").code == 3
    assert importer("sync").code == 0
    (failure,) = receiver.documents
    assert failure["reason"] == "both sides differ: 2 missing, 0 stale, 0 gone; 0 fixed"
    assert f"mcimport reconcile {importer.sandbox.list_key} --mend" in failure["next"]
    assert importer("reconcile", "--mend", "--yes").code == 0
    assert receiver.events == ["failure", "recovery"]


def test_what_a_webhook_did_not_take_is_told_again_with_the_next_run(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """Trouble counts as told only when it was."""
    importer = telling(make_importer(size=10), webhook_url=f"{receiver.url}/hook")
    importer.sandbox.settings.fault = lambda _: "401"
    receiver.statuses = [503, 503]
    assert importer("sync").code == 1
    importer("sync")
    importer("sync")
    assert receiver.events == ["failure", "failure", "failure"]  # two tries in vain, and one that was taken


def test_a_key_that_is_not_there_is_told_too(make_importer: MakeImporter, receiver: WebhookReceiver) -> None:
    """A configuration that broke over night is found by nobody else."""
    importer = make_importer(size=10)
    text = CONFIG.replace("{ometria_key}", "env:NOT_SET") + f'notify.webhook_url = "{receiver.url}/hook"\n'
    importer.configure(text)
    assert importer("sync").code == 2
    assert "NOT_SET is not set" in receiver.documents[0]["reason"]
