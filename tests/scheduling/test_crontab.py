"""The crontab, without a daemon: cron can read it, and its line does its work in cron's bare environment."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import distribution
from itertools import islice, pairwise
from pathlib import Path

import pytest
from conftest import CommandResult, Importer, MakeImporter, expected_ids, imported_ids
from cronsim import CronSim
from crontab_table import (
    CRONTAB,
    FOLDERS,
    HOURLY,
    PROGRAM,
    SETTINGS,
    Entry,
    Laid,
    entries,
    in_a_container,
    lay,
    replaced,
)
from readme import setup_commands

TEXT = CRONTAB.read_text(encoding="utf-8")
LOGROTATE = CRONTAB.with_suffix(".logrotate").read_text(encoding="utf-8")


@pytest.fixture
def entry() -> Entry:
    """The line that cron runs every hour."""
    hourly, _ = entries(TEXT)
    return hourly


@pytest.fixture
def weekly() -> Entry:
    """The line that cron runs every week."""
    _, other = entries(TEXT)
    return other


def test_cron_reads_the_table_to_its_end() -> None:
    """Every line is a comment, a setting or an entry, and the last one ends, without which cron refuses the table."""
    assert len(entries(TEXT)) == 2
    assert TEXT.endswith("\n")


def test_a_line_that_cron_would_refuse_is_noticed() -> None:
    """The reader of the table above is none that takes anything."""
    with pytest.raises(ValueError, match="neither a setting nor an entry"):
        entries("7 * * * /usr/local/bin/mcimport sync\n")


def test_it_runs_once_an_hour_away_from_the_full_one(entry: Entry) -> None:
    """Two days on end, an hour lies between each two runs, and none is at minute 0."""
    runs = list(islice(CronSim(entry.schedule, datetime(2026, 11, 25, tzinfo=UTC)), 48))
    assert {later - one for one, later in pairwise(runs)} == {timedelta(hours=1)}
    assert runs[0].minute != 0
    assert entry.schedule == HOURLY


def test_both_sides_are_compared_once_a_week_in_a_night(entry: Entry, weekly: Entry) -> None:
    """Half an hour away from the hourly runs; all else is as in their line, and somebody has said yes beforehand."""
    first, second = islice(CronSim(weekly.schedule, datetime(2026, 11, 25, tzinfo=UTC)), 2)
    assert second - first == timedelta(days=7)
    assert first.hour < 6
    assert first.minute == 37
    assert weekly.command == entry.command.replace(" sync --quiet", " reconcile --mend --yes --quiet")
    assert weekly.settings == entry.settings


def test_every_path_is_absolute(entry: Entry) -> None:
    """Whatever names a file, in the line or above it, does so from the root on."""
    paths = re.findall(r"[^\s;>]*/[^\s;>&]*", entry.command)
    paths += [one for value in entry.settings.values() for one in value.split(":") if "/" in one]
    assert len(paths) >= 7
    assert [path for path in paths if not path.startswith("/")] == []


def test_no_percent_sign_ends_the_command_early(entry: Entry) -> None:
    """To cron a % is the end of the line."""
    assert "%" not in entry.command + in_a_container(TEXT)


def test_the_executable_is_one_that_the_package_installs(entry: Entry) -> None:
    """`mcimport` is a script of this project, and its folder is in the table's PATH."""
    scripts = {one.name for one in distribution("mcimport").entry_points if one.group == "console_scripts"}
    assert f"exec {PROGRAM} sync --quiet" in entry.command
    assert Path(PROGRAM).name in scripts
    assert str(Path(PROGRAM).parent) in entry.settings["PATH"].split(":")


def test_the_header_sets_up_every_folder_that_the_table_uses() -> None:
    """Who types the commands of the header has each folder of the line, as the same user's own."""
    (made,) = re.findall(r"# +install -d .*0700 (.*)", TEXT)
    assert tuple(made.split()) == FOLDERS
    assert "crontab -u mcimport cron/mcimport.crontab" in TEXT


def test_the_header_installs_the_program_where_the_table_looks_for_it() -> None:
    """One environment is made, the program goes into it with tried versions, and the table's path is a link to it."""
    program, _, _ = map(str.splitlines, setup_commands())
    commands = {words[0]: words for line in program if (words := shlex.split(line))}
    environment = commands["python3"][-1]
    assert commands[f"{environment}/bin/pip"][1:] == ["install", "--constraint", "constraints.txt", "."]
    assert commands["ln"][1:] == ["-sf", f"{environment}/bin/mcimport", PROGRAM]


def test_by_hand_the_program_runs_as_the_tables_user_on_the_tables_files(entry: Entry) -> None:
    """Nothing that root types makes a file that is closed to cron, or in another place than cron's."""
    _, _, by_hand = map(str.splitlines, setup_commands())
    assert all(line.startswith("runuser -u mcimport -- ") for line in by_hand)
    settings = entry.settings
    assert f"mcimport --config {settings['MCIMPORT_CONFIG']} --db {settings['MCIMPORT_DB']} check" in by_hand[-1]
    assert by_hand[0].endswith(settings["MCIMPORT_CONFIG"])
    (keys,) = re.findall(r" \. (\S+);", entry.command)
    assert f". {keys};" in by_hand[-1]


