"""`init` and `check`: from nothing to settings that work, and what is said of those that do not."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from conftest import CONFIG, Ended, Stage, several
from hypothesis import given
from hypothesis import strategies as st

from mcimport.config import Answers, template
from mcimport.errors import ConfigError
from mcimport.state import hold

GIVEN = ("--client", "acme", "--list", "1a2d7ebf82", "--mailchimp-key", "env:A", "--ometria-key", "file:b")


def bad(ended: Ended) -> dict[str, str]:
    """Subject to words of what `check --json` finds wrong."""
    return {one["subject"]: one["words"] for one in ended.lines if one["verdict"] == "bad"}


# ---- init


def test_init_with_every_answer_given_writes_settings_that_load(stage: Stage) -> None:
    """What is written is the sandbox's client, valid as it stands, for its owner alone, and three commands follow."""
    importer = stage()
    importer.config.unlink()
    ended = importer("init", *GIVEN)
    assert ended.code == 0
    assert [line.split()[1] for line in ended.out.splitlines()[1:]] == ["check", "preview", "sync"]
    assert stat.S_IMODE(importer.config.stat().st_mode) == 0o600
    client = tomllib.loads(importer.config.read_text())["clients"]["acme"]
    assert client == {"lists": ["1a2d7ebf82"], "mailchimp_api_key": "env:A", "ometria_api_key": "file:b"}
    assert importer("check", "--offline").code == 1  # the keys are not there yet; the settings are right
    importer.folder.joinpath("b").write_text("0123456789abcdef0123456789abcdef\n")
    importer.folder.joinpath("b").chmod(0o600)
    assert importer.in_a_process("check", "--offline", environment={"A": f"{'0' * 32}-us6"}).code == 0


def test_init_never_overwrites(stage: Stage) -> None:
    """A file, or a link that leads nowhere, stays as it is."""
    importer = stage()
    before = importer.config.read_text()
    assert importer("init", *GIVEN).code == 2
    assert importer.config.read_text() == before
    importer.config.unlink()
    importer.config.symlink_to("nowhere")
    assert importer("init", *GIVEN).code == 2
    assert importer.config.is_symlink()


@pytest.mark.parametrize("option", ["--client", "--list", "--mailchimp-key", "--ometria-key"])
def test_init_names_what_is_missing_where_nobody_can_be_asked(stage: Stage, option: str) -> None:
    """Without a terminal, half an answer is an error rather than half a file."""
    importer = stage()
    importer.config.unlink()
    place = GIVEN.index(option)
    ended = importer("init", *GIVEN[:place], *GIVEN[place + 2 :])
    assert (ended.code, option in ended.err, importer.config.exists()) == (2, True, False)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("--client", "a b"),
        ("--list", "nobody@example.com"),
        ("--mailchimp-key", "0123456789abcdef0123456789abcdef-us6"),
        ("--ometria-key", "env:"),
    ],
)
def test_init_refuses_what_no_settings_hold_and_repeats_none_of_it(stage: Stage, option: str, wrong: str) -> None:
    """A key or an address that was typed by mistake stays out of the message, and nothing is written."""
    importer = stage()
    importer.config.unlink()
    given_ = list(GIVEN)
    given_[given_.index(option) + 1] = wrong
    ended = importer("init", *given_)
    assert (ended.code, importer.config.exists()) == (2, False)
    assert "nobody@" not in ended.err
    assert "0123456789" not in ended.err


