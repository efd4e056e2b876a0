"""Writes who differs between both sides as CSV: ids and names of fields, no values."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from threading import Lock
from typing import TextIO

from mcimport.errors import McimportError
from mcimport.models.results import DifferingId

HEADS = ("client", "list_key", "id", "kind", "fields")


class DifferencesCsv:
    """Writes a row for each id, below HEADS. Safe to use from the threads of several clients."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(HEADS)
        self._lock = Lock()

    def add(self, client: str, list_key: str, differing: Iterable[DifferingId]) -> None:
        """Writes the rows of one list together. Raises McimportError where the file cannot be written."""
        with self._lock:
            try:
                for one in differing:
                    self._writer.writerow((client, list_key, one.id, one.kind, " ".join(one.fields)))
                self._stream.flush()
            except OSError as error:
                raise McimportError(f"the file of --csv cannot be written: {error.strerror}") from None
