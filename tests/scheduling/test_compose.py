"""The file for Docker Compose, without an engine: held against the specification's schema, and to its promises."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from crontab_table import CRONTAB, ROOT

from mcimport.config import load
from mcimport.services.http.shutdown import LEAVE_WITHIN

FOLDER = CRONTAB.with_name("compose")
FILE = FOLDER / "compose.yaml"
TEXT = FILE.read_text(encoding="utf-8")
DOCUMENT = yaml.safe_load(TEXT)
OURS = ("worker", "scheduler")
STUB = '#!/bin/sh\necho "{name} $*" >>said\n{more}\n'


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["services"][name]
    return found


@pytest.fixture(params=OURS)
def ours(request: pytest.FixtureRequest) -> Any:
    """Both must be right in every way."""
    return service(request.param)


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    """The specification's schema is the checker's own, so nobody is asked for it."""
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_it_is_what_the_specification_describes() -> None:
    """Every field is one that it knows, and has a value that it takes."""
    result = checked(FILE)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("field", "misspelt"),
    [("stop_grace_period:", "stop_grace:"), ("start_interval:", "startinterval:"), ("condition:", "conditon:")],
)
def test_a_misspelt_field_is_noticed_wherever_it_stands(field: str, misspelt: str, tmp_path: Path) -> None:
    """The check above is strict down to a service's own tables."""
    path = tmp_path / "compose.yaml"
    path.write_text(TEXT.replace(field, misspelt), encoding="utf-8")
    result = checked(path)
    assert result.returncode != 0
    assert misspelt.rstrip(":") in result.stdout


def test_it_is_a_broker_workers_and_one_scheduler() -> None:
    """Five workers by default; no number of schedulers is named, and so it is one."""
    assert DOCUMENT["services"].keys() == {"rabbitmq", *OURS}
    assert service("worker")["deploy"] == {"replicas": 5}
    assert not {"deploy", "scale"} & service("scheduler").keys()


def test_both_are_the_image_that_is_built_here(ours: dict[str, Any]) -> None:
    """The context is this project, the file is cron/Dockerfile, and its extra brings the engine."""
    context = FOLDER / ours["build"]["context"]
    assert context.resolve() == ROOT.resolve()
    dockerfile = context / ours["build"]["dockerfile"]
    assert dockerfile.resolve() == CRONTAB.with_name("Dockerfile").resolve()
    assert ".[celery]" in dockerfile.read_text(encoding="utf-8")


def test_the_broker_is_one_version_under_one_name() -> None:
    """The image names its release to the last number; the host's name is fixed, as the data lies under it."""
    broker = service("rabbitmq")
    assert re.fullmatch(r"rabbitmq:\d+\.\d+\.\d+-management", broker["image"])
    assert broker["hostname"] == "rabbitmq"
    assert broker["volumes"] == ["broker:/var/lib/rabbitmq"]


def test_nobody_elsewhere_reaches_the_broker() -> None:
    """The pages about queues are published on loopback; nothing else of any service is published at all."""
    published = {name: one["ports"] for name, one in DOCUMENT["services"].items() if "ports" in one}
    assert published == {"rabbitmq": ["127.0.0.1:15672:15672"]}
    assert not any("network_mode" in one for one in DOCUMENT["services"].values())


