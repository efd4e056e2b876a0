"""The units for systemd: held against systemd-analyze where there is one, and to their promises everywhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import CommandResult, Importer, MakeImporter, expected_ids, imported_ids
from crontab_table import CRONTAB, PROGRAM, ROOT, SETTINGS, entries, replaced

from mcimport.cli import exits
from mcimport.config import load
from mcimport.services.http.shutdown import LEAVE_WITHIN

FOLDER = CRONTAB.with_name("systemd")
UNITS = ("mcimport.service", "mcimport.timer")
SECTIONS = {".service": {"Unit", "Service"}, ".timer": {"Unit", "Timer", "Install"}}
MOST_EXPOSED = 1.5  # of 10, as `systemd-analyze security` counts; a service without any restriction has 9.6
RESTRICTIONS = {
    "NoNewPrivileges": ["yes"],
    "ProtectSystem": ["strict"],
    "ProtectHome": ["yes"],
    "PrivateTmp": ["yes"],
    "PrivateDevices": ["yes"],
    "CapabilityBoundingSet": [""],
    "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
    "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    "UMask": ["0077"],
}
ANALYZE = shutil.which("systemd-analyze")

Unit = dict[str, dict[str, list[str]]]


def parsed(text: str) -> Unit:
    """By section and setting the values in their order. Raises ValueError for a line that systemd would ignore."""
    unit: Unit = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if head := re.fullmatch(r"\[(\w+)\]", line):
            section = head[1]
        elif section and (setting := re.fullmatch(r"([A-Z]\w+)=(.*)", line)):
            unit[section][setting[1]].append(setting[2])
        else:
            raise ValueError(f"neither a section nor a setting: {line}")
    return unit


def unit(name: str) -> Unit:
    return parsed((FOLDER / name).read_text(encoding="utf-8"))


SERVICE = unit("mcimport.service")["Service"]
TIMER = unit("mcimport.timer")["Timer"]
CREDENTIALS = dict(credential.split(":") for credential in SERVICE["LoadCredential"])


def filled(value: str, folder: Path) -> str:
    """A value with systemd's specifiers filled in by folders of a test's own."""
    return value.replace("%d", f"{folder}/credentials").replace("%S", f"{folder}/state")


def copies(folder: Path, *changes: tuple[str, str]) -> list[Path]:
    """Both units with a program that there is, as systemd-analyze looks for it."""
    for name in UNITS:
        text = (FOLDER / name).read_text(encoding="utf-8")
        text = text.replace(PROGRAM, sys.executable)
        for old, new in changes:
            text = text.replace(old, new)
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in UNITS]


def analyzed(*words: str | Path) -> tuple[int, str]:
    """What systemd-analyze says, and its exit code; where there is none, what the parser of these tests says."""
    if ANALYZE is not None:
        result = subprocess.run([ANALYZE, *words], capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr
    try:
        sections = [(Path(word).suffix, parsed(Path(word).read_text(encoding="utf-8"))) for word in words[1:]]
    except ValueError as error:
        return 1, str(error)
    return int(any(found.keys() != SECTIONS[suffix] for suffix, found in sections)), ""


def test_systemd_takes_both_units(tmp_path: Path) -> None:
    """Each section and setting is one that it knows, with a value that it takes: it has nothing to say."""
    assert analyzed("verify", *copies(tmp_path)) == (0, "")


@pytest.mark.parametrize("change", [("[Timer]", "[Timre]"), ("OnCalendar=hourly", "OnCalendar hourly")])
def test_a_mistake_in_a_unit_is_noticed(tmp_path: Path, change: tuple[str, str]) -> None:
    """The check above takes not just anything."""
    code, said = analyzed("verify", *copies(tmp_path, change))
    assert code != 0 or said


def test_the_service_is_left_hardly_a_right(tmp_path: Path) -> None:
    """What is restricted is restricted in these words, and systemd counts little that is left."""
    assert {name: SERVICE[name] for name in RESTRICTIONS} == RESTRICTIONS
    service, _ = copies(tmp_path)
    if ANALYZE is not None:
        code, said = analyzed("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", service)
        assert code == 0, said


def test_the_service_is_the_crontabs_command_for_the_crontabs_user_and_state() -> None:
    """Whoever goes from one to the other keeps program, user, settings and state file."""
    (command,) = SERVICE["ExecStart"]
    hourly, _ = entries(CRONTAB.read_text(encoding="utf-8"))
    assert hourly.command.endswith(f"exec {command}")
    assert SERVICE["User"] == ["mcimport"]
    (state,) = SERVICE["StateDirectory"]
    database = hourly.settings["MCIMPORT_DB"]
    assert f"MCIMPORT_DB={database}".replace("/var/lib/", "%S/") in SERVICE["Environment"]
    assert Path(database).parent == Path("/var/lib") / state
    assert SERVICE["StateDirectoryMode"] == ["0700"]
    assert CREDENTIALS["mcimport.toml"] == hourly.settings["MCIMPORT_CONFIG"]


def test_a_run_may_take_hours_and_is_given_time_to_leave() -> None:
    """A first sync is not cut off, a second one does not begin beside it, and a stop is above our own grace period."""
    assert SERVICE["Type"] == ["oneshot"]
    assert SERVICE["TimeoutStartSec"] == ["infinity"]
    (grace,) = SERVICE["TimeoutStopSec"]
    assert int(grace) >= LEAVE_WITHIN + 10


def test_the_timer_is_hourly_away_from_the_full_hour_and_makes_up_for_a_missed_one() -> None:
    """The service of the same name is started, each machine's at minutes of its own."""
    assert TIMER == {
        "OnCalendar": ["hourly"],
        "RandomizedDelaySec": ["15min"],
        "FixedRandomDelay": ["yes"],
        "Persistent": ["true"],
    }
    assert unit("mcimport.timer")["Install"] == {"WantedBy": ["timers.target"]}


