"""What tests share: the sandbox over real sockets, and the program as its users start it."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import httpx
import passing
import pytest
import typer.main
from hypothesis import HealthCheck, settings

from mcimport.cli import app
from mcimport.sandbox.audience import invented_members, member_list
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.state import open_state

settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

passing.install()

# The width of the screen at which tests are run is not theirs; pytest's readline sets it past `os.environ`.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

# The command line is put together once a process, not once a command: it takes longer than many a command does.
pytest.MonkeyPatch().setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
# Nor are the sandbox's members invented anew for every test: the same list and seed invent the same ones.
pytest.MonkeyPatch().setattr(member_list, "ListIdentity", functools.cache(invented_members.ListIdentity))
pytest.MonkeyPatch().setattr(
    invented_members, "invent_fields", functools.lru_cache(3_000)(invented_members.invent_fields)
)


def pytest_collection_finish() -> None:
    """Takes what was loaded out of the sight of the garbage collector, which would look through it all over again."""
    gc.collect()
    gc.freeze()


# For clients of the sandbox, which speaks plain http: to load whom this machine trusts takes a tenth of a second each.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# Without a spot check, which looks at contacts by chance, but for the tests that are about it.
CONFIG = """\
[retry]
wait = 0

[clients.acme]
lists = ["{list_key}"]
mailchimp_api_key = "{mailchimp_key}"
ometria_api_key = "{ometria_key}"
mailchimp.url = "{mailchimp_url}"
ometria.url = "{ometria_url}"
ometria.requests_per_second = 500
ometria.reads_per_second = 1000
ometria.spot_check = 0
"""
CLIENT = CONFIG[CONFIG.index("[clients.acme]") :]
# Out of the way, unless a test is about them: Ometria's limits, and that it stores a push a moment after answering;
# marketing permissions, so that a status alone says yes.
SANDBOX_DEFAULTS: dict[str, Any] = {
    "size": 0,
    "pushes_per_second": 100_000,
    "reads_per_second": 100_000,
    "settling": 0.0,
    "permissions": (),
}


@dataclass(frozen=True)
class CommandResult:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What `--json` printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        (only,) = self.lines
        return only


@dataclass
class Importer:
    """The program with its settings and its state in a folder of its own."""

    sandbox: Sandbox
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "mcimport.toml"

    @property
    def db(self) -> Path:
        return self.folder / "state.db"

    @property
    def variables(self) -> dict[str, str]:
        """For a single client without a file."""
        return {
            "MCIMPORT_MAILCHIMP_API_KEY": self.sandbox.mailchimp_key,
            "MCIMPORT_OMETRIA_API_KEY": self.sandbox.ometria_key,
            "MCIMPORT_MAILCHIMP_URL": self.sandbox.mailchimp_url,
            "MCIMPORT_OMETRIA_URL": self.sandbox.ometria_url,
            "MCIMPORT_DB": str(self.db),
        }

    def configure(self, text: str = CONFIG, **more: str) -> None:
        sandbox = self.sandbox
        values = {
            "list_key": sandbox.list_key,
            "mailchimp_key": sandbox.mailchimp_key,
            "ometria_key": sandbox.ometria_key,
            "mailchimp_url": sandbox.mailchimp_url,
            "ometria_url": sandbox.ometria_url,
        }
        self.config.write_text(text.format(**(values | more)), encoding="utf-8")
        self.config.chmod(0o600)

    def create_state_file(self) -> None:
        """Its state file is there, as after any first call: that one is made anew is no news."""
        open_state(self.db).close()

    def command(self, *arguments: str) -> list[str]:
        """As a shell would start it."""
        return passing.program([*self._options(), *arguments])

    def __call__(self, *arguments: str, bare: bool = False) -> CommandResult:
        """In this process: what `mcimport ARGUMENTS` does, says and answers.

        `bare`: without the options that lead to this importer's settings and state.
        """
        out, err = io.StringIO(), io.StringIO()
        before = sys.argv
        sys.argv = ["mcimport", *([] if bare else self._options()), *arguments]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                app.main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 0
        finally:
            sys.argv = before
        return CommandResult(code, out.getvalue(), err.getvalue())

    def in_a_process(
        self, *arguments: str, environment: Mapping[str, str] | None = None, bare: bool = False
    ) -> CommandResult:
        """In a process of its own, with nothing in its environment but what is named.

        `bare`: without the options that lead to this importer's settings and state.
        """
        result = subprocess.run(
            passing.program(arguments) if bare else self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environment, **(environment or {})},
        )
        return CommandResult(result.returncode, result.stdout, result.stderr)

    def _options(self) -> list[str]:
        return ["--config", str(self.config), "--db", str(self.db)]


class MakeImporter(Protocol):
    """Makes a sandbox and an importer that is configured for it."""

    def __call__(self, **knobs: Any) -> Importer: ...


@dataclass
class WebhookReceiver:
    """A service on loopback that receives posts; it answers with `statuses` in their order, then with 200."""

    url: str = ""
    received: list[tuple[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.received]

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for path, body in self.received if path == "/hook"]

    @property
    def events(self) -> list[str]:
        return [str(document["event"]) for document in self.documents]


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    webhook = WebhookReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            webhook.received.append((self.path, body))
            status = webhook.statuses.pop(0) if webhook.statuses else 200
            self.send_response(status)
            if status // 100 == 3:
                self.send_header("Location", f"{webhook.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    webhook.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield webhook
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _the_true_time() -> Iterator[None]:
    """Each test begins at the true time, whatever passed in the one before."""
    yield
    passing.reset()


@pytest.fixture
def make_importer(tmp_path: Path) -> Iterator[MakeImporter]:
    """Sandboxes with certain knobs, each with its importer.

    Ometria's pace is out of the way unless it is set; without marketing permissions, a status alone says yes.
    """
    with ExitStack() as stack:
        folders = iter(range(1_000))

        def make(**knobs: Any) -> Importer:
            sandbox = stack.enter_context(Sandbox(SandboxSettings(**{**SANDBOX_DEFAULTS, **knobs})))
            folder = tmp_path / str(next(folders))
            folder.mkdir()
            importer = Importer(sandbox, folder)
            importer.configure()
            return importer

        yield make


def another_program_pushes_invalid_contact(importer: Importer) -> None:
    """Another program pushes a record to the same Ometria account that its validation drops later."""
    record = {"@type": "contact", "@collection": "shop", "id": "1", "email": "shop@example.com", "gender": "none"}
    answer = httpx.post(
        f"{importer.sandbox.ometria_url}/push",
        json=[record],
        headers={"X-Ometria-Auth": importer.sandbox.ometria_key},
        verify=PLAIN,
    )
    assert answer.is_success
    importer.sandbox.push_errors()  # when it has been validated


def accept_one_more_push(importer: Importer, *, ago: int = 1_100) -> None:
    """Ometria takes one record, of somebody who changed so many seconds ago, and then breaks each connection.

    Something got through, so what did not is a dead letter; a run of which nothing gets through fails instead.
    """
    importer.config.write_text(importer.config.read_text() + "ometria.batch = 1\n")
    audience, pushes = importer.sandbox.audience(), iter(range(1_000_000))
    old = "2020-01-01T00:00:00+00:00"
    audience.add(email_address="old@example.com", at=importer.sandbox.clock.second() - ago, timestamp_opt=old)
    importer.sandbox.settings.fault = lambda one: "reset" if one.path == "/push" and next(pushes) else None


def imported_ids(importer: Importer) -> set[str]:
    """The ids (without the list) of those whom Ometria holds; those of other programs name no list."""
    return {key.split("-", 1)[1] for _, key in importer.sandbox.contacts() if "-" in key}


def expected_ids(importer: Importer, *, archived: bool = False, list_key: str | None = None) -> set[str]:
    """The ids of those who are on the list (or in its archive) and have an address."""
    audience = importer.sandbox.audience(list_key)
    people = audience.archived() if archived else audience.listed()
    return {str(one.get("contact_id") or one["web_id"]) for one in people if one["email_address"]}


def configure_clients(importer: Importer, names: list[str], *, size: int = 60) -> dict[str, dict[str, str]]:
    """Clients with a list, a Mailchimp and an Ometria account each, by name."""
    clients = {}
    text = "[retry]\nwait = 0\n\n"
    for number, name in enumerate(names):
        values = {
            "list_key": f"{number:010x}",
            "mailchimp_key": f"{number + 1:032x}-us6",
            "ometria_key": f"{number + 1:032x}",
        }
        importer.sandbox.add_account(values["mailchimp_key"], values["ometria_key"], {values["list_key"]: size})
        urls = {"mailchimp_url": importer.sandbox.mailchimp_url, "ometria_url": importer.sandbox.ometria_url}
        text += CLIENT.replace("acme", name).format(**values, **urls) + "\n"
        clients[name] = values
    importer.config.write_text(text, encoding="utf-8")
    return clients