def test_who_needs_the_broker_waits_until_it_runs(ours: dict[str, Any]) -> None:
    """The health check asks whether the node runs and whether its ports answer; what is started after it is healthy."""
    kind, command = service("rabbitmq")["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    asked = [f"rabbitmq-diagnostics -q {one}" for one in ("check_running", "check_port_connectivity")]
    assert command == " && ".join(asked)
    assert ours["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}


def test_there_is_time_to_leave(ours: dict[str, Any]) -> None:
    """The grace period is above our own, with time to tell or record what is known."""
    assert seconds(ours["stop_grace_period"]) >= LEAVE_WITHIN + 10


def test_all_come_back_by_themselves() -> None:
    """After a crash and after a reboot, unless somebody stopped them."""
    assert {one["restart"] for one in DOCUMENT["services"].values()} == {"unless-stopped"}


def test_it_is_nobody_in_particular(ours: dict[str, Any]) -> None:
    """The image's own user, without capabilities, and nothing is writable."""
    assert ours["read_only"] is True
    assert "user" not in ours
    assert "tmpfs" not in ours


def test_no_service_may_gain_a_right() -> None:
    """Every capability is dropped, the broker's too, which is not root from its first moment on."""
    for one in DOCUMENT["services"].values():
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert not {"cap_add", "privileged", "pid", "ipc", "devices"} & one.keys()
    assert service("rabbitmq")["user"] == "999:999"


def test_the_state_is_the_schedulers_alone() -> None:
    """Its named volume lies where the image keeps the state; a worker has no volume."""
    (volume,) = service("scheduler")["volumes"]
    name, path = volume.split(":")
    assert name in DOCUMENT["volumes"]
    assert f"MCIMPORT_DB={path}/mcimport.db" in CRONTAB.with_name("Dockerfile").read_text(encoding="utf-8")
    assert "volumes" not in service("worker")


def test_no_secret_stands_in_the_file(ours: dict[str, Any]) -> None:
    """Each secret is a file in a folder that git ignores; no environment holds one."""
    assert DOCUMENT["secrets"] == {name: {"file": f"secrets/{name}"} for name in DOCUMENT["secrets"]}
    assert "/cron/compose/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"MCIMPORT_CONFIG", "MCIMPORT_LOG_FORMAT"} <= ours["environment"].keys()
    assert ours["environment"].keys() <= {"MCIMPORT_CONFIG", "MCIMPORT_LOG_FORMAT"}
    assert "environment" not in service("rabbitmq")


def test_the_settings_load_and_name_mounted_secrets(ours: dict[str, Any], tmp_path: Path) -> None:
    """The example is valid, its engine is Celery, and each key and the broker's address is a secret of the service."""
    example = FOLDER / "mcimport.toml"
    known = load(config=example, environ={"MCIMPORT_DB": str(tmp_path / "state.db")}, cwd=tmp_path)
    assert known.engine.kind == "celery"
    sources = [one for client in known.clients.values() for one in (client.mailchimp_source, client.ometria_source)]
    named = [one.spec.get_secret_value() for one in (*sources, known.engine.source)]
    assert ours["environment"]["MCIMPORT_CONFIG"] == "/run/secrets/mcimport.toml"
    assert {*named, "file:/run/secrets/mcimport.toml"} == {f"file:/run/secrets/{one}" for one in ours["secrets"]}


def test_every_secret_is_somebodys() -> None:
    """The broker has its user and password where it looks for settings, the others have all the rest."""
    (user,) = service("rabbitmq")["secrets"]
    assert Path(user["target"]).parent == Path("/etc/rabbitmq/conf.d")
    assert {user["source"], *service("worker")["secrets"]} == DOCUMENT["secrets"].keys()
    assert service("worker")["secrets"] == service("scheduler")["secrets"]


def is_taken(address: str, folder: Path) -> bool:
    """By the settings of the example, wherever its secret lies."""
    found = folder / "broker-url"
    found.write_text(address, encoding="utf-8")
    settings = (FOLDER / "mcimport.toml").read_text(encoding="utf-8").replace("/run/secrets/broker-url", str(found))
    (folder / "tried.toml").write_text(settings, encoding="utf-8")
    known = load(config=folder / "tried.toml", environ={"MCIMPORT_DB": str(folder / "state.db")}, cwd=folder)
    return known.engine.broker().get_secret_value() == address.rstrip("\n")


def header() -> str:
    """The commands that its header has somebody type, the first time."""
    first, *_ = re.split(r"^#\n(?!#   )", TEXT.partition("#\n")[2], maxsplit=1, flags=re.MULTILINE)
    return "\n".join(line.removeprefix("#   ") for line in first.splitlines())


def test_the_header_makes_every_secret(tmp_path: Path) -> None:
    """Whoever types it has each file, for its owner alone, who is the reader; both sides know the same password."""
    (tmp_path / "mcimport.toml").write_text("[engine]\n", encoding="utf-8")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, more in {"openssl": "echo 0123456789abcdef", "sudo": "", "docker": ""}.items():
        program = programs / name
        program.write_text(STUB.format(name=name, more=more), encoding="utf-8")
        program.chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    subprocess.run(["/bin/sh", "-ec", header()], env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL, check=True)
    made = list((tmp_path / "secrets").iterdir())
    assert {one.name for one in made} == DOCUMENT["secrets"].keys()
    assert {stat.S_IMODE(one.stat().st_mode) for one in made} == {0o600}
    conf = (tmp_path / "secrets" / "rabbitmq.conf").read_text(encoding="utf-8")
    user, password = re.findall(r"^default_(?:user|pass) = (\S+)$", conf, re.MULTILINE)
    address = (tmp_path / "secrets" / "broker-url").read_text(encoding="utf-8")
    assert address == f"amqp://{user}:{password}@{service('rabbitmq')['hostname']}:5672/\n"
    assert is_taken(address, tmp_path)
    said = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    (reader,) = re.findall(r"^USER (\S+)$", CRONTAB.with_name("Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    handed = [line for line in said if line.startswith("sudo chown ")]
    assert [line.split()[2] for line in handed] == [reader, service("rabbitmq")["user"]]
    assert len(handed[0].split()) == 3 + len(made)
    assert handed[1].split()[3:] == ["secrets/rabbitmq.conf"]
    assert said[-1] == "docker compose up --build --detach"
