"""Keys stay where they belong, nobody is trusted for a key, and what is odd or huge holds nobody up."""

from __future__ import annotations

import gzip
import os
import resource
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from conftest import CONFIG, MakeImporter

from mcimport.errors import RetriableError
from mcimport.services.http.client import MAX_BODY, HttpClient

MEGABYTE = 2**20


@contextmanager
def serving(
    answer: bytes, headers: dict[str, str], *, context: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that gives everybody the same answer: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(answer)
            except OSError:  # whoever has read enough hangs up
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a refused handshake is what is wanted here
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


# ---- TLS


@pytest.mark.parametrize("is_trusted", [False, True])
def test_no_key_is_sent_where_the_certificate_is_not_trusted(
    make_importer: MakeImporter, tmp_path: Path, *, is_trusted: bool
) -> None:
    """Not one request arrives, and the words name the cause; SSL_CERT_FILE makes a private authority a trusted one."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    importer = make_importer()
    with serving(b'{"health_status": "fine"}', {"Content-Type": "application/json"}, context=context) as (url, asked):
        importer.configure(mailchimp_url=f"{url}/3.0")
        trust = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")} if is_trusted else {}
        result = importer.in_a_process("check", environment=trust)
    assert bool(asked) is is_trusted
    assert ("this machine does not trust Mailchimp's TLS certificate" in result.out) is not is_trusted
    assert ("SSL_CERT_FILE" in result.out) is not is_trusted


# ---- bodies


def test_a_body_that_inflates_without_end_is_cut_off(make_importer: MakeImporter) -> None:
    """A gigabyte in a megabyte: refused at the bound, whatever it would become, and never held as a whole."""
    make_importer()
    bomb = gzip.compress(bytes(1024 * MEGABYTE), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(bomb, {"Content-Encoding": "gzip"}) as (url, _):
        wire = HttpClient("Mailchimp", url, {})
        with pytest.raises(RetriableError, match="more than 64 MB"):
            wire.send("GET", "lists")
        wire.close()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 6 * MAX_BODY / 1024  # in the kilobytes that Linux counts in


# ---- files


def test_keys_that_everybody_may_read_are_told_and_work(make_importer: MakeImporter) -> None:
    """A key written in the settings, and a file that holds one, are for their owner; a group may be Kubernetes'."""
    importer = make_importer(size=5)
    (importer.folder / "key").write_text(importer.sandbox.ometria_key, encoding="utf-8")
    importer.configure(CONFIG.replace("{ometria_key}", "file:key"))
    for path, mode in ((importer.config, 0o644), (importer.folder / "key", 0o644)):
        path.chmod(mode)
    result = importer("sync")
    assert result.code == 0
    assert result.err.count("every user of this machine can read it") == 2
    assert importer("check").out.count("every user of this machine can read it") == 2
    for path, mode in ((importer.config, 0o640), (importer.folder / "key", 0o440)):
        path.chmod(mode)
    assert "can be read" not in importer("sync").err


def test_settings_without_keys_may_be_read_by_anybody(make_importer: MakeImporter) -> None:
    """Where keys come from is no secret."""
    importer = make_importer(size=5)
    importer.configure(CONFIG.replace("{ometria_key}", "env:A").replace("{mailchimp_key}", "env:B"))
    importer.config.chmod(0o644)
    assert "can be read" not in importer("check").out


def test_whatever_is_made_is_for_its_owner_whatever_the_mask(make_importer: MakeImporter) -> None:
    """State file, locks, what SQLite puts beside it, and what init writes."""
    importer = make_importer(size=60)
    given = ("--client", "a", "--list", "1a2d7ebf82", "--mailchimp-key", "env:A", "--ometria-key", "env:B")
    for arguments in (("sync",), ("init", "other.toml", *given)):
        command = [sys.executable, "-m", "mcimport", "--config", "mcimport.toml", "--db", "state.db", *arguments]
        result = subprocess.run(command, cwd=importer.folder, umask=0, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in importer.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket"])
def test_a_key_file_that_is_none_holds_nobody_up(make_importer: MakeImporter, kind: str) -> None:
    """A pipe that nobody writes to would be waited for until somebody looks, at three in the morning."""
    importer = make_importer(size=5)
    path = importer.folder / "key"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    importer.configure(CONFIG.replace("{ometria_key}", "file:key"))
    result = importer("sync")
    assert result.code == 2
    assert "ometria_api_key: the file key" in result.err


def test_a_state_file_that_nobody_can_look_for_is_named(make_importer: MakeImporter) -> None:
    """Rather than called output that cannot be written."""
    importer = make_importer(size=5)
    for command in (["status"], ["sync"], ["runs", "list"], ["dlq", "replay"]):
        result = importer("--db", f"/tmp/{'a' * 300}.db", *command)  # noqa: S108 - nothing is made there
        assert (result.code, "state file" in result.err or "lock" in result.err) == (1, True), (command, result.err)


# ---- processes


def test_no_key_is_in_the_arguments_of_the_process(make_importer: MakeImporter) -> None:
    """There is no option that takes one, so nobody reads one in a list of processes."""
    importer = make_importer(size=5)
    for command in ("sync", "check", "preview", "init"):
        result = importer.in_a_process(command, "--help", bare=True)
        assert result.code == 0
        options = {line.split()[0] for line in result.out.splitlines() if line.strip().startswith("--")}
        assert not {one for one in options if one.endswith("api-key")}
