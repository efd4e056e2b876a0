"""`init` and `check`: from nothing to settings that work, and what is said of those that do not."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from conftest import CONFIG, PLAIN, CommandResult, MakeImporter, configure_clients
from hypothesis import given
from hypothesis import strategies as st

from mcimport.config import Answers, template
from mcimport.config.template import EXAMPLE
from mcimport.errors import ConfigError
from mcimport.state import lock_client, lock_holder, open_state

GIVEN = ("--client", "acme", "--list", "1a2d7ebf82", "--mailchimp-key", "env:A", "--ometria-key", "file:b")


def bad(result: CommandResult) -> dict[str, str]:
    """Subject to words of what `check --json` finds wrong."""
    return {one["subject"]: one["words"] for one in result.lines if one["verdict"] == "bad"}


def changed(option: str, value: str) -> list[str]:
    """Everything that `init` asks for, one answer replaced or added."""
    answers = dict(zip(GIVEN[::2], GIVEN[1::2], strict=True)) | {option: value}
    return [word for pair in answers.items() for word in pair]


# ---- init


def test_init_with_every_answer_given_writes_settings_that_load(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is the sandbox's client, valid as it stands, for its owner alone, and three commands follow."""
    importer = make_importer()
    importer.config.unlink()
    result = importer("init", *GIVEN)
    assert result.code == 0
    commands = [shlex.split(line) for line in result.out.splitlines()[1:]]
    assert [words[5] for words in commands] == ["check", "preview", "sync"]
    named = ("mcimport", "--config", str(importer.config), "--db", str(importer.db))
    assert {tuple(words[:5]) for words in commands} == {named}
    assert stat.S_IMODE(importer.config.stat().st_mode) == 0o600
    client = tomllib.loads(importer.config.read_text())["clients"]["acme"]
    assert client == {"lists": ["1a2d7ebf82"], "mailchimp_api_key": "env:A", "ometria_api_key": "file:b"}
    assert importer("check", "--offline").code == 1  # the keys are not there yet; the settings are right
    importer.folder.joinpath("b").write_text("0123456789abcdef0123456789abcdef\n")
    importer.folder.joinpath("b").chmod(0o600)
    monkeypatch.setenv("A", f"{'0' * 32}-us6")
    assert importer("check", "--offline").code == 0


def test_init_never_overwrites(make_importer: MakeImporter) -> None:
    """A file, or a link that leads nowhere, stays as it is."""
    importer = make_importer()
    before = importer.config.read_text()
    assert importer("init", *GIVEN).code == 2
    assert importer.config.read_text() == before
    importer.config.unlink()
    importer.config.symlink_to("nowhere")
    assert importer("init", *GIVEN).code == 2
    assert importer.config.is_symlink()


@pytest.mark.parametrize("option", ["--client", "--list", "--mailchimp-key", "--ometria-key"])
def test_init_names_what_is_missing_where_nobody_can_be_asked(make_importer: MakeImporter, option: str) -> None:
    """Without a terminal, half an answer is an error rather than half a file."""
    importer = make_importer()
    importer.config.unlink()
    place = GIVEN.index(option)
    result = importer("init", *GIVEN[:place], *GIVEN[place + 2 :])
    assert (result.code, option in result.err, importer.config.exists()) == (2, True, False)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("--client", "a b"),
        ("--list", "nobody@example.com"),
        ("--list", "My list"),
        ("--mailchimp-key", "0123456789abcdef0123456789abcdef-us6"),
        ("--mailchimp-key", "env:0123456789abcdef0123456789abcdef-us6"),
        ("--ometria-key", "env:b0123456789abcdef0123456789abcde"),
        ("--ometria-key", "file:0123456789abcdef0123456789abcdef"),
        ("--ometria-key", "env:"),
        ("--client", ""),
        ("--collection", "optin:sms"),
    ],
)
def test_init_refuses_what_no_settings_hold_and_repeats_none_of_it(
    make_importer: MakeImporter, option: str, wrong: str
) -> None:
    """A key or an address that was typed by mistake stays out of the message, and nothing is written."""
    importer = make_importer()
    importer.config.unlink()
    result = importer("init", *changed(option, wrong))
    assert (result.code, importer.config.exists()) == (2, False)
    assert "nobody@" not in result.err
    assert "0123456789" not in result.err


