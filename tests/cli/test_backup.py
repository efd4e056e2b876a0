"""`backup`: a copy of the state file, whole and private, that never replaces anything."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

from conftest import CONFIG, MakeImporter


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as file:
        return list(file.iterdump())


def test_the_copy_holds_what_the_file_holds_and_is_private(make_importer: MakeImporter) -> None:
    """Row by row, and a sync goes on from it as from the file."""
    importer = make_importer(size=30)
    importer("sync")
    copy = importer.folder / "copy.db"
    result = importer("backup", str(copy))
    assert (result.code, result.err) == (0, "")
    assert dump(copy) == dump(importer.db)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    importer.db.unlink()
    copy.rename(importer.db)
    assert importer("sync", "--json").line["kind"] == "incremental"


def test_nothing_is_ever_replaced(make_importer: MakeImporter) -> None:
    """A file, a link that leads nowhere and a folder stay as they are; and nothing is left beside them."""
    importer = make_importer(size=5)
    importer("sync")
    file, link, folder = (importer.folder / name for name in ("file", "link", "folder"))
    file.write_text("mine")
    link.symlink_to("nowhere")
    folder.mkdir()
    there = set(importer.folder.iterdir())
    for target in (file, link, folder):
        result = importer("backup", str(target))
        assert result.code == 2
        assert "already exists" in result.err
    assert file.read_text() == "mine"
    assert link.is_symlink()
    assert set(importer.folder.iterdir()) == there


def test_without_a_state_file_or_a_folder_to_write_to_it_says_so(make_importer: MakeImporter) -> None:
    """And leaves nothing behind."""
    importer = make_importer(size=5)
    assert "no state file" in importer("backup", str(importer.folder / "copy.db")).err
    importer("sync")
    result = importer("backup", str(importer.folder / "missing" / "copy.db"))
    assert result.code == 2
    assert "cannot be created" in result.err
    assert not (importer.folder / "copy.db").exists()


def test_a_copy_made_while_a_sync_writes_is_of_one_moment(make_importer: MakeImporter) -> None:
    """Each is a sound state file, from which the next sync would go on."""
    importer = make_importer(size=1_000)
    importer.configure(CONFIG + "mailchimp.window = 20\nometria.batch = 20\n")
    with subprocess.Popen(importer.command("sync", "--quiet"), stderr=subprocess.DEVNULL) as process:
        copies = 0
        while process.poll() is None:
            if importer.db.exists() and importer("backup", str(importer.folder / f"{copies}.db")).code == 0:
                copies += 1
    assert process.returncode == 0
    assert copies
    for number in range(copies):
        with closing(sqlite3.connect(importer.folder / f"{number}.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert copy.execute("SELECT count(*) FROM runs").fetchone()[0] <= 1


def test_a_backup_needs_no_settings(make_importer: MakeImporter, tmp_path: Path) -> None:
    """They may be what was lost, or what is wrong."""
    importer = make_importer(size=5)
    assert importer("sync").code == 0
    importer.config.unlink()
    result = importer("backup", str(tmp_path / "copy.db"))
    assert result.code == 0, result.err
    assert (tmp_path / "copy.db").exists()
