"""Writes a file that the user names: whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from mcimport.errors import ConfigError

_unfinished: set[Path] = set()


def remove_unfinished() -> None:
    """Removes the files of blocks that have not ended, for a process that leaves at once."""
    for path in _unfinished:
        path.unlink(missing_ok=True)


@contextmanager
def output_file(path: Path) -> Iterator[TextIO]:
    """Yields a stream whose text takes the place of the file at `path` when the block ends well; until then that stays.

    The file has mode 0600. Raises ConfigError, before the block, where no file can be written; OSError on a full disk.
    """
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise ConfigError(f"{path} cannot be written: it is not a file")
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    _unfinished.add(Path(name))
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    finally:
        _unfinished.discard(Path(name))
