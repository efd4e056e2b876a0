"""Opens the state file with mode 0600, checks it before it is changed, and writes it in whole transactions."""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcimport.errors import StateError
from mcimport.errors.ownership import USE, explain, find_obstacle
from mcimport.state.locking import hold_lock, pattern_of

# A file with all migrations up to this one is opened without importing sqlite_utils, which takes a tenth of a start.
NEWEST_MIGRATION = "m013_remember_troubles_by_kind"
BUSY_TIMEOUT = 30.0  # seconds to wait for another program that is writing
CHECK_TIMEOUT = 3.0  # the same, for `mcimport check`, where a person waits

_DENIED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
_MESSAGES = (  # prefixes of SQLite's names of errors, the message, the hint
    (
        ("SQLITE_NOTADB",),
        "is not a state file of mcimport; it was left unchanged",
        "Choose another with --db or MCIMPORT_DB.",
    ),
    (("SQLITE_BUSY", "SQLITE_LOCKED"), "is locked by another program", "Close it there and try again."),
    (("SQLITE_FULL",), "is on a disk that is full; nothing was half-recorded", "Free some space and try again."),
    (("SQLITE_IOERR",), "cannot be read or written; nothing was half-recorded", "Is its disk full, or failing?"),
    (_DENIED, "cannot be written", "Check its owner, its permissions and its folder."),
    (("SQLITE_CORRUPT",), "is damaged", "Restore it from a backup, or move it away."),
)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Raises StateError about the state file at `path` where SQLite raises an error inside."""
    try:
        yield
    except sqlite3.Error as error:
        name = error_name(error)
        if name.startswith(_DENIED) and (denied := find_obstacle(path, USE, every=pattern_of(path))):
            raise StateError(f"the state file {path} cannot be written: {denied.reason}", hint=denied.fix) from None
        for beginnings, said, hint in _MESSAGES:
            if name.startswith(beginnings):
                raise StateError(f"the state file {path} {said}", hint=hint) from None
        raise StateError(f"the state file {path} cannot be used ({name})") from None


def error_name(error: Exception) -> str:
    """Returns SQLite's name of an error (SQLITE_FULL); the class of one that has none."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


class State(AbstractContextManager["State"]):
    """Reads and writes the state file over one connection, which belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        connection.row_factory = sqlite3.Row
        with named_errors(path):
            self._salt = str(self.value("SELECT value FROM meta WHERE key = 'salt'"))

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with named_errors(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        return next(iter(self.rows(sql, parameters)), None)

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        row = self.row(sql, parameters)
        return row[0] if row else None

    def incremental_vacuum(self, pages: int) -> None:
        """Returns free pages to the file system; as a script, for a single statement would stop after the first."""
        with named_errors(self.path):
            self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def write(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Executes one statement, in the present transaction or in one of its own; returns the id of an inserted row.

        By itself it waits for another writer, and is all or nothing, as `transaction` is.
        """
        with named_errors(self.path):
            return self._connection.execute(sql, parameters).lastrowid or 0

    def insert(self, table: str, **values: Any) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.write(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))  # noqa: S608 - names

    def update(self, table: str, row_id: int, **values: Any) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        self.write(f"UPDATE {table} SET {columns} WHERE id = ?", [*values.values(), row_id])  # noqa: S608 - names

    def add(self, table: str, row_id: int, **counts: float) -> None:
        """Adds to counts of one row."""
        sums = ", ".join(f"{name} = {name} + ?" for name in counts)
        self.write(f"UPDATE {table} SET {sums} WHERE id = ?", [*counts.values(), row_id])  # noqa: S608 - names

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits all or nothing. Takes the write lock first, so that another writer cannot make it fail half-way."""
        with named_errors(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def without_busy_timeout(self) -> Iterator[None]:
        """Makes statements inside fail at once where another process holds the file."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")

    @property
    def state_id(self) -> str:
        """The id of this file in messages to workers: it never changes, and no other file has it."""
        return self._fingerprint("its own name")

    def account_fingerprint(self, ometria_key: str, url: str) -> str:
        """Returns fingerprints of an Ometria key and of the API's address, by which this file knows the account.

        They are salted, so other files have others. A slash at the end of the address makes no difference, nor do the
        case of its host and a default port.
        """
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{parts.path.rstrip('/')}"
        return f"{self._fingerprint(ometria_key)}@{self._fingerprint(address)[:8]}"

    def _fingerprint(self, text: str) -> str:
        return hmac.new(self._salt.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]


def open_state(path: Path, *, create: bool = True, check_same_thread: bool = True) -> State:
    """Opens the state file, and creates and migrates it as needed.

    `check_same_thread`: only the present thread may use it, and close it.

    Raises StateError, with the file left as it was, when it is not a database of mcimport, cannot be written, or
    does not exist and is not to be created.
    """
    if not state_exists(path):
        if not create:
            raise StateError(f"there is no state file at {path} yet", hint="`mcimport sync` creates it.")
        _create(path)
    with named_errors(path):
        connection = connect(path, check_same_thread=check_same_thread)
        try:
            migrate(connection, path)
            return State(connection, path)
        except BaseException:
            connection.close()
            raise


