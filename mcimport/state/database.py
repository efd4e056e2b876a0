"""The file itself: opened with mode 0600, checked before it is touched, written in whole transactions."""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from filelock import Timeout

from mcimport.errors import StateError
from mcimport.state.locking import cannot_lock, lock_on
from mcimport.state.sqlite_errors import in_words

# A file with all migrations up to this one is opened without loading what migrates it, which takes a tenth of a start.
NEWEST = "m013_remember_troubles_by_kind"
BUSY_TIMEOUT = 30.0  # seconds to wait for another program that is writing
LOOK_TIMEOUT = 3.0  # the same, where a person waits


class State:
    """One connection to the state file; belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        connection.row_factory = sqlite3.Row
        with in_words(path):
            self._salt = str(self.value("SELECT value FROM meta WHERE key = 'salt'"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with in_words(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        return next(iter(self.rows(sql, parameters)), None)

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        row = self.row(sql, parameters)
        return row[0] if row else None

    def shrink(self, pages: int) -> None:
        """Gives back so many free pages; as a script, for a single statement would stop after the first."""
        with in_words(self.path):
            self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def write(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """One statement inside `transaction`; returns the id of an inserted row."""
        return self._connection.execute(sql, parameters).lastrowid or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Takes the write lock at its start, so that it cannot fail half-way for another writer."""
        with in_words(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Inside, whoever else holds the file is reason enough to give up."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")

    @property
    def name(self) -> str:
        """What this file is called where others hear it: the same for good, and no other file's."""
        return self._mark("its own name")

    def destination(self, ometria_key: str, url: str) -> str:
        """What this file knows an Ometria account by: fingerprints of its key and of the address at which it is asked.

        Of use in this file alone. A slash at the end of the address makes no difference, nor do the case of its host
        and a port that goes without saying.
        """
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{parts.path.rstrip('/')}"
        return f"{self._mark(ometria_key)}@{self._mark(address)[:8]}"

    def _mark(self, text: str) -> str:
        return hmac.new(self._salt.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]


def open_state(path: Path, *, create: bool = True) -> State:
    """Opens the state file, made and migrated as needed.

    Raises StateError, with the file left as it was, when it is no database of ours, cannot be written, or does not
    exist and is not to be created.
    """
    if not is_there(path):
        if not create:
            raise StateError(f"there is no state file at {path} yet", hint="`mcimport sync` creates it.")
        _create(path)
    with in_words(path):
        connection = _connect(path)
        try:
            _migrate(connection, path)
            return State(connection, path)
        except BaseException:
            connection.close()
            raise


def dry_copy(path: Path) -> State:
    """A copy in memory of what is remembered: a dry run reads it, writes to it, and forgets it."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        if is_there(path):
            with in_words(path), closing(_connect(path)) as file:
                _refuse_strangers(file, path)
                file.backup(memory)
        _migrate(memory, path, shared=False)
        return State(memory, path)
    except BaseException:
        memory.close()
        raise


def examine(path: Path) -> None:
    """Raises StateError unless the file is one of ours, is sound, can be written and locked. It is left as it is.

    Written to in earnest, and taken back: for a file that is read-only, SQLite begins a transaction all the same.
    """
    with in_words(path), closing(_connect_to_look(path)) as connection:
        _refuse_strangers(connection, path)
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise StateError(f"the state file {path} is damaged", hint="Restore it from a backup, or move it away.")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE examined (at)")
        connection.execute("ROLLBACK")
    if _beside(path).exists():
        with _migrating(path, LOOK_TIMEOUT):
            pass


def is_there(path: Path) -> bool:
    """Raises StateError where nobody can say: in a folder that may not be searched, say."""
    try:
        return path.exists()
    except OSError as error:
        raise StateError(
            f"the state file {path} cannot be accessed: {error.strerror}",
            hint="Choose another with --db or MCIMPORT_DB.",
        ) from None


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)


def _connect_to_look(path: Path) -> sqlite3.Connection:
    """Makes no file where there is none."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=LOOK_TIMEOUT, isolation_level=None)


def _create(path: Path) -> None:
    """One at a time: closing a file that another thread has open with SQLite would end all locks that it has there."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _migrating(path):
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StateError(
            f"the state file {path} cannot be created: {error.strerror}",
            hint="Choose another with --db or MCIMPORT_DB.",
        ) from None


@contextmanager
def _migrating(path: Path, patience: float = BUSY_TIMEOUT) -> Iterator[None]:
    """Of several openers at once, one makes the file or brings it up to date. Raises StateError."""
    beside = _beside(path)
    lock = lock_on(beside, patience)
    try:
        lock.acquire()
    except Timeout:
        raise StateError(
            f"the state file {path} is still being created or upgraded by another process",
            hint="Try again in a minute.",
        ) from None
    except OSError as error:
        raise cannot_lock(beside, error) from None
    try:
        yield
    finally:
        lock.release()


def _beside(path: Path) -> Path:
    """Not `.lock` at the end: that is what the locks of clients are called, and a client may be called anything."""
    return path.with_name(f"{path.name}.migrating")


def _let_shrink(connection: sqlite3.Connection) -> None:
    """Of a file without tables of ours: space that becomes free in it can be given back piece by piece.

    Under the lock of migrations: it rewrites the file, if an empty one.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")


def _migrate(connection: sqlite3.Connection, path: Path, *, shared: bool = True) -> None:
    """Brings the tables up to date. `shared`: others may open the file at the same time."""
    if len(_refuse_strangers(connection, path)) == int(NEWEST[1:4]):
        return
    from sqlite_utils import Database  # noqa: PLC0415 - see NEWEST

    from mcimport.state.migrations import migrations  # noqa: PLC0415 - as above

    database = Database(connection, recursive_triggers=False, execute_plugins=False)
    if not migrations.pending(database):
        return
    if not shared:
        migrations.apply(database)
        return
    with _migrating(path):
        _let_shrink(connection)
        database.enable_wal()
        # All of them or none, and the disk is waited for once. IMMEDIATE, for it waits for whoever is writing.
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations.apply(database)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _refuse_strangers(connection: sqlite3.Connection, path: Path) -> set[str]:
    """The names of the migrations that were applied. Only reads.

    Raises StateError for a database of another program, or of a newer version of this one.
    """
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    applied: set[str] = set()
    if "_sqlite_migrations" in tables:
        rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'mcimport'")
        applied = {row[0] for row in rows}
    if tables - {"_sqlite_migrations"} and not applied:
        raise StateError(f"{path} is the database of another program; it was left unchanged")
    if any(name > NEWEST for name in applied):
        raise StateError(
            f"{path} was written by a newer mcimport; it was left unchanged", hint="Upgrade mcimport on this machine."
        )
    return applied
