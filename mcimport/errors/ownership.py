"""Says whose the files are that this process may not use, or should not make, and the command that mends it."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

USE = os.R_OK | os.W_OK  # as of the state file and its locks, beside which others are made
# Folders in which others' files are, besides the homes of users: none of them may become one user's own.
_TOP_FOLDERS = "/ /etc /home /media /mnt /opt /root /run /srv /tmp /usr /usr/local /usr/local/bin /usr/local/etc /var"
_SHARED = {Path(name) for name in f"{_TOP_FOLDERS} /var/lib /var/log /var/spool /var/tmp".split()}
_OWNERS_BITS = 6  # where the owner's part of a mode begins; R_OK, W_OK and X_OK have the same bits


class Obstacle(Struct, frozen=True):
    """Holds what keeps this process from a file.

    Attributes:
        reason: follows the colon of a message.
        fix: a sentence with the command that mends it; empty where none is known.
    """

    reason: str
    fix: str = ""


def explain(error: OSError, path: Path, need: int = os.R_OK, *, every: str = "") -> Obstacle:
    """Returns why a file cannot be used: by its owner and mode where they are the cause, else in the system's words.

    `need` is as of `os.access`. `every`: a shell pattern for this file and those that belong to it.
    """
    denied = find_obstacle(path, need, every=every) if isinstance(error, PermissionError) else None
    return denied or Obstacle(error.strerror or type(error).__name__)


def find_obstacle(path: Path, need: int, *, every: str = "") -> Obstacle | None:
    """Returns what the owners and modes of the file and its folders deny this process; None where they deny nothing."""
    path = path.absolute()
    for folder in reversed(path.parents):
        if not os.access(folder, os.F_OK):
            return None if os.access(folder.parent, os.W_OK) else _no_folder(path.parent)
        if not os.access(folder, os.X_OK):
            return _closed_folder(folder)
    with suppress(FileNotFoundError):
        if not os.access(path, need) and (found := _closed_file(path, need, every)):
            return found
    return None if os.access(path.parent, need & os.W_OK) else _closed_folder(path.parent)


def owner_for_root(path: Path) -> str | None:
    """Returns the user to whom root would close the file, if it made it in that user's folder; None for all others."""
    if user_id() != 0:
        return None
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    owner = folder.stat().st_uid
    return user_name(owner) if owner else None


def file_owner_for_root(path: Path) -> str | None:
    """Returns the user to whom a file belongs that root reads; None where it is root's, or this is not root."""
    owner = path.stat().st_uid if user_id() == 0 and path.exists() else 0
    return user_name(owner) if owner else None


def user_id() -> int:
    """Returns the user as whom this process runs; -1 where the system knows no users by number."""
    return os.geteuid() if hasattr(os, "geteuid") else -1


def user_name(number: int) -> str:
    """Returns the user's name, or the number where the machine has no name for it."""
    import pwd  # noqa: PLC0415 - there is none on Windows

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _as_owner(number: int) -> str:
    return f"Run mcimport as that user: `runuser -u {user_name(number)} -- mcimport` as root."


def _home(number: int) -> Path | None:
    import pwd  # noqa: PLC0415 - as above

    try:
        return Path(pwd.getpwuid(number).pw_dir)
    except KeyError:
        return None


def chown_command(path: str) -> str:
    """Returns the command that makes this process's user the owner. `path`: as the shell takes it."""
    return f"`chown {user_name(user_id())} {path}`"


def _closed_file(path: Path, need: int, every: str) -> Obstacle | None:
    found = path.stat()
    if found.st_uid != user_id():
        if found.st_uid:  # root's, it was made by mistake; a user's, this is the mistake
            return Obstacle(f"it belongs to another user, {user_name(found.st_uid)}", _as_owner(found.st_uid))
        mend = chown_command(every or shlex.quote(str(path)))
        fix = f"Run {mend} as root, and from then on run mcimport as one user only."
        return Obstacle(f"it belongs to another user, {user_name(found.st_uid)}", fix)
    if found.st_mode >> _OWNERS_BITS & need == need:
        return None  # a read-only file system, say
    return Obstacle("its mode denies it to its owner", f"Run `chmod 600 {shlex.quote(str(path))}`.")


def _closed_folder(folder: Path) -> Obstacle | None:
    found, shown = folder.stat(), shlex.quote(str(folder))
    if found.st_uid != user_id():
        whose = f"the folder {folder} belongs to another user, {user_name(found.st_uid)}"
        if folder in _SHARED or folder == _home(found.st_uid):
            return Obstacle(whose, f"Put it where {user_name(user_id())} may read and write, in a folder for mcimport.")
        if found.st_uid:
            return Obstacle(whose, _as_owner(found.st_uid))
        return Obstacle(whose, f"If it is for mcimport alone: {chown_command(shown)} as root; else choose another.")
    if found.st_mode >> _OWNERS_BITS & USE == USE:
        return None
    return Obstacle(f"the mode of the folder {folder} denies it to its owner", f"Run `chmod 700 {shown}`.")


def _no_folder(folder: Path) -> Obstacle:
    fix = f"Run `install -d -o {user_name(user_id())} -m 0700 {shlex.quote(str(folder))}` as root."
    return Obstacle(f"there is no folder {folder}, and this user may not make it", fix)
