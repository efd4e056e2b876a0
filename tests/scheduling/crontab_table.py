"""Reads cron/mcimport.crontab as crontab(5) does, and lays a copy of it into a folder of a test's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CRONTAB = ROOT / "cron" / "mcimport.crontab"
HOURLY = "7 * * * *"
PROGRAM = "/usr/local/bin/mcimport"
FOLDERS = ("/etc/mcimport", "/var/lib/mcimport", "/var/log/mcimport")
KEYS = ("ACME_MAILCHIMP_KEY", "ACME_OMETRIA_KEY")
_SETTING = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*")
_ENTRY = re.compile(r"\s*((?:[\d*/,-]+\s+){4}[\d*/,-]+)\s+(.+)")

SETTINGS = """\
[retry]
wait = 0

[clients.acme]
lists = ["{list_key}"]
mailchimp_api_key = "env:ACME_MAILCHIMP_KEY"
ometria_api_key = "env:ACME_OMETRIA_KEY"
mailchimp.url = "{mailchimp_url}"
ometria.url = "{ometria_url}"
ometria.requests_per_second = 500
"""


@dataclass(frozen=True)
class Entry:
    """A line that cron runs: when, what, and the settings that stand above it, without their quotes."""

    schedule: str
    command: str
    settings: Mapping[str, str]


def entries(text: str) -> list[Entry]:
    """Raises ValueError for a line that is neither blank, nor a comment, a setting or an entry."""
    found, settings = [], dict[str, str]()
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if setting := _SETTING.fullmatch(line):
            settings[setting[1]] = setting[2].strip("\"'")
        elif entry := _ENTRY.fullmatch(line):
            found.append(Entry(entry[1], entry[2], dict(settings)))
        else:
            raise ValueError(f"neither a setting nor an entry: {line}")
    return found


def in_a_container(text: str) -> str:
    """The commented line that starts the image instead, as it would stand in a table."""
    (line,) = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(f"# {HOURLY}")]
    return line


def replaced(text: str, new: Mapping[str, str]) -> str:
    """Each key by its value. Raises ValueError where a key does not occur, so that nothing is replaced in vain."""
    for old, value in new.items():
        if old not in text:
            raise ValueError(f"{old} does not occur")
        text = text.replace(old, value)
    return text


@dataclass(frozen=True)
class Laid:
    """What the table's header tells an operator to set up, under another folder."""

    folder: Path

    @property
    def paths(self) -> dict[str, str]:
        """The table's folders, and what stands in their place."""
        return {path: f"{self.folder}{path}" for path in FOLDERS}

    @property
    def environment(self) -> Path:
        return Path(f"{self.folder}/etc/mcimport/environment")

    @property
    def config(self) -> Path:
        return Path(f"{self.folder}/etc/mcimport/mcimport.toml")

    @property
    def state(self) -> Path:
        return Path(f"{self.folder}/var/lib/mcimport/mcimport.db")

    @property
    def log(self) -> Path:
        return Path(f"{self.folder}/var/log/mcimport/mcimport.log")


def lay(folder: Path, settings: str, keys: tuple[str, str]) -> Laid:
    """Folders with mode 0700; settings and keys, Mailchimp's first, with mode 0600."""
    laid = Laid(folder)
    for path in laid.paths.values():
        Path(path).mkdir(mode=0o700, parents=True)
    laid.config.write_text(settings, encoding="utf-8")
    lines = (f"{name}={key}\n" for name, key in zip(KEYS, keys, strict=True))
    laid.environment.write_text("".join(lines), encoding="utf-8")
    for file in (laid.config, laid.environment):
        file.chmod(0o600)
    return laid
