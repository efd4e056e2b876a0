"""Whoever may not use a file is told whose it is and what mends it, by our words; root is warned before it makes any.

Where these tests are run by root, the program is another user, `nobody`, and the files stay root's. Elsewhere no other
user is to be had: the files are this user's own, and their mode denies them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import CommandResult, Importer, MakeImporter

from mcimport.config.places import check_owner
from mcimport.errors import ConfigError
from mcimport.errors.ownership import USE, find_obstacle, user_name

IS_ROOT = os.getuid() == 0
NOBODY = 65_534
SOMEBODY = 12_345  # neither root nor who runs these tests
# First what loads late: who has no rights may not be able to read it later.
AS_NOBODY = """
import contextlib, io, json, os, sys
from mcimport.cli import app

def run(words):
    sys.argv = ["mcimport", *words]
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            app.main()
        except SystemExit as left:
            code = left.code
    return code, said.getvalue()

before, words = map(json.loads, sys.argv[1:])
run(before)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps(run(words)))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def importer(make_importer: MakeImporter, folder: Path) -> Importer:
    """With settings in that folder that every user may read, and a state file in its own."""
    made = make_importer(size=10)
    (folder / "mcimport.toml").write_bytes(made.config.read_bytes())
    return made


def as_nobody(importer: Importer, config: Path, db: Path, *command: str) -> CommandResult:
    """What a command says to a user without rights, after it has worked for one who has them."""
    words = ["--config", str(config), "--db", str(db), *command]
    given = [json.dumps(one) for one in ([*importer._options(), *command], words)]
    result = subprocess.run([sys.executable, "-c", AS_NOBODY, *given], capture_output=True, text=True, check=True)
    code, said = json.loads(result.stdout)
    return CommandResult(code, "", said)


def close(path: Path) -> None:
    """As its owner leaves it whom nobody else concerns; where the owner is all there is, closed to the owner."""
    if path.is_dir():
        path.chmod(0o700 if IS_ROOT else 0)
    else:
        path.chmod(0o600 if IS_ROOT else 0)


def whose(path: Path, *, every: str = "") -> Sequence[str]:
    """The reason and the command that a message about a closed file names."""
    if IS_ROOT:
        return f"it belongs to another user, {user_name(0)}", f"Run `chown {user_name(NOBODY)} {every or path}` as root"
    return "its mode denies it to its owner", f"Run `chmod 600 {path}`."


def test_settings_of_another_user_are_named_with_what_mends_it(importer: Importer, folder: Path) -> None:
    """No wrong usage, as click would have it: exit 2, whose the file is, and one command."""
    config = folder / "mcimport.toml"
    close(config)
    result = as_nobody(importer, config, folder / "state.db", "status")
    reason, mend = whose(config)
    assert result.code == 2
    assert f"{config}: cannot be read: {reason}" in result.err
    assert mend in result.err
    assert "Usage" not in result.err


def test_files_of_a_user_who_is_not_root_are_left_to_that_user(importer: Importer, folder: Path) -> None:
    """They are no mistake of root's: whoever types the command is the wrong user."""
    config, closed = folder / "mcimport.toml", folder / "closed"
    closed.mkdir()
    close(config)
    close(closed)
    for path in (config, closed) if IS_ROOT else ():
        os.chown(path, SOMEBODY, SOMEBODY)
    for file in (config, closed / "mcimport.toml"):
        result = as_nobody(importer, file, folder / "state.db", "status")
        assert (f"Run mcimport as that user: `runuser -u {SOMEBODY} -- mcimport`" in result.err) is IS_ROOT
        assert "chown" not in result.err
    closed.chmod(0o700)


def test_a_key_file_of_another_user_is_named_with_what_mends_it(importer: Importer, folder: Path) -> None:
    """The client's message names the file as the settings do, and the command its whole path."""
    config, key = folder / "mcimport.toml", folder / "key"
    key.write_text(importer.sandbox.ometria_key, encoding="utf-8")
    text = config.read_text(encoding="utf-8").replace(f'"{importer.sandbox.ometria_key}"', '"file:key"')
    config.write_text(text, encoding="utf-8")
    close(key)
    result = as_nobody(importer, config, folder / "state.db", "check", "--offline")
    reason, mend = whose(key)
    assert result.code == 1
    assert f"the file key cannot be read: {reason}" in result.err
    assert mend in result.err
    assert importer.sandbox.ometria_key not in result.err


def test_a_state_file_of_another_user_is_named_with_what_mends_it(importer: Importer, folder: Path) -> None:
    """One command for the state file and all that root made beside it; `check` says the same as who reads."""
    db = folder / "state.db"
    assert importer("--db", str(db), "sync").code == 0
    for path in folder.glob("state.db*"):
        close(path)
    reason, mend = whose(db, every=f"{db}*")
    for command in (("status",), ("check", "--offline")):
        result = as_nobody(importer, folder / "mcimport.toml", db, *command)
        assert result.code == 1
        assert f"the state file {db} cannot be written: {reason}" in result.err
        assert mend in result.err


def test_a_folder_that_another_user_closed_is_named_rather_than_what_is_in_it(importer: Importer, folder: Path) -> None:
    """Whoever cannot enter it cannot know whose the file is; no command would hand over a folder unasked."""
    closed = folder / "closed"
    closed.mkdir()
    config = closed / "mcimport.toml"
    config.write_bytes(importer.config.read_bytes())
    close(closed)
    result = as_nobody(importer, config, folder / "state.db", "status")
    closed.chmod(0o700)
    assert result.code == 2
    if IS_ROOT:
        assert f"the folder {closed} belongs to another user, {user_name(0)}" in result.err
        assert f"If it is for mcimport alone: `chown {user_name(NOBODY)} {closed}` as root" in result.err
    else:
        assert f"Run `chmod 700 {closed}`." in result.err


