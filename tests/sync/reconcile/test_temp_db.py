"""The file of a comparison: whatever fails while it is prepared, nothing of it stays open, and nothing stays behind."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mcimport.errors import StateError
from mcimport.sync.reconcile import temp_db

TABLES = "CREATE TABLE members (id TEXT)"


class Watched(sqlite3.Connection):
    """Remembers the connections that were opened and not closed; breaks at a statement that holds `breaks_at`."""

    open_ones: list[Watched]
    breaks_at: str

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.open_ones.append(self)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self.breaks_at and self.breaks_at in sql:
            raise sqlite3.OperationalError(sql)
        return super().execute(sql, *parameters)

    def close(self) -> None:
        super().close()
        self.open_ones.remove(self)


@pytest.fixture(name="watched")
def a_watched_connection(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    class Fresh(Watched):
        open_ones, breaks_at = [], ""

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **more: connect(*given, factory=Fresh, **more))
    return Fresh


@pytest.mark.parametrize("breaks_at", ["locking_mode", "schema_version", "journal_mode", "cache_size"])
def test_a_pragma_that_fails_leaves_no_connection_and_no_file(
    watched: type[Watched], tmp_path: Path, breaks_at: str
) -> None:
    """A disk that fails, say: it is told in words, and there is nobody else who could close it."""
    watched.breaks_at = breaks_at
    with pytest.raises(StateError, match="temporary file"):
        temp_db.TempDatabase(tmp_path, TABLES, {})
    assert watched.open_ones == []
    assert list(tmp_path.iterdir()) == []


def test_tables_that_cannot_be_made_leave_no_connection_and_no_file(watched: type[Watched], tmp_path: Path) -> None:
    """Not even the last step is too late to tidy up."""
    with pytest.raises(StateError, match="temporary file"):
        temp_db.TempDatabase(tmp_path, "CREATE NONSENSE", {})
    assert watched.open_ones == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_unlinked_leaves_no_connection(
    watched: type[Watched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name stays, for nobody may take it away; the connection does not."""

    def refuse(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StateError, match="PermissionError"):
        temp_db.TempDatabase(tmp_path, TABLES, {})
    assert watched.open_ones == []


def test_what_was_prepared_stays_open_until_it_is_closed(watched: type[Watched], tmp_path: Path) -> None:
    """It works without a name, and ends with `close`."""
    file = temp_db.TempDatabase(tmp_path, TABLES, {})
    assert (len(watched.open_ones), list(tmp_path.iterdir())) == (1, [])
    file.write("INSERT INTO members VALUES (?)", ["one"])
    assert file.number("SELECT count(*) FROM members") == 1
    file.close()
    assert watched.open_ones == []
