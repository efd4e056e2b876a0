"""What the commands show at the width of a screen: no line is too long, and what matters is there."""

from __future__ import annotations

import re

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter
from passing import time_passes

BAD_ADDRESS = "nobody at example.com"
WIDTHS = [60, 80, 100, 160]


@pytest.fixture
def importer(make_importer: MakeImporter) -> Importer:
    """An importer with members whose address is unusable, on a list with marketing permissions."""
    found = make_importer(size=300, permissions=("Email",))
    for _ in range(2):
        found.sandbox.audience().add(email_address=BAD_ADDRESS)
    time_passes(120)
    return found


@pytest.fixture
def in_trouble(importer: Importer) -> Importer:
    """An importer with dead letters of both kinds, an earlier destination, and a last run that failed."""
    importer.sandbox.settings.broken = ["10-10"]
    assert importer("sync").code == 3
    importer.configure(CONFIG + 'ometria.collection = "elsewhere"\n')
    assert importer("sync", "--full").code == 3
    importer.sandbox.settings.fault = lambda _: "401"
    assert importer("sync").code == 1
    importer.sandbox.settings.fault = None
    return importer


def at(width: int, importer: Importer, monkeypatch: pytest.MonkeyPatch, *command: str) -> CommandResult:
    monkeypatch.setenv("COLUMNS", str(width))
    return importer(*command)


def too_long(text: str, width: int) -> list[str]:
    return [line for line in text.splitlines() if len(line) > width]


@pytest.mark.parametrize("width", WIDTHS)
def test_status_runs_and_dead_letters_fit_and_show_what_matters(
    in_trouble: Importer, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Client, list, sync point, status, dead letters, and why, at every width."""
    key, found = in_trouble.sandbox.list_key, in_trouble("status", "--json").lines[0]
    point = found["sync_point"].removesuffix("+00:00").replace("T", " ")
    facts = {
        ("status",): ["acme", key, point, "failed", "3", "it does not accept the API key"],
        ("runs", "list"): ["acme", key, "failed", "completed", "it does not accept the API key"],
        ("dlq", "list"): ["acme", key, "open", "unusable address", "earlier collection"],
        ("runs", "show", "1"): ["acme", key, "completed", "Mailchimp answered 500"],
        ("dlq", "show", "1"): ["acme", key, "open", "mcimport dlq discard 1"],
        ("check", "--offline"): ["acme", "Ometria key", "not tested, because of --offline"],
    }
    for command, words in facts.items():
        text = at(width, in_trouble, monkeypatch, *command).out
        assert too_long(text, width) == [], command
        assert [word for word in words if word not in " ".join(text.split())] == [], command


@pytest.mark.parametrize("width", WIDTHS)
def test_a_preview_fits_but_for_the_table_to_paste(
    importer: Importer, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Both sides, the fields and every sentence; a line of TOML that wrapped would be no TOML."""
    text = at(width, importer, monkeypatch, "preview", importer.sandbox.list_key).out
    shown = re.sub(r"^\[fields\]\n.*?\n\n", "", text, flags=re.DOTALL | re.MULTILINE)
    assert shown != text
    assert too_long(shown, width) == []
    for words in ("email_address", "marketing_optin", "FNAME", "firstname", "mailchimp_status", "Nothing was pushed."):
        assert words in shown


@pytest.mark.parametrize("width", WIDTHS)
def test_the_tables_of_a_dry_run_fit(importer: Importer, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The lists, their consent, and how many members cannot be sent and why."""
    text = at(width, importer, monkeypatch, "sync", "--full", "--dry-run").err
    table = text[text.index("list  ") :]
    assert too_long(table, width) == []
    for words in (f"acme {importer.sandbox.list_key}", "opted in", "cannot be sent", "unusable address"):
        assert words in " ".join(table.split())


def test_a_pipe_gets_a_row_a_line_with_all_columns(in_trouble: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing sets a width, grep and awk find whole rows with every fact."""
    monkeypatch.delenv("COLUMNS", raising=False)
    for command, number in ((("status",), 2), (("runs", "list"), 3), (("dlq", "list"), 6)):
        head, *rows = in_trouble(*command).out.splitlines()
        assert len(rows) == number
        assert head.split()[-1] in ("note", "error")