def test_with_rounds_the_service_is_one_process_that_a_failure_restarts(tmp_path: Path) -> None:
    """Systemd takes the drop-in; a stop is no failure, and wrong settings are not tried again and again."""
    every = parsed((FOLDER / "every.conf").read_text(encoding="utf-8"))["Service"]
    empty, command = every["ExecStart"]
    (hourly,) = SERVICE["ExecStart"]
    assert (empty, command) == ("", hourly.replace("sync", "sync --every 5m"))
    assert (every["Type"], every["SuccessExitStatus"], every["Restart"]) == (["exec"], ["143"], ["on-failure"])
    assert every["RestartPreventExitStatus"] == [str(exits.USAGE)]
    service, _ = copies(tmp_path)
    drop_in = tmp_path / "mcimport.service.d" / "every.conf"
    drop_in.parent.mkdir()
    drop_in.write_text((FOLDER / "every.conf").read_text(encoding="utf-8").replace(PROGRAM, sys.executable))
    if ANALYZE is not None:
        assert analyzed("verify", service) == (0, "")


def test_the_page_names_each_key_that_the_service_loads() -> None:
    """Each credential but the settings is a file that the page's commands make, and further ones are named alike."""
    page = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    made = re.findall(r"^install -o mcimport -g mcimport -m 0600 /dev/null (\S+-\S+)$", page, re.MULTILINE)
    assert {*made, "/etc/mcimport/mcimport.toml"} == {*CREDENTIALS.values()}
    (more,) = re.findall(r"^```ini\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    loaded = parsed(more)["Service"]["LoadCredential"]
    assert [value.replace("globex", "acme") for value in loaded] == SERVICE["LoadCredential"][1:]


def lay_credentials(importer: Importer, folder: Path) -> None:
    """As systemd does: each credential is a file under its name, read-only, beside the others."""
    sandbox = importer.sandbox
    settings = SETTINGS.format(
        list_key=sandbox.list_key, mailchimp_url=sandbox.mailchimp_url, ometria_url=sandbox.ometria_url
    )
    settings = replaced(
        settings, {"env:ACME_MAILCHIMP_KEY": "file:acme-mailchimp", "env:ACME_OMETRIA_KEY": "file:acme-ometria"}
    )
    texts = {
        "mcimport.toml": settings,
        "acme-mailchimp": f"{sandbox.mailchimp_key}\n",
        "acme-ometria": f"{sandbox.ometria_key}\n",
    }
    folder.mkdir()
    for name in CREDENTIALS:
        (folder / name).write_text(texts[name], encoding="utf-8")
        (folder / name).chmod(0o400)


def as_systemd_does(importer: Importer) -> CommandResult:
    """The service's command, in nothing but its environment."""
    (command,) = SERVICE["ExecStart"]
    program, *words = shlex.split(command)
    assert program == PROGRAM
    variables = dict(filled(value, importer.folder).split("=", 1) for value in SERVICE["Environment"])
    return importer.in_a_process(*words, environment=variables, bare=True)


def test_the_services_command_imports_the_list_with_keys_beside_its_settings(make_importer: MakeImporter) -> None:
    """With credentials laid as systemd lays them; the state file is where the unit says, and the log holds no key."""
    importer = make_importer(size=200)
    lay_credentials(importer, importer.folder / "credentials")
    result = as_systemd_does(importer)
    assert (result.code, result.out) == (0, "")
    assert imported_ids(importer) == expected_ids(importer)
    assert (importer.folder / "state" / "mcimport" / "mcimport.db").exists()
    assert importer.sandbox.mailchimp_key not in result.err


def test_keys_are_found_in_the_folder_for_root_and_in_the_one_of_the_service(tmp_path: Path) -> None:
    """The same settings are right in both, so what is tried by hand is what the service does."""
    text = (
        '[clients.acme]\nlists = ["1a2d7ebf82"]\n'
        'mailchimp_api_key = "file:acme-mailchimp"\nometria_api_key = "file:acme-ometria"\n'
    )
    for folder in (tmp_path / "etc", tmp_path / "credentials"):
        folder.mkdir()
        (folder / "mcimport.toml").write_text(text, encoding="utf-8")
        (folder / "acme-ometria").write_text(f"{folder.name}\n", encoding="utf-8")
        settings = load(config=folder / "mcimport.toml", db=tmp_path / "state.db", environ={}, cwd=tmp_path)
        assert settings.clients["acme"].ometria_key().get_secret_value() == folder.name


def test_every_command_of_the_page_copies_units_that_there_are() -> None:
    """Both are copied, and the timer is what is enabled."""
    page = (ROOT / "cron" / "README.md").read_text(encoding="utf-8")
    assert f"install -m 0644 {' '.join(f'cron/systemd/{name}' for name in UNITS)} /etc/systemd/system" in page
    assert "systemctl enable --now mcimport.timer" in page
