"""What cannot be done is said in words, with the right exit code, before anything is pushed."""

from __future__ import annotations

import os
import subprocess

import passing
import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter

from mcimport.cli import exits
from mcimport.state import lock_client


def refused(importer: Importer, result: CommandResult, code: int, *words: str) -> None:
    """One or two lines that hold the words, no traceback, no key, and nothing pushed."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert 1 <= len(result.err.strip().splitlines()) <= 4, result.err
    for word in words:
        assert word.lower() in result.err.lower(), result.err
    assert importer.sandbox.mailchimp_key not in result.err + result.out
    assert importer.sandbox.ometria_key not in result.err + result.out
    assert importer.sandbox.contacts() == {}
    if code == 2:
        assert importer.sandbox.requests == []


def test_a_wrong_mailchimp_key_fails_with_1(make_importer: MakeImporter) -> None:
    """A key that Mailchimp does not accept ends the run, in words that name the side."""
    importer = make_importer(size=200)
    importer.create_state_file()
    importer.configure(mailchimp_key="0" * 32 + "-us6")
    refused(importer, importer("sync"), 1, "Mailchimp", "key")


def test_a_wrong_ometria_key_fails_with_1(make_importer: MakeImporter) -> None:
    """A key that Ometria does not accept ends the run, in words that name the side."""
    importer = make_importer(size=200)
    importer.create_state_file()
    importer.configure(ometria_key="f" * 32)
    refused(importer, importer("sync"), 1, "Ometria", "key")


def test_an_unset_key_is_2_and_names_the_variable(make_importer: MakeImporter) -> None:
    """A key that comes from a variable that is not set is a configuration error that names the variable."""
    importer = make_importer(size=200)
    importer.create_state_file()
    importer.configure(CONFIG.replace("{mailchimp_key}", "env:ACME_KEY_THAT_NOBODY_SET"))
    refused(importer, importer("sync"), 2, "ACME_KEY_THAT_NOBODY_SET")


@pytest.mark.parametrize("with_url", [True, False], ids=["with a url", "without a url"])
def test_a_key_whose_data_centre_is_none_is_2(make_importer: MakeImporter, *, with_url: bool) -> None:
    """What stands behind the key's last dash never becomes part of a host name unless it is a data centre."""
    importer = make_importer(size=200)
    importer.create_state_file()
    text = CONFIG if with_url else CONFIG.replace('mailchimp.url = "{mailchimp_url}"\n', "")
    importer.configure(text, mailchimp_key="0" * 32 + "-evil.example/")
    refused(importer, importer("sync"), 2, "data centre")


def test_a_list_that_mailchimp_does_not_know_fails_with_1(make_importer: MakeImporter) -> None:
    """A configured list that is not there ends its run and says which list."""
    importer = make_importer(size=200)
    importer.create_state_file()
    importer.configure(list_key="ffffffffff")
    refused(importer, importer("sync"), 1, "ffffffffff")


