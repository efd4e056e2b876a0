"""Variables that are called like mcimport's and are none: which are named, and where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import CONFIG, MakeImporter

from mcimport.config import misspelt, variables

ROOT = Path(__file__).parents[2]
SLIP = {"MCIMPORT_MAILCHIMP_KEY": "0123abcd-us6"}
WORDS = "MCIMPORT_MAILCHIMP_KEY is not a variable of mcimport; did you mean MCIMPORT_MAILCHIMP_API_KEY?"


def test_every_variable_that_the_code_names_is_in_the_one_list() -> None:
    """Whoever adds one adds it there, or it would be called a mistake."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "mcimport").rglob("*.py")]
    named = {name for source in sources for name in re.findall(r"\bMCIMPORT_[A-Z_]*[A-Z]\b", source)}
    assert named == set(variables.KNOWN)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MCIMPORT_MAILCHIMP_KEY", "MCIMPORT_MAILCHIMP_API_KEY"),
        ("MCIMPORT_OMETRIA_APIKEY", "MCIMPORT_OMETRIA_API_KEY"),
        ("MCIMPORT_CONFG", "MCIMPORT_CONFIG"),
        ("MCIMPORT_LOGFORMAT", "MCIMPORT_LOG_FORMAT"),
        ("mcimport_db", "MCIMPORT_DB"),
    ],
)
def test_a_slip_is_named_with_what_was_meant(name: str, meant: str) -> None:
    """A letter, an underscore, or capitals."""
    assert list(misspelt({name: "x"}, [])) == [f"{name} is not a variable of mcimport; did you mean {meant}?"]


def test_what_resembles_nothing_is_named_alone() -> None:
    """No variable is proposed only because all of them begin alike."""
    assert list(misspelt({"MCIMPORT_QUIXOTIC": "x"}, [])) == ["MCIMPORT_QUIXOTIC is not a variable of mcimport"]


def test_nothing_is_said_of_what_is_right_empty_referred_to_or_set_by_kubernetes() -> None:
    """A client's own names may be called anything; a Service called mcimport sets variables in every pod."""
    of_a_service = [
        "MCIMPORT_SERVICE_HOST",
        "MCIMPORT_UI_SERVICE_PORT_HTTP",
        "MCIMPORT_PORT",
        "MCIMPORT_PORT_80_TCP_ADDR",
    ]
    environ = dict.fromkeys([*variables.KNOWN, *of_a_service, "MCIMPORT_ACME_KEY", "PATH"], "x")
    assert list(misspelt({**environ, "MCIMPORT_EMPTY": ""}, ["MCIMPORT_ACME_KEY"])) == []


def test_commands_that_load_the_settings_warn_on_standard_error(make_importer: MakeImporter) -> None:
    """Standard output stays what a program reads; a reference of the file is no slip."""
    importer = make_importer(size=5)
    importer.configure(CONFIG.replace('"{mailchimp_key}"', '"env:MCIMPORT_ACME"'))
    importer.create_state_file()
    environment = {**SLIP, "MCIMPORT_ACME": importer.sandbox.mailchimp_key}
    result = importer.in_a_process("sync", "--json", environment=environment)
    assert (result.code, result.err.count(WORDS), "MCIMPORT_ACME is" in result.err) == (0, 1, False)
    assert result.line["status"] == "completed"
    quiet = importer.in_a_process("sync", "--quiet", environment=environment)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", f"mcimport: {WORDS}\n")


def test_a_log_of_events_has_the_warning_as_an_event(make_importer: MakeImporter) -> None:
    """Every line of it stays JSON."""
    importer = make_importer(size=5)
    importer.create_state_file()
    result = importer.in_a_process("sync", "--log-format", "json", environment=SLIP)
    events = [json.loads(line) for line in result.err.splitlines()]
    assert [event["level"] for event in events if event["event"] == WORDS] == ["warning"]


def test_the_warning_comes_with_the_error_that_the_slip_is_the_reason_of(make_importer: MakeImporter) -> None:
    """Without settings it is all the more wanted; without a file, nothing is a reference."""
    importer = make_importer()
    importer.config.unlink()
    result = importer.in_a_process("sync", "1a2d7ebf82", environment=SLIP, bare=True)
    assert result.code == 2
    assert result.err.splitlines()[:2] == [f"mcimport: {WORDS}", "mcimport: no configuration found"]


def test_references_of_a_broken_file_are_no_slips(make_importer: MakeImporter) -> None:
    """As far as it can be read, it says which names are its own."""
    importer = make_importer()
    importer.configure(CONFIG.replace('"{mailchimp_key}"', '"env:MCIMPORT_ACME"') + "ometria.batch =\n")
    result = importer.in_a_process("status", environment={**SLIP, "MCIMPORT_ACME": "k"})
    assert (result.code, WORDS in result.err, "MCIMPORT_ACME is" in result.err) == (2, True, False)


def test_check_names_a_slip_among_its_findings(make_importer: MakeImporter) -> None:
    """Once, and as worth knowing: the variable may be another program's."""
    importer = make_importer(size=5)
    result = importer.in_a_process("check", "--offline", "--json", environment=SLIP)
    found = [(line["verdict"], line["mend"]) for line in result.lines if line["words"] == WORDS]
    assert (result.code, found, result.err) == (0, [("note", "Rename it, or unset it.")], "")
