"""The stage of the tests: the sandbox over real sockets, and the program as its users start it."""

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
from mcimport.sandbox.audience import invented_members, member_ids, member_list
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.state import open_state

settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

passing.install()

# The command line is put together once a process, not once a command: it takes longer than many a command does.
pytest.MonkeyPatch().setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
# Nor are the sandbox's members invented anew for every test: the same list and seed invent the same ones.
pytest.MonkeyPatch().setattr(member_list, "ListIdentity", functools.cache(member_ids.ListIdentity))
pytest.MonkeyPatch().setattr(invented_members, "likeness", functools.lru_cache(3_000)(invented_members.likeness))


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
# Of a stage's sandbox, unless a test is about it: Ometria's limits, and that it stores a push a moment after answering;
# marketing permissions, so that a status alone says yes.
OUT_OF_THE_WAY: dict[str, Any] = {
    "size": 0,
    "pushes_per_second": 100_000,
    "reads_per_second": 100_000,
    "settling": 0.0,
    "permissions": (),
}


@dataclass(frozen=True)
class Ended:
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

    box: Sandbox
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "mcimport.toml"

    @property
    def db(self) -> Path:
        return self.folder / "state.db"

    def configure(self, text: str = CONFIG, **more: str) -> None:
        box = self.box
        values = {
            "list_key": box.list_key,
            "mailchimp_key": box.mailchimp_key,
            "ometria_key": box.ometria_key,
            "mailchimp_url": box.mailchimp_url,
            "ometria_url": box.ometria_url,
        }
        self.config.write_text(text.format(**(values | more)), encoding="utf-8")
        self.config.chmod(0o600)

    def begun(self) -> None:
        """Its state file is there, as after any first call: that one is made anew is no news."""
        open_state(self.db).close()

    def command(self, *arguments: str) -> list[str]:
        """As a shell would start it."""
        return passing.program([*self._options(), *arguments])

    def __call__(self, *arguments: str, bare: bool = False) -> Ended:
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
        return Ended(code, out.getvalue(), err.getvalue())

    def in_a_process(self, *arguments: str, environment: Mapping[str, str] | None = None, bare: bool = False) -> Ended:
        """In a process of its own, with nothing in its environment but what is named.

        `bare`: without the options that lead to this importer's settings and state.
        """
        ended = subprocess.run(
            passing.program(arguments) if bare else self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environment, **(environment or {})},
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def _options(self) -> list[str]:
        return ["--config", str(self.config), "--db", str(self.db)]


class Stage(Protocol):
    """Makes a sandbox and an importer that is configured for it."""

    def __call__(self, **knobs: Any) -> Importer: ...


@dataclass
class Ear:
    """A service on loopback that is told things; `answers` are given in order, then 200."""

    url: str = ""
    heard: list[tuple[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.heard]

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for path, body in self.heard if path == "/hook"]

    @property
    def events(self) -> list[str]:
        return [str(document["event"]) for document in self.documents]


@pytest.fixture
def ear() -> Iterator[Ear]:
    told = Ear()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            told.heard.append((self.path, body))
            status = told.answers.pop(0) if told.answers else 200
            self.send_response(status)
            if status // 100 == 3:
                self.send_header("Location", f"{told.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _the_true_time() -> Iterator[None]:
    """Each test begins at the true time, whatever passed in the one before."""
    yield
    passing.reset()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Sandboxes with certain knobs, each with its importer.

    Ometria's pace is out of the way unless it is set; without marketing permissions, a status alone says yes.
    """
    with ExitStack() as stack:
        folders = iter(range(1_000))

        def make(**knobs: Any) -> Importer:
            box = stack.enter_context(Sandbox(SandboxSettings(**{**OUT_OF_THE_WAY, **knobs})))
            folder = tmp_path / str(next(folders))
            folder.mkdir()
            importer = Importer(box, folder)
            importer.configure()
            return importer

        yield make


def somebody_elses_mistake(importer: Importer) -> None:
    """Another program pushes a record to the same Ometria account that its validation drops later."""
    record = {"@type": "contact", "@collection": "shop", "id": "1", "email": "shop@example.com", "gender": "none"}
    answer = httpx.post(
        f"{importer.box.ometria_url}/push",
        json=[record],
        headers={"X-Ometria-Auth": importer.box.ometria_key},
        verify=PLAIN,
    )
    assert answer.is_success
    importer.box.push_errors()  # when it has been validated


def takes_one_push_more(importer: Importer, *, ago: int = 1_100) -> None:
    """Ometria takes one record, of somebody who changed so many seconds ago, and then breaks each connection.

    Something got through, so what did not is a dead letter; a run of which nothing gets through fails instead.
    """
    importer.config.write_text(importer.config.read_text() + "ometria.batch = 1\n")
    audience, pushes = importer.box.audience(), iter(range(1_000_000))
    old = "2020-01-01T00:00:00+00:00"
    audience.add(email_address="old@example.com", at=importer.box.clock.second() - ago, timestamp_opt=old)
    importer.box.knobs.fault = lambda one: "reset" if one.path == "/push" and next(pushes) else None


def carried(importer: Importer) -> set[str]:
    """The ids (without the list) of those whom Ometria holds."""
    return {contact_id.split("-", 1)[1] for _, contact_id in importer.box.contacts()}


def expected(importer: Importer, *, archived: bool = False) -> set[str]:
    """The ids of those who are on the list (or in its archive) and have an address."""
    audience = importer.box.audience()
    people = audience.archived() if archived else audience.listed()
    return {str(one.get("contact_id") or one["web_id"]) for one in people if one["email_address"]}


def several(importer: Importer, names: list[str], *, size: int = 60) -> dict[str, dict[str, str]]:
    """Clients with a list, a Mailchimp and an Ometria account each, by name."""
    clients = {}
    text = "[retry]\nwait = 0\n\n"
    for number, name in enumerate(names):
        values = {
            "list_key": f"{number:010x}",
            "mailchimp_key": f"{number + 1:032x}-us6",
            "ometria_key": f"{number + 1:032x}",
        }
        importer.box.add_account(values["mailchimp_key"], values["ometria_key"], {values["list_key"]: size})
        urls = {"mailchimp_url": importer.box.mailchimp_url, "ometria_url": importer.box.ometria_url}
        text += CLIENT.replace("acme", name).format(**values, **urls) + "\n"
        clients[name] = values
    importer.config.write_text(text, encoding="utf-8")
    return clients
