"""What the trials over a broker share: a broker of their own, and workers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from conftest import Importer, MakeImporter, configure_clients
from sync.test_many_clients import expected_ids_of, imported_ids_of

from broker.rabbit import Rabbit, is_installed
from mcimport.sandbox.request_log import Request, max_in_any_second, max_open

SYNC = ("sync", "--engine", "celery")

TAKES = "takes pages from "
SECONDS, HEARD_LATE, THROTTLED = 3, 4, 429
READY_WITHIN = 60  # seconds


class Worker:
    """`mcimport worker` in a process of its own; what it says is kept."""

    def __init__(self, importer: Importer, environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            importer.command("worker"),
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(importer.folder), **importer.environment, **environment},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as told:
            for line in told:
                self.lines.append(line.rstrip("\n"))
                if TAKES in line:
                    self._ready.set()

    @property
    def share(self) -> int:
        """How many of the queues were nobody's when it came."""
        line = next(line for line in self.lines if TAKES in line)
        return int(line.partition(TAKES)[2].split()[0])

    def wait_until_ready(self) -> None:
        assert self._ready.wait(READY_WITHIN), self.lines

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._listener.join()

    def leave(self) -> int:
        self.signal(signal.SIGTERM)
        code = self._process.wait(40)
        self._listener.join()
        return code

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None


class Cluster:
    """Workers for one importer, and the coordinator's command."""

    def __init__(self, importer: Importer, rabbit: Rabbit) -> None:
        self.importer = importer
        self.rabbit = rabbit
        self.workers: list[Worker] = []
        importer.environment["MCIMPORT_BROKER"] = rabbit.address

    def speak_over_tls(self) -> None:
        """Both ends, from now on."""
        self.importer.environment["MCIMPORT_BROKER"] = self.rabbit.tls_address
        self.importer.environment["SSL_CERT_FILE"] = str(self.rabbit.authority)

    def start_workers(self, many: int = 1, *, before: str = "", is_alone: bool | None = None) -> list[Worker]:
        """`before`: what each runs before it begins. One alone need not leave time for others to take their share."""
        folder = self.importer.folder / f"before-{len(self.workers)}"
        folder.mkdir()
        quick = "\nfrom mcimport.engine.distributed import worker\n\nworker.SHARE_WITHIN = 0.5\n"
        program = before + quick * (many == 1 if is_alone is None else is_alone)
        (folder / "sitecustomize.py").write_text(program)
        started = [Worker(self.importer, {"PYTHONPATH": str(folder)}) for _ in range(many)]
        self.workers += started
        return started

    def start_ready_workers(self, many: int = 1, *, before: str = "", is_alone: bool | None = None) -> list[Worker]:
        started = self.start_workers(many, before=before, is_alone=is_alone)
        for one in started:
            one.wait_until_ready()
        return started

    def coordinator(self, *arguments: str) -> subprocess.Popen[str]:
        importer = self.importer
        return subprocess.Popen(
            importer.command(*(arguments or ("sync", "--engine", "celery", "--json"))),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(importer.folder), **importer.environment},
        )

    def close(self) -> None:
        for one in self.workers:
            one.signal(signal.SIGCONT)
            one.kill()


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """One broker for all trials; each has accounts, a state file and so queues of its own."""
    assert is_installed(), "RabbitMQ is not installed here: `make test-engine` installs it on Debian, as root"
    with Rabbit(tmp_path_factory.mktemp("rabbit")) as one:
        yield one


@pytest.fixture
def cluster(make_importer: MakeImporter, rabbit: Rabbit) -> Iterator[Cluster]:
    """Without workers yet, for one client with nobody on its list."""
    one = Cluster(make_importer(size=0), rabbit)
    yield one
    one.close()


def clients(cluster: Cluster, many: int, *, size: int, window: int = 50) -> dict[str, dict[str, str]]:
    """Accounts of their own, read in pages of so many, and pushed as fast as real ones may be."""
    found = configure_clients(cluster.importer, [f"c{number}" for number in range(many)], size=size)
    text = cluster.importer.config.read_text().replace("requests_per_second = 500", "requests_per_second = 8")
    cluster.importer.config.write_text(
        f"[mailchimp]\nwindow = {window}\n[retry]\nwait = 0.1\n{text.partition('wait = 0')[2]}"
    )
    return found


def assert_all_imported(importer: Importer, found: dict[str, dict[str, str]]) -> None:
    """And nobody is in another's account."""
    for client in found.values():
        assert imported_ids_of(importer, client) == expected_ids_of(importer, client) != set()


def span_of(request: Request) -> tuple[str, str] | None:
    """Of the first page of what is left of a window; None: it asks for something else."""
    span = request.query.get("since_last_changed", ""), request.query.get("before_last_changed", "")
    is_page = request.query.get("count") not in (None, "1") and request.query.get("offset", "0") == "0"
    return span if request.service == "mailchimp" and is_page and all(span) else None


def pushes(importer: Importer, client: dict[str, str]) -> list[Request]:
    return [one for one in importer.sandbox.requests if one.path == "/push" and one.key == client["ometria_key"]]


def pushes_at_most(importer: Importer, client: dict[str, str], more: int = 0) -> bool:
    """Eight a second, told over three: the sandbox shares two cores with eight processes, and so hears late.

    Two workers with eight each would be seen. `more`: so many beside them.
    """
    most = max_in_any_second((one.at for one in pushes(importer, client) if one.status != THROTTLED), SECONDS)
    return most <= SECONDS * 8 + HEARD_LATE + more


def connections_open(importer: Importer, client: dict[str, str]) -> int:
    return max_open(importer.sandbox.requests, client["mailchimp_key"])