def test_a_list_that_no_client_has_is_2(make_importer: MakeImporter) -> None:
    """A list that is typed and not configured is refused before any request."""
    importer = make_importer(size=200)
    importer.create_state_file()
    refused(importer, importer("sync", "eeeeeeeeee"), 2, "eeeeeeeeee")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--client", "nobody"], ["nobody", "acme"]),
        (["--since", "yesterdayish"], ["--since"]),
        (["--workers", "50"], ["--workers", "10"]),
        (["--workers", "0"], ["--workers"]),
        (["--window", "0"], ["--window"]),
        (["--window", "1001"], ["--window", "1000"]),
        (["--full", "--since", "7d"], ["--full", "--since"]),
        (["--jobs", "0"], ["--jobs"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["--config", "x.toml"], ["--config goes before the command: `mcimport --config PATH sync`"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_option_is_2_and_names_the_option(
    make_importer: MakeImporter, arguments: list[str], words: list[str]
) -> None:
    """What was typed wrong is named, with what is possible instead."""
    importer = make_importer(size=200)
    importer.create_state_file()
    refused(importer, importer("sync", *arguments), 2, *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[mailchimp]\nconections = 5", ["conections", "connections"]),
        ('[mailchimp]\nconnections = "ten"', ["connections"]),
        ("[ometria]\nbatch = 101", ["batch", "100"]),
        ('[ometria]\ncollection = "optin:sms"', ["optin:sms"]),
        ('[ometria]\ncollection = "double_optin:sms"', ["double_optin:sms"]),
        ("[mailchimp\n", ["line"]),
    ],
    ids=["unknown setting", "wrong type", "out of range", "optin:sms", "double_optin:sms", "broken TOML"],
)
def test_a_wrong_setting_is_2_and_named(make_importer: MakeImporter, line: str, words: list[str]) -> None:
    """A mistake in the file is named by its place in it; no request is made."""
    importer = make_importer(size=200)
    importer.create_state_file()
    importer.configure(line + "\n" + CONFIG)
    refused(importer, importer("sync"), 2, "mcimport.toml", *words)


def test_a_path_that_leads_nowhere_is_2_and_says_what_named_it(make_importer: MakeImporter) -> None:
    """The option and the variable."""
    importer = make_importer(size=0)
    importer.create_state_file()
    importer.config.unlink()
    refused(importer, importer("sync"), 2, "No such file", "--config or MCIMPORT_CONFIG")


def test_a_global_option_behind_a_command_of_a_group_is_sent_before_both(make_importer: MakeImporter) -> None:
    """As it is to be typed."""
    importer = make_importer(size=0)
    importer.create_state_file()
    refused(importer, importer("dlq", "list", "--db=x.db"), 2, "mcimport --db PATH dlq list")


def test_the_version_is_printed_to_a_reader_who_has_gone_without_a_word() -> None:
    """Also where Python keeps no output back."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        ended = subprocess.run(
            passing.program(["--version"]),
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_no_configuration_at_all_is_2_and_says_what_to_type(make_importer: MakeImporter) -> None:
    """Without a file and without keys in the environment the program says how to begin."""
    importer = make_importer(size=200)
    importer.create_state_file()
    importer.config.unlink()
    refused(importer, importer.in_a_process("sync", bare=True), 2, "mcimport init", "MCIMPORT_MAILCHIMP_API_KEY")


def test_a_state_file_that_is_no_database_is_1_and_left_as_it_was(make_importer: MakeImporter) -> None:
    """A file that is not ours is not touched."""
    importer = make_importer(size=200)
    importer.create_state_file()
    importer.db.write_text("shopping list: bread, ink\n" * 50, encoding="utf-8")
    before = importer.db.read_bytes()
    refused(importer, importer("sync"), 1, "state")
    assert importer.db.read_bytes() == before


def test_a_name_that_the_state_file_lacks_is_2_also_before_the_first_sync(make_importer: MakeImporter) -> None:
    """A client, a run or a dead letter that does not exist is the same mistake whether or not a state file exists."""
    importer = make_importer(size=0)
    commands = ("dlq list --client nobody", "runs list --client nobody", "dlq show 77", "dlq replay 77", "runs show 77")
    for command in commands:
        refused(importer, importer(*command.split()), 2, "nobody" if "nobody" in command else "77")
    assert not importer.db.exists()


@pytest.mark.parametrize(
    "arguments",
    [["dlq", "show", "77"], ["dlq", "replay", "77"], ["dlq", "discard", "77", "--yes"], ["runs", "show", "77"]],
    ids=" ".join,
)
def test_an_unknown_letter_or_run_is_2_and_named(make_importer: MakeImporter, arguments: list[str]) -> None:
    """A number that names nothing is refused."""
    importer = make_importer(size=0)
    assert importer("sync").code == 0
    importer.sandbox.clear_requests()
    refused(importer, importer(*arguments), 2, "77")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("sync", "--jobs", "x"), "'--jobs': not a whole number"),
        (("runs", "list", "--limit", "0"), "'--limit': must be 1 or more"),
        (("sync", "--workers", "11"), "'--workers': must be 10 or less"),
        (("sync", "--log-format", "yaml"), "'yaml' is not one of 'text', 'json', 'logfmt'"),
    ],
)
def test_a_value_that_does_not_fit_its_option_is_2_in_plain_words(
    make_importer: MakeImporter, command: tuple[str, ...], words: str
) -> None:
    """What is wrong is said of the option, without the words of the library that looks at values."""
    result = make_importer(size=0)(*command)
    assert (result.code, words in result.err) == (2, True), result.err
    assert "Input should" not in result.err
    assert "Value error" not in result.err


@pytest.mark.parametrize("command", ["probe", "reconcile", "forget", "keys accept"])
def test_each_command_that_a_busy_client_keeps_from_its_work_ends_with_4_as_the_table_says(
    make_importer: MakeImporter, command: str
) -> None:
    """It was asked for by name, and was not done."""
    importer = make_importer(size=5)
    assert importer("sync").code == 0
    what = {"forget": ["acme", "--yes"], "keys accept": ["acme"]}.get(command, [importer.sandbox.list_key])
    with lock_client(importer.db, "acme"):
        assert importer(*command.split(), *what).code == exits.BUSY
    assert f"`{command}`" in exits.MEANINGS[str(exits.BUSY)]
