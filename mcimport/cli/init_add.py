"""`mcimport init --add`: adds a client to a configuration file, in one piece or not at all."""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
from pathlib import Path

from mcimport.config import Answers, load, template
from mcimport.config.load import parse_text, read_text
from mcimport.config.messages import config_error, quoted, validate
from mcimport.config.places import current_folder, find_file, shown_path
from mcimport.config.schema import File
from mcimport.errors import ConfigError


def find_target(named: Path | None) -> Path:
    """Returns the file, which was named or is found where every command looks for it. Raises ConfigError for none."""
    here = current_folder(None, named)
    target = named or find_file(None, here)
    if target is None or not target.exists():
        raise ConfigError(
            f"there is no {target or 'mcimport.toml'} to add a client to", hint="`mcimport init` writes one."
        )
    return Path(shown_path(target, here))


def read(target: Path) -> tuple[str, File]:
    """Returns the text and its tables. Raises ConfigError where it is broken; without a client it is not."""
    text = read_text(target, str(target))
    file = validate(parse_text(text, str(target)))
    if isinstance(file, list):
        raise config_error(str(target), file)
    return text, file


def check_answer(file: File, name: str, answers: Answers) -> None:
    """Raises ConfigError where the answer of this name is no setting, or where the file has this client or list."""
    template(answers)
    _check_new(name, answers, file)


def _check_new(name: str, answers: Answers, file: File) -> None:
    """Raises ConfigError where the file has a client of this name, whatever its case, or one of these lists."""
    if name == "client" and answers.client.lower() in map(str.lower, file.clients):
        raise ConfigError(f"there is a client called {quoted(answers.client)} already", hint="Nothing was written.")
    if name != "lists":
        return
    for client, table in file.clients.items():
        for key in answers.lists:
            if key.lower() in map(str.lower, table.lists):
                raise ConfigError(f"the client {client} has the list {key} already", hint="Nothing was written.")


def replace_file(target: Path, text: str, before: str) -> None:
    """Writes a file beside the target, of its owner and mode, and puts it in its place once it loads.

    Raises ConfigError, and leaves the target as it is, where it does not load or cannot be written, or where it does
    not hold `before` any more: somebody has saved it since it was read.
    """
    new: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        new = Path(name)
        with os.fdopen(handle, "wb") as file:
            _give_away(handle, target.stat())
            file.write(_encoded(text, target.read_bytes()))
            file.flush()
            os.fsync(handle)
        load(config=new, db=new)
        _check_same(target, before)
        new.replace(target)
    except ConfigError as error:
        words = str(error).replace(new.name if new else "", target.name)
        raise ConfigError(words, hint="Nothing was written.") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}", hint="Nothing was written.") from None
    finally:
        if new is not None:
            new.unlink(missing_ok=True)


def _check_same(target: Path, before: str) -> None:
    """Raises ConfigError where somebody has saved the file since it was read."""
    if read_text(target, target.name) != before:
        raise ConfigError(f"{target.name} was changed in the meantime", hint="Nothing was written.")


def _give_away(handle: int, before: os.stat_result) -> None:
    """Gives an open file the owner and mode of another. Raises OSError where it is not for this user to do so."""
    ours = os.fstat(handle)
    if (ours.st_uid, ours.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(handle, before.st_uid, before.st_gid)
    os.fchmod(handle, stat.S_IMODE(before.st_mode))


def _encoded(text: str, before: bytes) -> bytes:
    """Returns the text with the byte-order mark and the line ends of the file that it replaces."""
    if b"\r\n" in before:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    return (codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b"") + text.encode()
