"""A temporary SQLite file without a name, for more than memory should hold; it goes with the process."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mcimport.errors import StateError
from mcimport.state.database import error_name

CACHE = 24_000  # kilobytes of the file that stay in memory

Parameters = Sequence[Any] | Mapping[str, Any]


class TempDatabase:
    """Holds a temporary file in `folder`; belongs to the thread that opened it. Raises StateError, as for a full disk.

    The file has mode 0600 and is unlinked as soon as it is open. SQLite needs no second file beside it as long as it
    keeps no journal; it keeps none, because what is lost is read again.
    """

    def __init__(self, folder: Path, tables: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        with _in_words(), ExitStack() as on_failure:
            handle, name = tempfile.mkstemp(prefix=".comparing-", dir=folder)
            os.close(handle)
            try:
                self._file = file = sqlite3.connect(name, isolation_level=None)
                on_failure.callback(file.close)  # nothing else could
                file.execute("PRAGMA locking_mode = EXCLUSIVE")
                file.execute("PRAGMA schema_version")  # only now is it surely open
            finally:
                Path(name).unlink()
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "temp_store = MEMORY", f"cache_size = -{CACHE}"):
                file.execute(f"PRAGMA {pragma}")
            for function_name, function in functions.items():
                file.create_function(function_name, function.__code__.co_argcount, function, deterministic=True)
            file.executescript(tables)
            on_failure.pop_all()

    def close(self) -> None:
        self._file.close()

    def rows(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        with _in_words():
            return self._file.execute(query, parameters).fetchall()

    def number(self, query: str, parameters: Parameters = ()) -> int:
        """Returns the one value of the one row that the query yields: a count."""
        return int(self.rows(query, parameters)[0][0])

    def write(self, query: str, parameters: Parameters = ()) -> int:
        """Writes, and returns how many rows changed."""
        with _in_words():
            return self._file.execute(query, parameters).rowcount

    def write_all(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        with _in_words():
            self._file.executemany(query, rows)

    def ids(self, query: str, parameters: Parameters = ()) -> list[str]:
        """Returns the first value of each row."""
        return [row[0] for row in self.rows(query, parameters)]

    def batches(self, query: str, size: int, *parameters: Any) -> Iterator[list[str]]:
        """Yields ids, `size` at a time; what was read may be changed meanwhile.

        The query takes, after `parameters`, the last id that was read, and `size`.
        """
        after = ""
        while ids := self.ids(query, [*parameters, after, size]):
            yield ids
            after = ids[-1]


def placeholders(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StateError(
            f"the comparison's temporary file cannot be used ({error_name(error)})",
            hint="It is in the state file's folder. Is there enough free space there, about 250 bytes per member?",
        ) from None
