"""What libraries read of the environment: its mistakes are named by the variable, and nothing of a secret is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Importer, MakeImporter, expected_ids, imported_ids
from pydantic import SecretStr

from mcimport.config import load
from mcimport.config.addresses import EngineSettings
from mcimport.config.keys import KeySource
from mcimport.config.places import check_owner
from mcimport.errors import ConfigError
from mcimport.errors.machine import pip
from mcimport.services.http.environment import proxy_for

SERVICE = "https://us6.api.mailchimp.example/3.0"
FAR_AWAY = """\
[clients.acme]
lists = ["1a2d7ebf82"]
mailchimp_api_key = "0123456789abcdef0123456789abcdef-us6"
ometria_api_key = "0123456789abcdef0123456789abcdef"
mailchimp.url = "https://mailchimp.example/3.0"
ometria.url = "https://ometria.example/v2"
"""


def far_away(make_importer: MakeImporter) -> Importer:
    importer = make_importer()
    importer.config.write_text(FAR_AWAY)
    return importer


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "http://svc:hunter2#x9@proxy.example:3128"),
        ("HTTPS_PROXY", "http://svc:hunter2/x9@proxy.example:3128"),
        ("https_proxy", "http://svc:hunter2@proxy.example:port"),
        ("ALL_PROXY", "ftp://svc:hunter2@proxy.example"),
        ("HTTPS_PROXY", "http://svc:hunter2@:3128"),
    ],
)
@pytest.mark.parametrize("command", ["sync", "check"])
def test_a_proxy_that_cannot_be_is_named_by_its_variable_alone(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, command: str
) -> None:
    """In words and with the right exit code; neither its password nor a traceback is printed."""
    monkeypatch.setenv(variable, value)
    result = far_away(make_importer)(command)
    assert result.code == (2 if command == "sync" else 1)
    assert f"{variable} is not a valid proxy address" in result.err + result.out
    assert "hunter2" not in result.err + result.out
    assert "Traceback" not in result.err


def test_a_socks_proxy_says_what_it_takes(make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra of the HTTP library's."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    result = far_away(make_importer)("sync")
    assert result.code == 2
    assert "ALL_PROXY names a SOCKS proxy" in result.err
    assert f"Install it with: {pip()} install 'httpx[socks]'" in result.err


@pytest.mark.parametrize("kind", ["gone", "empty", "folder"])
def test_certificates_that_are_not_there_are_named_by_their_variable(
    make_importer: MakeImporter, tmp_path: Path, kind: str
) -> None:
    """A file of an environment that exists no longer, an empty one, a folder."""
    path = tmp_path / "cacert.pem"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    result = far_away(make_importer).in_a_process("sync", environment={"SSL_CERT_FILE": str(path)})
    assert result.code == 2
    assert "SSL_CERT_FILE has no certificates" in result.err
    assert "Traceback" not in result.err


def test_services_on_this_machine_are_asked_directly_whatever_the_proxy(make_importer: MakeImporter) -> None:
    """A key in plain http stays here; the demo works behind a company's proxy."""
    importer = make_importer(size=40)
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"), "http://127.0.0.1:9")
    result = importer.in_a_process("--config", str(importer.config), "--db", str(importer.db), "sync", bare=True)
    assert result.code == 0
    importer.sandbox.audience().join(3)
    assert importer.in_a_process("sync", environment=proxies).code == 0
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize("value", ['"{}"', "'{}'", "{}\r", "{}\n"])
@pytest.mark.parametrize("name", ["config", "db"])
def test_a_path_with_marks_around_it_is_refused_by_its_name(make_importer: MakeImporter, name: str, value: str) -> None:
    """A file of variables keeps what a shell takes off."""
    importer = make_importer(size=0)
    paths = {"config": importer.config, "db": importer.db}
    paths[name] = Path(value.format(paths[name]))
    with pytest.raises(ConfigError, match=f"MCIMPORT_{name.upper()}: the path has quotation marks or a line break"):
        load(config=paths["config"], db=paths["db"])


def test_a_state_file_that_a_variable_names_in_marks_is_not_made(make_importer: MakeImporter) -> None:
    """Exit 2, and no file of such a name."""
    importer = make_importer(size=3)
    paths = {"MCIMPORT_DB": f'"{importer.db}"', "MCIMPORT_CONFIG": str(importer.config)}
    result = importer.in_a_process("sync", environment=paths, bare=True)
    assert (result.code, "MCIMPORT_DB" in result.err) == (2, True)
    assert [path.name for path in importer.folder.iterdir()] == [importer.config.name]