def test_init_takes_back_a_file_that_would_not_load(make_importer: MakeImporter) -> None:
    """What no single answer shows: this client's name completes a collection that sends text messages."""
    importer = make_importer()
    importer.config.unlink()
    given = [*changed("--client", "sms"), "--collection", "optin:{client}"]
    result = importer("init", *given)
    assert (result.code, "text message" in result.err, importer.config.exists()) == (2, True, False)


def test_init_asks_on_a_terminal_and_asks_again_after_a_wrong_answer(tmp_path: Path) -> None:
    """Its proposals are taken with a bare Return; the names of the variables follow the client's."""
    screen, code = typed(tmp_path, "a b", "shop-1", "1a2d7ebf82, 2b3e8fc093", "0123456789abcdef-us6", "", "", "", "")
    assert code == 0
    assert screen.count("Client name") == 2
    assert screen.count("Mailchimp key, from") == 2
    client = tomllib.loads((tmp_path / "mcimport.toml").read_text())["clients"]["shop-1"]
    assert client["lists"] == ["1a2d7ebf82", "2b3e8fc093"]
    assert client["mailchimp_api_key"] == "env:SHOP_1_MAILCHIMP_KEY"
    assert "\n  mcimport check\n  mcimport preview 1a2d7ebf82\n  mcimport sync\n" in screen


def test_init_shows_what_it_will_write_and_takes_a_no(tmp_path: Path) -> None:
    """With where each key is and whether it is there; after a no, there is no file."""
    (tmp_path / "key").write_text("k\n")
    screen, code = typed(tmp_path, "acme", "1a2d7ebf82", "env:NOT_SET_HERE", "file:key", "shop", "n")
    assert (code, (tmp_path / "mcimport.toml").exists()) == (0, False)
    assert re.findall(r"  (?:file|client|lists|Mailchimp key|Ometria key|collection) {2,}(.+)", screen) == [
        "mcimport.toml",
        "acme",
        "1a2d7ebf82",
        "env:NOT_SET_HERE (not set)",
        "file:key (readable)",
        "shop",
    ]
    assert "nothing was written" in screen


def test_init_with_all_options_asks_nothing_on_a_terminal_either(tmp_path: Path) -> None:
    """It shows what it writes, and the collection is the default."""
    screen, code = typed(tmp_path, command=("init", *GIVEN))
    assert (code, "?" in screen, "Collection" in screen) == (0, False, False)
    assert re.search(r"  collection {2,}mailchimp\n", screen)
    assert tomllib.loads((tmp_path / "mcimport.toml").read_text())["ometria"]["collection"] == "mailchimp"


def test_init_notes_a_key_that_is_not_there_yet(make_importer: MakeImporter) -> None:
    """It may be set later, so it is no error, and standard output stays the commands to type."""
    importer = make_importer()
    importer.config.unlink()
    result = importer("init", *GIVEN)
    assert result.code == 0
    assert "note: Mailchimp key: the variable A is not set" in result.err
    assert "note: Ometria key: the file b cannot be read" in result.err


def test_init_without_answers_writes_its_example_of_a_client_in_comments(make_importer: MakeImporter) -> None:
    """Nothing is synced to a client that nobody named; the next command says how to add one."""
    importer = make_importer()
    importer.config.unlink()
    assert importer("init").code == 0
    assert "clients" not in tomllib.loads(importer.config.read_text())
    result = importer("check", "--offline")
    assert (result.code, "no client is configured" in result.out) == (2, True)
    assert "`mcimport init --add`" in result.out


def test_init_add_asks_again_for_what_is_there_already(tmp_path: Path) -> None:
    """The client and the list of the file; the proposed collection is the file's own, and needs no line."""
    shared = template(EXAMPLE).replace('collection = "mailchimp"', 'collection = "shop"')
    (tmp_path / "mcimport.toml").write_text(shared)
    answers = ("ACME", "globex", "1a2d7ebf82", "9f8e7d6c5b", "", "", "", "y")
    screen, code = typed(tmp_path, *answers, command=("init", "--add"))
    assert (code, screen.count("Client name"), screen.count("Mailchimp list ids")) == (0, 2, 2)
    assert "Collection in Ometria [shop]" in screen
    assert "Client name:" in screen  # without the name of the example, which the file has
    assert "Added the client globex to mcimport.toml" in screen
    assert tomllib.loads((tmp_path / "mcimport.toml").read_text())["clients"]["globex"] == {
        "lists": ["9f8e7d6c5b"],
        "mailchimp_api_key": "env:GLOBEX_MAILCHIMP_KEY",
        "ometria_api_key": "env:GLOBEX_OMETRIA_KEY",
    }


