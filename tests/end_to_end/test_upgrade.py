"""What version 0.1.0 left is taken over: its settings, with all that they named, and its state file.

`from_0_1_0` was made by that version: the file that its `init` wrote, with its examples switched on, and the state
after a full sync in which Ometria refused a record, an hourly sync, and one that was killed before its first page.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Importer, MakeImporter, imported_ids

FORMER = Path(__file__).parent / "from_0_1_0"
SINCE = "2026-12-01T00:44:12+00:00"  # a minute before its sync point
REFUSED = "db53f737b6dafdde5be3d0119259ce85"


@pytest.fixture
def former(make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch) -> Importer:
    importer = make_importer(size=300)
    importer.config.write_bytes((FORMER / "settings.toml").read_bytes())
    importer.config.chmod(0o600)
    with closing(sqlite3.connect(importer.db)) as state:
        state.executescript((FORMER / "state.sql").read_text(encoding="utf-8"))
    for name, value in {
        "ACME_MAILCHIMP_KEY": importer.sandbox.mailchimp_key,
        "ACME_OMETRIA_KEY": importer.sandbox.ometria_key,
        "MCIMPORT_MAILCHIMP_URL": importer.sandbox.mailchimp_url,
        "MCIMPORT_OMETRIA_URL": importer.sandbox.ometria_url,
    }.items():
        monkeypatch.setenv(name, value)
    return importer


def test_the_settings_and_the_state_of_0_1_0_are_taken_as_they_are(former: Importer) -> None:
    """Nothing is asked and nothing refused: `check` finds no fault, and `status` knows list, dead letter and run."""
    assert former("check").code == 0
    shown = former("status", "--json").line
    assert shown["sync_point"] == "2026-12-01T00:45:12+00:00"
    assert shown["dead_letters"] == 1
    assert former("runs", "show", "3", "--json").line["status"] == "interrupted"


def test_a_sync_goes_on_where_0_1_0_stopped(former: Importer) -> None:
    """It finishes the killed run, imports all who changed since the sync point, and sends no other member again."""
    former.sandbox.audience().change(20)
    result = former("sync", "--json")
    assert result.code == 0, result.err
    assert [line["status"] for line in former("runs", "list", "--json").lines] == ["completed"] * 4
    changed = {
        str(one.get("contact_id") or one["web_id"])
        for one in former.sandbox.audience().listed()
        if one["email_address"] and str(one["last_changed"]) > SINCE
    }
    assert len(changed) >= 20
    assert imported_ids(former) - {REFUSED} == changed - {REFUSED}


def test_a_dead_letter_of_0_1_0_is_replayed(former: Importer) -> None:
    """The member whom Ometria refused then is imported now, and nothing is left open."""
    result = former("dlq", "replay", "--json")
    assert result.code == 0, result.err
    assert imported_ids(former) == {REFUSED}
    assert former("dlq", "list", "--json").lines == []