def test_the_log_is_the_one_that_is_rotated(entry: Entry) -> None:
    """The file for logrotate names the log of the line, and has it rotated as the user whom it belongs to."""
    (log,) = re.findall(r">>(\S+)", entry.command)
    assert re.findall(r"^(/\S+) \{", LOGROTATE, re.MULTILINE) == [log]
    assert "    su mcimport mcimport\n" in LOGROTATE


def test_no_key_and_no_address_stands_in_the_table(entry: Entry) -> None:
    """The table's settings are these, and none is a secret; nobody is written to."""
    assert set(entry.settings) == {
        *("SHELL", "PATH", "MAILTO"),
        *("MCIMPORT_CONFIG", "MCIMPORT_DB", "MCIMPORT_LOG_FORMAT"),
    }
    assert "@" not in TEXT


def test_the_line_for_the_image_uses_the_same_folders(entry: Entry) -> None:
    """Where it keeps what, and when it runs, does not depend on whether a container does it."""
    (other,) = entries(in_a_container(TEXT))
    assert other.schedule == entry.schedule
    assert all(folder in other.command for folder in FOLDERS)
    assert other.command.endswith(" mcimport sync --quiet")


def as_cron_does(laid: Laid, line: int = 0) -> CommandResult:
    """A line in the table's shell, with the table's settings and what cron adds to them; the hourly one is 0."""
    program = str(Path(sys.executable).with_name("mcimport"))
    entry = entries(replaced(TEXT, {PROGRAM: program} | laid.paths))[line]
    result = subprocess.run(
        [entry.settings["SHELL"], "-c", entry.command],
        env={**entry.settings, "HOME": str(laid.folder), "LOGNAME": "mcimport"},
        cwd=laid.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return CommandResult(result.returncode, result.stdout, result.stderr)


def laid_for(importer: Importer, folder: Path) -> Laid:
    sandbox = importer.sandbox
    settings = SETTINGS.format(
        list_key=sandbox.list_key, mailchimp_url=sandbox.mailchimp_url, ometria_url=sandbox.ometria_url
    )
    return lay(folder, settings, (sandbox.mailchimp_key, sandbox.ometria_key))


def test_the_line_carries_the_list_and_says_nothing(make_importer: MakeImporter, tmp_path: Path) -> None:
    """In nothing but the table's environment everybody is carried; what is written is for its owner alone.

    Only that a state file was made is said, once.
    """
    importer = make_importer(size=200)
    laid = laid_for(importer, tmp_path / "laid")
    assert as_cron_does(laid) == CommandResult(0, "", "")
    assert imported_ids(importer) == expected_ids(importer)
    (line,) = laid.log.read_text(encoding="utf-8").splitlines()
    assert "no state file at" in line
    assert as_cron_does(laid) == CommandResult(0, "", "")
    assert laid.log.read_text(encoding="utf-8").splitlines() == [line]
    assert {stat.S_IMODE(file.stat().st_mode) for file in (laid.log, laid.state)} == {0o600}


def test_the_log_tells_what_was_not_carried(make_importer: MakeImporter, tmp_path: Path) -> None:
    """A page that cannot be read is exit 3 and events in the log, each with its time, which hold no key."""
    importer = make_importer(size=200, broken=["100-101"])
    laid = laid_for(importer, tmp_path / "laid")
    assert as_cron_does(laid) == CommandResult(3, "", "")
    log = laid.log.read_text(encoding="utf-8")
    assert 'event="dead letter"' in log
    assert all(line.startswith("time=") for line in log.splitlines())
    assert importer.sandbox.mailchimp_key not in log
    assert importer.sandbox.ometria_key not in log


def test_the_weekly_line_mends_what_differs_and_tells(make_importer: MakeImporter, tmp_path: Path) -> None:
    """Whoever was deleted is opted out, in nothing but the table's environment; the log says how many, and no name."""
    importer = make_importer(size=200, reads_per_second=100_000, settling=0)
    laid = laid_for(importer, tmp_path / "laid")
    laid.config.write_text(laid.config.read_text(encoding="utf-8") + "reconcile.settling = 0\n", encoding="utf-8")
    assert as_cron_does(laid) == CommandResult(0, "", "")
    people = importer.sandbox.audience().with_status("subscribed")
    (gone,) = importer.sandbox.audience().delete(who=[next(one for one in people if one["email_address"])])
    assert as_cron_does(laid, 1) == CommandResult(0, "", "")
    log = laid.log.read_text(encoding="utf-8")
    assert "gone=1" in log
    assert "mended=1" in log
    assert gone["email_address"] not in log


def test_the_log_tells_that_there_are_no_keys(make_importer: MakeImporter, tmp_path: Path) -> None:
    """Without the environment file nothing is asked of anybody, and the log names what is missing."""
    importer = make_importer(size=10)
    laid = laid_for(importer, tmp_path / "laid")
    laid.environment.unlink()
    assert as_cron_does(laid).code != 0
    assert str(laid.environment) in laid.log.read_text(encoding="utf-8")
    assert importer.sandbox.requests == []