class StatePool(AbstractContextManager["StatePool"]):
    """Lends connections to one state file, each to one thread at a time, and closes them at its end.

    SQLite prepares each statement once a connection: with a new one for each client that is a quarter of all that an
    idle client costs.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        self._create = create
        self._lock = threading.Lock()
        self._idle: list[tuple[State, _Identity]] = []

    def __exit__(self, *_: object) -> None:
        self.close_idle()

    def close_idle(self) -> None:
        """Closes the connections that no thread has."""
        with self._lock:
            idle, self._idle = self._idle, []
        for state, _file in idle:
            state.close()

    @contextmanager
    def lend(self) -> Iterator[State]:
        """Lends a connection to the file that is at the path now. Raises as `open_state`.

        One whose borrower ends with an error is closed.
        """
        state, file = self._take() or (open_state(self._path, create=self._create, check_same_thread=False), None)
        file = file or _identity(self._path)
        try:
            yield state
        except BaseException:
            state.close()
            raise
        with self._lock:
            self._idle.append((state, file))

    def _take(self) -> tuple[State, _Identity] | None:
        """Returns an idle connection; None where there is none to the file that is at the path now."""
        with self._lock:
            taken = self._idle.pop() if self._idle else None
        if taken is None or taken[1] == _identity(self._path):
            return taken
        taken[0].close()
        return None


_Identity = tuple[int, int] | None


def _identity(path: Path) -> _Identity:
    """Returns what tells a file from another one that takes its place; None where there is none."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def check_state_file(path: Path) -> None:
    """Raises StateError unless the file is one of mcimport's, undamaged, and can be written and locked.

    It is left as it is: what is written is rolled back. Something must be written, for SQLite begins a transaction on
    a read-only file, too.
    """
    with named_errors(path), closing(connect(path, CHECK_TIMEOUT)) as connection:
        applied_migrations(connection, path)
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise StateError(f"the state file {path} is damaged", hint="Restore it from a backup, or move it away.")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE examined (at)")
        connection.execute("ROLLBACK")
    if _migration_lock_path(path).exists():
        with _migration_lock(path, CHECK_TIMEOUT):
            pass


def state_exists(path: Path) -> bool:
    """Returns whether there is a state file. Raises StateError where that is unknown, as in an unreadable folder."""
    try:
        return path.exists()
    except OSError as error:
        raise _unusable(path, "accessed", error) from None


def _unusable(path: Path, what: str, error: OSError) -> StateError:
    denied = explain(error, path, USE, every=pattern_of(path))
    said = f"the state file {path} cannot be {what}: {denied.reason}"
    return StateError(said, hint=denied.fix or "Name another with --db or MCIMPORT_DB.")


def connect(path: Path, timeout: float | None = None, *, check_same_thread: bool = True) -> sqlite3.Connection:
    """Connects without creating the file. `timeout`: seconds to wait for another program; None: BUSY_TIMEOUT."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT if timeout is None else timeout,
        isolation_level=None,
        check_same_thread=check_same_thread,
    )


def _create(path: Path) -> None:
    """Creates the file, in one thread at a time: POSIX locks of another thread end when this one closes the file."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _migration_lock(path):
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise _unusable(path, "created", error) from None


def _migration_lock(path: Path, timeout: float = BUSY_TIMEOUT) -> AbstractContextManager[None]:
    """Lets one process or thread at a time create or migrate the file. Raises StateError after `timeout` seconds."""
    said = f"the state file {path} is still being created or upgraded by another process"
    return hold_lock(_migration_lock_path(path), timeout, lambda: StateError(said, hint="Try again in a minute."), path)


def _migration_lock_path(path: Path) -> Path:
    """Returns a name without `.lock` at the end, for a client may have any name and its lock ends in that."""
    return path.with_name(f"{path.name}.migrating")


def migrate(connection: sqlite3.Connection, path: Path, *, is_shared: bool = True) -> None:
    """Applies pending migrations. `is_shared`: other processes may open the file at the same time."""
    if len(applied_migrations(connection, path)) == int(NEWEST_MIGRATION[1:4]):
        return
    from sqlite_utils import Database  # noqa: PLC0415 - see NEWEST_MIGRATION

    from mcimport.state.migrations import migrations  # noqa: PLC0415 - as above

    database = Database(connection, recursive_triggers=False, execute_plugins=False)
    if not migrations.pending(database):
        return
    if not is_shared:
        migrations.apply(database)
        return
    with _migration_lock(path):
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file: it is rewritten for that
            connection.execute("VACUUM")
        database.enable_wal()
        with connection:  # all of them or none, and one fsync
            connection.execute("BEGIN IMMEDIATE")  # which waits for another writer
            migrations.apply(database)


def applied_migrations(connection: sqlite3.Connection, path: Path) -> set[str]:
    """Returns the names of the migrations that were applied. Only reads.

    Raises StateError for a database of another program, or of a newer version of this one.
    """
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    applied: set[str] = set()
    if "_sqlite_migrations" in tables:
        rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'mcimport'")
        applied = {row[0] for row in rows}
    if tables - {"_sqlite_migrations"} and not applied:
        raise StateError(f"{path} is the database of another program; it was left unchanged")
    if any(name > NEWEST_MIGRATION for name in applied):
        raise StateError(
            f"{path} was written by a newer mcimport; it was left unchanged", hint="Upgrade mcimport on this machine."
        )
    return applied