def test_a_file_to_write_in_a_closed_folder_is_named(importer: Importer, folder: Path) -> None:
    """Not only that some output could not be written."""
    closed = folder / "closed"
    closed.mkdir()
    db = folder / "state.db"
    assert importer("--db", str(db), "sync").code == 0
    for path in (folder, *folder.glob("state.db*")) if IS_ROOT else ():
        os.chown(path, NOBODY, NOBODY)
    close(closed)
    page = closed / "report.html"
    result = as_nobody(importer, folder / "mcimport.toml", db, "report", "--html", str(page))
    closed.chmod(0o700)
    assert result.code == 2
    assert f"{page} cannot be written: Permission denied" in result.err


def test_no_folder_that_others_use_is_offered_to_one_user(importer: Importer, folder: Path) -> None:
    """Of the root folder, a home, /etc and the like it is said that the file belongs elsewhere."""
    result = as_nobody(importer, folder / "mcimport.toml", Path("/mcimport.db"), "sync")
    assert result.code == 1
    assert "the folder / belongs to another user, root" in result.err
    assert "Put it where" in result.err
    assert "chown" not in result.err


def test_a_state_folder_that_cannot_be_made_is_named_with_the_command_that_makes_it(
    importer: Importer, folder: Path
) -> None:
    """For the user who is to use it, whoever types the command."""
    folder.chmod(0o555)
    result = as_nobody(importer, folder / "mcimport.toml", folder / "state" / "state.db", "sync")
    folder.chmod(0o755)
    assert result.code == 1
    assert f"there is no folder {folder / 'state'}, and this user may not make it" in result.err
    user = user_name(NOBODY if IS_ROOT else os.getuid())
    assert f"Run `install -d -o {user} -m 0700 {folder / 'state'}` as root." in result.err


def test_settings_that_were_only_found_tell_their_owner_apart() -> None:
    """Root is not told to take them from the user who needs them; anybody else is told the command."""
    with pytest.raises(ConfigError) as refused:
        check_owner("mcimport.toml", SOMEBODY)
    if IS_ROOT:
        assert f"`runuser -u {user_name(SOMEBODY)} -- mcimport`" in refused.value.hint
    else:
        assert f"`chown {user_name(os.getuid())} mcimport.toml` as root" in refused.value.hint


@pytest.mark.parametrize(
    ("command", "made"),
    [
        (["sync"], "state.db"),
        (["sync", "--dry-run"], "state.db.acme.lock"),
        (["init", "{folder}/new.toml"], "new.toml"),
    ],
    ids=["sync", "dry run", "init"],
)
def test_root_is_warned_before_it_makes_a_file_in_another_users_folder(
    importer: Importer, folder: Path, command: list[str], made: str
) -> None:
    """The warning names the user and how to run as that user; in a folder of one's own nothing is said."""
    words = [word.format(folder=folder) for word in command]
    warning = f"to whom the files that root makes there are closed: run `runuser -u {user_name(NOBODY)} -- mcimport`"
    if IS_ROOT:
        os.chown(folder, NOBODY, NOBODY)
    result = importer("--config", str(folder / "mcimport.toml"), "--db", str(folder / "state.db"), *words)
    assert result.code == 0, result.err
    assert (folder / made).exists()
    assert (warning in result.err) is IS_ROOT
    assert "runuser" not in importer("sync", "--dry-run").err


def test_root_who_takes_settings_of_another_user_is_asked_before_a_state_file_of_its_own_is_made(
    importer: Importer, folder: Path
) -> None:
    """That user may have one, and would go on from there; root's begins with every member."""
    config = folder / "mcimport.toml"
    if IS_ROOT:
        os.chown(config, NOBODY, NOBODY)
    result = importer("--config", str(config), "sync")
    words = f"{config} belongs to {user_name(NOBODY)}: did you mean `runuser -u {user_name(NOBODY)} --`?"
    assert (words in result.err) is IS_ROOT
    assert "belongs to" not in importer("--config", str(config), "sync").err


def test_root_is_told_by_check_whose_the_state_is(importer: Importer, folder: Path) -> None:
    """A note, for nothing is wrong yet."""
    if IS_ROOT:
        os.chown(folder, NOBODY, NOBODY)
    result = importer("--db", str(folder / "state.db"), "check", "--offline")
    assert result.code == 0
    assert (f"belongs to {user_name(NOBODY)}, and this is root" in result.out) is IS_ROOT


def test_the_command_that_follows_a_check_has_its_options_and_is_run_by_the_owner(
    importer: Importer, folder: Path
) -> None:
    """As it stands, it would otherwise use other files, or close them to the user who runs it each hour."""
    if IS_ROOT:
        os.chown(folder, NOBODY, NOBODY)
    config, db = folder / "mcimport.toml", folder / "state.db"
    result = importer("--config", str(config), "--db", str(db), "check")
    user = f"runuser -u {user_name(NOBODY)} -- " if IS_ROOT else ""
    assert result.out.splitlines()[-2:] == [
        "No problems found. Next:",
        f"  {user}mcimport --config {config} --db {db} sync",
    ]


def test_nothing_is_said_of_what_may_be_used(folder: Path) -> None:
    """A file of one's own, one that is not there yet, and one in a folder that can be made."""
    (folder / "file").touch(0o600)
    for path in (folder / "file", folder / "new", folder / "some" / "new" / "file"):
        assert find_obstacle(path, USE) is None