def test_init_asks_on_a_terminal_for_what_is_not_given(tmp_path: Path) -> None:
    """Its proposals are taken with a bare Return; the names of the variables follow the client's."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mcimport", "init"], stdin=follower, stdout=follower, stderr=follower, cwd=tmp_path
    )
    os.close(follower)
    os.write(leader, b"shop-1\n1a2d7ebf82 2b3e8fc093\n\n\n")
    with open(leader, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        try:
            while screen.read(1_000):
                pass
        except OSError:  # how a terminal says that nobody writes any more
            pass
    assert process.wait() == 0
    client = tomllib.loads((tmp_path / "mcimport.toml").read_text())["clients"]["shop-1"]
    assert client["lists"] == ["1a2d7ebf82", "2b3e8fc093"]
    assert client["mailchimp_api_key"] == "env:SHOP_1_MAILCHIMP_KEY"


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_answered_is_written_as_it_is_or_refused(client: str, source: str, collection: str) -> None:
    """No answer can break out of its quotes and become another setting."""
    answers = Answers(client=client, mailchimp_key=f"file:{source}", collection=collection)
    try:
        written = tomllib.loads(template(answers))
    except ConfigError:
        return
    assert list(written["clients"]) == [client]
    assert written["clients"][client]["mailchimp_api_key"] == f"file:{source}"
    assert written["ometria"]["collection"] == collection


# ---- check


def test_check_ticks_what_works_and_changes_nothing(stage: Stage) -> None:
    """Keys accepted, the list counted, the state file not even made."""
    importer = stage(size=120)
    ended = importer("check")
    assert ended.code == 0
    assert "acme: Mailchimp key: accepted" in ended.out
    assert "acme: Ometria key: accepted" in ended.out
    on_the_list = len(importer.box.audience().listed())
    assert f"list {importer.box.list_key}: {on_the_list} members" in ended.out
    assert "1 list was never synced" in ended.out
    assert [path.name for path in importer.folder.iterdir()] == ["mcimport.toml"]
    importer("sync")
    again = importer("check")
    assert "never synced" not in again.out
    assert "healthy" in again.out
    assert not [one for one in importer.box.requests if one.method not in ("GET", "POST")]


@pytest.mark.parametrize(
    ("setting", "subject"), [("mailchimp_key", "Mailchimp key"), ("ometria_key", "Ometria key"), ("list_key", "list")]
)
def test_check_crosses_what_a_service_does_not_take(stage: Stage, setting: str, subject: str) -> None:
    """A wrong key or list is named, with the mend beside it, and the rest is looked at all the same."""
    importer = stage(size=10)
    wrong = {"mailchimp_key": f"{'1' * 32}-us6", "ometria_key": "1" * 32, "list_key": "ffffffffff"}
    importer.configure(**{setting: wrong[setting]})
    ended = importer("check", "--json")
    assert ended.code == 1
    (found,) = [one for one in ended.lines if one["verdict"] == "bad"]
    assert found["subject"].startswith(subject)
    assert found["mend"]
    assert "1" * 32 not in ended.out + ended.err
    seen = {one["subject"] for one in ended.lines if one["verdict"] == "good"}
    assert ("Ometria key" in seen) is (setting != "ometria_key")


def test_check_says_which_key_is_unset_and_looks_at_the_other_clients(stage: Stage) -> None:
    """One client's missing key hides nothing of another."""
    importer = stage(size=10)
    importer.configure(
        CONFIG + '\n[clients.beta]\nlists = ["aaaaaaaaaa"]\nmailchimp_api_key = "env:NOT_SET"\n'
        'ometria_api_key = "env:NOT_SET"\n'
    )
    ended = importer("check", "--json")
    assert ended.code == 1
    assert {(one["client"], one["verdict"]) for one in ended.lines if "key" in one["subject"]} == {
        ("acme", "good"),
        ("beta", "bad"),
    }
    assert importer("check", "--client", "acme").code == 0


def test_check_offline_asks_nobody(stage: Stage) -> None:
    """Not one request, and a dead service is no finding."""
    importer = stage(size=10)
    assert importer("check", "--offline").code == 0
    assert importer.box.requests == []


def test_check_finds_a_state_file_that_is_no_database(stage: Stage) -> None:
    """It is named, and left as it is."""
    importer = stage(size=10)
    importer.db.write_text("not a database, but somebody's notes about one\n" * 100)
    before = importer.db.read_bytes()
    ended = importer("check", "--offline", "--json")
    assert "state file" in bad(ended)
    assert importer.db.read_bytes() == before


def test_check_finds_a_folder_in_which_no_file_can_be_made(stage: Stage) -> None:
    """Where a state file is to be made, too: a first sync would fail there."""
    importer = stage(size=10)
    ended = importer("--db", "/proc/nowhere/state.db", "check", "--offline", "--json")
    assert "state file" in bad(ended)


def test_check_names_variables_that_replace_what_the_file_says(stage: Stage) -> None:
    """A forgotten variable would send everything elsewhere."""
    importer = stage(size=10)
    ended = importer.in_a_process("check", "--offline", environment={"MCIMPORT_OMETRIA_URL": importer.box.ometria_url})
    assert "MCIMPORT_OMETRIA_URL is set" in ended.out


def test_check_notes_who_is_at_work_and_is_in_nobodys_way(stage: Stage) -> None:
    """A sync that runs is no failure; and a look at the lock keeps no sync from beginning."""
    importer = stage(size=10)
    importer("sync")
    with hold(importer.db, "acme"):
        ended = importer.in_a_process("check", "--json")
    assert ended.code == 0
    (found,) = [one for one in ended.lines if one["subject"] == "lock"]
    assert found["verdict"] == "note"
    over = threading.Event()

    def look_on() -> None:
        while not over.is_set():
            importer("check", "--offline")

    threading.Thread(target=look_on).start()
    try:
        lines = [importer.in_a_process("sync", "--json").line for _ in range(3)]
    finally:
        over.set()
    assert [line["status"] for line in lines] == ["completed"] * 3


def test_check_finds_a_clock_that_is_wrong(stage: Stage) -> None:
    """Five minutes beside Mailchimp's are too many: the mend is named."""
    importer = stage(size=10)
    importer.box.clock.advance(3_600)
    ended = importer("check", "--json")
    assert "60 minutes behind" in bad(ended)["clock"]


def test_check_looks_at_many_clients_side_by_side_and_tells_of_them_in_order(stage: Stage) -> None:
    """Slow ones are asked sixteen at a time, and what they say stands in the order of the file."""
    importer = stage(latency=0.05)
    clients = several(importer, [f"client-{number:02}" for number in range(20)], size=5)
    ended = importer("check", "--json")
    assert ended.code == 0
    assert list(dict.fromkeys(one["client"] for one in ended.lines if one["client"])) == list(clients)
    asked = importer.box.requests
    together = [sum(two.at <= one.at < two.finished for two in asked) for one in asked]
    assert 5 < max(together) <= 16


def test_check_of_a_client_that_is_not_there_is_a_mistake(stage: Stage) -> None:
    """Exit 2, and who there is."""
    importer = stage()
    ended = importer("check", "--client", "nobody")
    assert (ended.code, "acme" in ended.err) == (2, True)