def typed(folder: Path, *answers: str, command: Sequence[str] = ("init",)) -> tuple[str, int]:
    """What stands on the terminal after the command was answered, and its exit code."""
    leader, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mcimport", *command], stdin=child, stdout=child, stderr=child, cwd=folder
    )
    os.close(child)
    os.write(leader, "".join(f"{answer}\n" for answer in answers).encode())
    screen = b""
    with open(leader, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # noqa: PTH123 - a descriptor
        while some := terminal.read(1_000):  # at its end, a terminal is an error
            screen += some
    return screen.decode().replace("\r", ""), process.wait()


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


def test_a_word_that_is_hardly_a_list_is_noted_and_a_key_that_is_missing_with_what_to_do(
    make_importer: MakeImporter,
) -> None:
    """Both may be right later, so the file is written all the same."""
    importer = make_importer()
    importer.config.unlink()
    result = importer("init", *changed("--list", "newsletter"))
    said = " ".join(result.err.split())
    assert result.code == 0
    assert "note: newsletter does not look like a list's id (ten of 0-9 and a-f)" in said
    assert "the variable A is not set. Set it, also for cron and services." in said


# ---- check


def test_check_ticks_what_works_and_changes_nothing(make_importer: MakeImporter) -> None:
    """Keys accepted, the list counted, the state file not even made."""
    importer = make_importer(size=120)
    result = importer("check")
    assert result.code == 0
    assert "acme: Mailchimp key: accepted" in result.out
    assert "acme: Ometria key: accepted" in result.out
    on_the_list = len(importer.sandbox.audience().listed())
    assert f"list {importer.sandbox.list_key}: {on_the_list} members" in result.out
    assert "1 list was never synced" in result.out
    assert [path.name for path in importer.folder.iterdir()] == ["mcimport.toml"]
    importer("sync")
    again = importer("check")
    assert "never synced" not in again.out
    assert "healthy" in again.out
    assert not [one for one in importer.sandbox.requests if one.method not in ("GET", "POST")]


@pytest.mark.parametrize(
    ("setting", "subject"), [("mailchimp_key", "Mailchimp key"), ("ometria_key", "Ometria key"), ("list_key", "list")]
)
def test_check_crosses_what_a_service_does_not_take(make_importer: MakeImporter, setting: str, subject: str) -> None:
    """A wrong key or list is named, with the mend beside it, and the rest is looked at all the same."""
    importer = make_importer(size=10)
    wrong = {"mailchimp_key": f"{'1' * 32}-us6", "ometria_key": "1" * 32, "list_key": "ffffffffff"}
    importer.configure(**{setting: wrong[setting]})
    result = importer("check", "--json")
    assert result.code == 1
    (found,) = [one for one in result.lines if one["verdict"] == "bad"]
    assert found["subject"].startswith(subject)
    assert found["mend"]
    assert "1" * 32 not in result.out + result.err
    seen = {one["subject"] for one in result.lines if one["verdict"] == "good"}
    assert ("Ometria key" in seen) is (setting != "ometria_key")


def test_check_says_which_key_is_unset_and_looks_at_the_other_clients(make_importer: MakeImporter) -> None:
    """One client's missing key hides nothing of another."""
    importer = make_importer(size=10)
    importer.configure(
        CONFIG + '\n[clients.beta]\nlists = ["aaaaaaaaaa"]\nmailchimp_api_key = "env:NOT_SET"\n'
        'ometria_api_key = "env:NOT_SET"\n'
    )
    result = importer("check", "--json")
    assert result.code == 1
    keys = [(one["client"], one["verdict"]) for one in result.lines if "key" in one["subject"]]
    assert keys == [("acme", "good"), ("acme", "good"), ("beta", "bad"), ("beta", "bad")]
    assert importer("check", "--client", "acme").code == 0


def test_check_offline_asks_nobody(make_importer: MakeImporter) -> None:
    """Not one request, and a dead service is no finding."""
    importer = make_importer(size=10)
    assert importer("check", "--offline").code == 0
    assert importer.sandbox.requests == []


def test_check_finds_a_state_file_that_is_no_database(make_importer: MakeImporter) -> None:
    """It is named, and left as it is."""
    importer = make_importer(size=10)
    importer.db.write_text("not a database, but somebody's notes about one\n" * 100)
    before = importer.db.read_bytes()
    result = importer("check", "--offline", "--json")
    assert "state file" in bad(result)
    assert importer.db.read_bytes() == before


def test_check_finds_a_folder_in_which_no_file_can_be_made(make_importer: MakeImporter) -> None:
    """Where a state file is to be made, too: a first sync would fail there."""
    importer = make_importer(size=10)
    result = importer("--db", "/proc/nowhere/state.db", "check", "--offline", "--json")
    assert "state file" in bad(result)


def test_check_names_variables_that_replace_what_the_file_says(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten variable would send everything elsewhere."""
    importer = make_importer(size=10)
    monkeypatch.setenv("MCIMPORT_OMETRIA_URL", importer.sandbox.ometria_url)
    assert "MCIMPORT_OMETRIA_URL is set" in importer("check", "--offline").out


def test_an_error_names_the_address_it_speaks_of_and_the_variable_that_replaced_it(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address without its end is asked after; one where nothing listens is named; so in `lists`."""
    importer = make_importer()
    address = importer.sandbox.ometria_url.removesuffix("/v2")
    monkeypatch.setenv("MCIMPORT_MAILCHIMP_URL", address)
    monkeypatch.setenv("MCIMPORT_OMETRIA_URL", address)
    wrong = {one["subject"]: one for one in importer("check", "--json").lines if one["verdict"] == "bad"}
    assert wrong["Mailchimp key"]["words"] == f"nothing answers to /ping at {address} (404)"
    assert wrong["Mailchimp key"]["mend"] == "Does MCIMPORT_MAILCHIMP_URL end in /3.0?"
    assert wrong["Ometria key"]["words"] == f"nothing answers to /push/_errors at {address} (404)"
    assert wrong["Ometria key"]["mend"] == "Does MCIMPORT_OMETRIA_URL end in /v2?"
    assert "Does MCIMPORT_MAILCHIMP_URL end in /3.0?" in importer("lists").err
    monkeypatch.setenv("MCIMPORT_OMETRIA_URL", "http://127.0.0.1:1/v2")
    shown = importer("check", "--json").out
    assert "Is the network up, and is http://127.0.0.1:1 (from MCIMPORT_OMETRIA_URL) right?" in shown


def test_check_notes_who_is_at_work_and_is_in_nobodys_way(make_importer: MakeImporter) -> None:
    """A sync that runs is no failure; and a look at the lock keeps no sync from beginning."""
    importer = make_importer(size=10)
    importer("sync")
    with lock_client(importer.db, "acme"):
        result = importer("check", "--json")
    assert result.code == 0
    (found,) = [one for one in result.lines if one["subject"] == "lock"]
    assert found["verdict"] == "note"
    over = threading.Event()

    def look_on() -> None:
        while not over.wait(0.01):
            lock_holder(importer.db, "acme")

    threading.Thread(target=look_on).start()
    try:
        lines = [importer("sync", "--json").line for _ in range(3)]
    finally:
        over.set()
    assert [line["status"] for line in lines] == ["completed"] * 3


@pytest.mark.parametrize("service", ["mailchimp", "ometria"])
def test_check_tries_each_key_though_the_other_is_missing(make_importer: MakeImporter, service: str) -> None:
    """What is right of a client is told beside what is not."""
    importer = make_importer(size=10)
    importer.configure(**{f"{service}_key": "env:NOT_SET"})
    result = importer("check", "--json")
    verdicts = {one["subject"]: one["verdict"] for one in result.lines}
    assert [verdicts["Mailchimp key"], verdicts["Ometria key"]].count("good") == 1
    assert (f"list {importer.sandbox.list_key}" in verdicts) is (service == "ometria")


def test_check_finds_a_list_that_the_next_sync_would_refuse(make_importer: MakeImporter) -> None:
    """It was sent with another Ometria key: both ways on are named, also without asking anybody."""
    importer = make_importer(size=10)
    importer("sync")
    importer.sandbox.renew_ometria_key(importer.sandbox.ometria_key, "f" * 32)
    importer.configure(ometria_key="f" * 32)
    for options in ([], ["--offline"]):
        result = importer("check", *options)
        assert result.code == 1
        assert "`mcimport keys accept acme`" in result.out
        assert f"`mcimport sync --full {importer.sandbox.list_key}`" in result.out
    importer("keys", "accept", "acme")
    assert importer("check").code == 0


def test_check_of_a_client_without_a_file_says_what_can_run(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are in the environment, it has no list of its own, and the first sync is still ahead."""
    importer = make_importer(size=10)
    for name, value in importer.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(importer.folder)
    importer.config.unlink()
    result = importer("check", bare=True)
    assert result.code == 0
    assert result.out.splitlines()[-2:] == ["No problems found. Next:", "  mcimport sync LIST_KEY"]
    assert "Switch off Ometria's own Mailchimp synchronisation" in result.out
    assert "MCIMPORT_MAILCHIMP_API_KEY is set: it is the client's key" in result.out
    importer("sync", importer.sandbox.list_key, bare=True)
    assert f"list {importer.sandbox.list_key}: " in importer("check", bare=True).out


def test_check_crosses_settings_that_do_not_load(make_importer: MakeImporter) -> None:
    """As any other finding, also for programs; the exit code is that of every command."""
    importer = make_importer()
    importer.configure(CONFIG.replace("[clients.acme]", "[clients.sms]") + 'ometria.collection = "optin:{{client}}"\n')
    result = importer("check", "--json")
    assert (result.code, list(bad(result)), result.err) == (2, ["configuration"], "")
    assert "client sms: the collection for list" in bad(result)["configuration"]


def test_check_crosses_a_list_whose_key_makes_a_collection_that_is_refused(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a client who takes any list can have one; whatever else is wrong is found as well."""
    importer = make_importer()
    importer.sandbox.add_account(importer.sandbox.mailchimp_key, importer.sandbox.ometria_key, {"sms": 5})
    for name, value in importer.variables.items():
        monkeypatch.setenv(name, value)
    importer.config.write_text("[state]\n")
    assert importer("sync", "sms").code == 0
    importer.config.write_text('[ometria]\ncollection = "optin:{list_key}"\n')
    result = importer("check", "--json")
    assert (result.code, list(bad(result))) == (1, ["list sms"])


def test_check_says_which_variables_are_set_in_vain(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag goes before its variable, and a file that names clients before the keys of the one client without."""
    importer = make_importer(size=10)
    monkeypatch.setenv("MCIMPORT_DB", "elsewhere.db")
    monkeypatch.setenv("MCIMPORT_OMETRIA_API_KEY", "0" * 32)
    result = importer("check", "--offline")
    assert "MCIMPORT_DB is set: it is not used" in result.out
    assert "MCIMPORT_OMETRIA_API_KEY is set: it is not used" in result.out


def test_check_notes_contacts_that_another_import_from_mailchimp_may_have_brought(make_importer: MakeImporter) -> None:
    """Before a first sync alone, and only where they are seen: nothing is guessed."""
    importer = make_importer(size=10)
    words = "another collection with Mailchimp in its name"
    assert words not in importer("check").out
    record = {"@type": "contact", "@collection": "Mailchimp sync", "id": "1", "email": "somebody@example.com"}
    headers = {"X-Ometria-Auth": importer.sandbox.ometria_key}
    assert httpx.post(f"{importer.sandbox.ometria_url}/push", json=[record], headers=headers, verify=PLAIN).is_success
    importer.sandbox.contacts()
    result = importer("check")
    assert (result.code, words in result.out, "somebody" in result.out) == (0, True, False)
    importer("sync")
    assert words not in importer("check").out


def test_check_asks_once_for_what_clients_share(make_importer: MakeImporter) -> None:
    """Ometria takes four reads a second of an account: ten clients of one account are no ten requests."""
    importer = make_importer(size=10)
    client = CONFIG[CONFIG.index("[clients.acme]") :]
    names = [f"client-{number}" for number in range(10)]
    more = [client.replace("acme", name) + f'ometria.collection = "{name}"\n' for name in names]
    importer.configure("".join(more))
    result = importer("check", "--json")
    assert result.code == 0
    assert sum(one["subject"] == "Ometria key" for one in result.lines) == 10
    assert sorted(one.path for one in importer.sandbox.requests) == [
        "/contacts",
        f"/lists/{importer.sandbox.list_key}",
        f"/lists/{importer.sandbox.list_key}/members",
        "/ping",
        "/push/_errors",
    ]


def test_check_notes_clients_that_share_an_ometria_account_and_names_them(make_importer: MakeImporter) -> None:
    """By a line that was copied, perhaps; not where they name one account, nor where another client is looked at."""
    importer = make_importer()
    clients = configure_clients(importer, ["acme", "globex", "initech"], size=5)
    keys = [f'ometria_api_key = "{clients[name]["ometria_key"]}"' for name in ("acme", "globex")]
    text = importer.config.read_text().replace(keys[1], keys[0])
    importer.config.write_text(text)

    def notes(*options: str) -> list[str]:
        found = importer("check", "--offline", "--json", *options).lines
        return [one["words"] for one in found if (one["subject"], one["verdict"]) == ("Ometria account", "note")]

    assert notes() == notes("--client", "globex") == ["the same key for 2 clients: acme, globex"]
    assert notes("--client", "initech") == []
    importer.config.write_text(f'[ometria]\naccount = "group"\n{text}')
    assert notes() == []


@pytest.mark.parametrize("side", ["mailchimp", "ometria"])
@pytest.mark.parametrize("fault", ["429-retry-after", "html"])
def test_check_waits_for_no_service_and_believes_no_other(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, side: str, fault: str
) -> None:
    """A busy account ends as a cross with a mend, however long it says to wait; a proxy's page is no tick."""
    monkeypatch.setattr("mcimport.monitoring.check.checkup.BUSY_FOR", 0.01)
    importer = make_importer(size=10, faults={f"{side}:{fault}": 1.0})
    result = importer("check", "--json")
    assert list(bad(result)) == [side.title()]  # nothing is known of its key
    assert all(one["mend"] for one in result.lines if one["verdict"] == "bad")


def test_check_finds_a_state_file_that_is_damaged_and_leaves_it_as_it_is(make_importer: MakeImporter) -> None:
    """Where a table's page is lost, whoever only opens the file sees nothing of it."""
    importer = make_importer(size=300)
    importer("sync")
    with contextlib.closing(sqlite3.connect(importer.db)) as file:
        (page,) = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'dead_letters'").fetchone()
        (size,) = file.execute("PRAGMA page_size").fetchone()
    whole = bytearray(importer.db.read_bytes())
    whole[(page - 1) * size : page * size] = b"\xff" * size
    importer.db.write_bytes(whole)
    assert "damaged" in bad(importer("check", "--offline", "--json"))["state file"]
    assert importer.db.read_bytes() == whole


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from mcimport.monitoring.check.machine import state_file

if os.getuid() == 0:  # to whom every file is writable
    os.setuid(65534)
print(state_file(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "words"),
    [(0o444, 0o777, "cannot be written"), (0o666, 0o555, "cannot be written"), (0o666, 0o600, "cannot be read")],
    ids=["read-only file", "read-only folder", "closed folder"],
)
def test_check_finds_a_state_file_that_may_not_be_written(file_mode: int, folder_mode: int, words: str) -> None:
    """SQLite begins a transaction on a read-only file as if nothing were wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_state(folder / "state.db"):
            pass
        (folder / "state.db").chmod(file_mode)
        folder.chmod(folder_mode)
        command = [sys.executable, "-c", UNPRIVILEGED, str(folder / "state.db")]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        folder.chmod(0o700)
    assert "verdict='bad'" in result.stdout
    assert words in result.stdout


def test_check_finds_a_clock_that_is_wrong(make_importer: MakeImporter) -> None:
    """Five minutes beside a service's are too many: the fix is named, once for all clients."""
    importer = make_importer()
    configure_clients(importer, ["one", "two"], size=5)
    importer.sandbox.settings.clock_skew = 3_600
    found = [one for one in importer("check", "--json").lines if one["subject"] == "clock"]
    assert [(one["client"], one["verdict"]) for one in found] == [(None, "bad"), (None, "bad")]
    assert all("1 h behind" in one["words"] and one["mend"] for one in found)


def test_check_looks_at_many_clients_side_by_side_and_tells_of_them_in_order(make_importer: MakeImporter) -> None:
    """Slow ones are not waited for one after another, and what they say stands in the order of the file."""
    importer = make_importer(latency=0.05)
    clients = configure_clients(importer, [f"client-{number:02}" for number in range(20)], size=5)
    result = importer("check", "--json")
    assert result.code == 0
    assert list(dict.fromkeys(one["client"] for one in result.lines if one["client"])) == list(clients)
    asked = importer.sandbox.requests
    together = [sum(two.at <= one.at < two.finished for two in asked) for one in asked]
    assert max(together) > 5


def test_check_of_a_client_that_is_not_there_is_a_mistake(make_importer: MakeImporter) -> None:
    """Exit 2, and who there is."""
    importer = make_importer()
    result = importer("check", "--client", "nobody")
    assert (result.code, "acme" in result.err) == (2, True)