def test_a_key_with_marks_around_it_is_named_as_such(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not repeated."""
    importer = make_importer(size=3)
    importer.config.write_text(
        importer.config.read_text().replace(f'"{importer.sandbox.ometria_key}"', '"env:THE_KEY"')
    )
    monkeypatch.setenv("THE_KEY", f'"{importer.sandbox.ometria_key}"')
    result = importer("sync")
    assert result.code == 2
    assert "THE_KEY has quotation marks around it" in result.err
    assert importer.sandbox.ometria_key not in result.err


def test_a_folder_that_is_gone_matters_only_to_paths_that_begin_there(
    make_importer: MakeImporter, tmp_path: Path
) -> None:
    """A deployment replaced it under a shell: absolute paths work, for the others there are words."""
    importer = make_importer(size=3)
    importer.create_state_file()
    gone = tmp_path / "gone"
    there = 'mkdir "$1"; cd "$1"; rmdir "$1"; shift; exec "$@"'
    for arguments, code in ((importer.command("status"), 0), ([sys.executable, "-m", "mcimport", "status"], 2)):
        gone.rmdir() if gone.exists() else None
        result = subprocess.run(
            ["/bin/sh", "-c", there, "sh", str(gone), *arguments], capture_output=True, text=True, check=False
        )
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
    assert "current folder no longer exists" in result.stderr


def test_a_configuration_that_was_only_found_must_be_this_users_or_roots() -> None:
    """Anybody's file in a shared folder would say where keys go."""
    check_owner("mcimport.toml", 0)
    check_owner("mcimport.toml", os.geteuid())
    with pytest.raises(ConfigError, match="belongs neither to this user nor to root") as refused:
        check_owner("mcimport.toml", 12_345)
    assert "--config" in refused.value.hint


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("localhost,127.0.0.1,.svc,10.0.0.0/8,fd00::/8", "us6.api.mailchimp.example", False),
        ("fd00::/8", "[fd00::5]", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("[::1], .mailchimp.example", "us6.api.mailchimp.example", True),
        ("mailchimp.example", "us6.api.mailchimp.example", True),
        ("*", "us6.api.mailchimp.example", True),
        ("", "us6.api.mailchimp.example", False),
        ("", "127.0.0.1", True),
        ("", "[::1]", True),
        ("", "sandbox.localhost", True),
    ],
)
def test_no_proxy_takes_names_addresses_and_ranges_and_passes_over_the_rest(
    no_proxy: str, host: str, *, is_direct: bool
) -> None:
    """As a container platform sets it."""
    environment = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": no_proxy}
    assert (proxy_for(f"https://{host}/3.0", environment) is None) is is_direct


def test_a_proxy_is_taken_as_it_is_written() -> None:
    """The scheme's own before the one for all, and a bare host and port is one, too."""
    both = {"HTTPS_PROXY": "proxy.example:3128", "ALL_PROXY": "http://other.example:1"}
    found = proxy_for(SERVICE, both)
    assert found is not None
    assert str(found.url) == "http://proxy.example:3128"
    assert proxy_for("http://ometria.example/v2", {"https_proxy": "http://proxy.example"}) is None
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        proxy_for(SERVICE, {"HTTPS_PROXY": "http://proxy.example:0"})


BROKERS = ["s3cr#word9", "s3cr?word9", "s3cr[word9", "s3cr]word9", "s3cr/word9", "s3cr@word9", "s3%word9"]


@pytest.mark.parametrize("password", BROKERS)
def test_a_brokers_password_that_has_to_be_encoded_is_refused_before_anything_is_asked(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """In words that say how, with nothing of it."""
    importer = make_importer(size=3)
    text = '[engine]\nkind = "celery"\nbroker = "env:BROKER"\n\n' + importer.config.read_text()
    importer.config.write_text(text)
    monkeypatch.setenv("BROKER", f"amqp://mc:{password}@127.0.0.1:5672/")
    result = importer("sync")
    assert result.code == 2, result.err
    assert "percent-encode" in result.err
    assert "word9" not in result.err
    assert importer.sandbox.requests == []


@pytest.mark.parametrize("password", ["s3cr%23word9", "a-b_c.d~e!f*g", "pass:word"])
def test_a_brokers_password_that_is_written_as_it_should_is_taken(password: str) -> None:
    """Percent-encoded, or of letters, digits and marks that mean nothing in an address."""
    text = f"amqps://mc:{password}@broker.example:5671/vhost"
    source = KeySource("[engine] broker", SecretStr("env:BROKER"), Path(), {"BROKER": text})
    assert EngineSettings("celery", source).broker().get_secret_value() == text
