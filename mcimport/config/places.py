"""Where the configuration file and the state file are: named by an option or a variable, or found in their places."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import platformdirs

from mcimport.errors import ConfigError
from mcimport.errors.ownership import chown_command, user_id, user_name

FILE_NAME = "mcimport.toml"


def named_path(path: Path | None, environ: Mapping[str, str], option: str, variable: str) -> Path | None:
    """Returns the option's path, else the variable's; None where neither is set.

    Raises ConfigError for a quoted one: `docker run --env-file` keeps quotation marks, which a shell removes.
    """
    text = str(path or environ.get(variable) or "")
    if is_quoted(text):
        words = f"{option}, or {variable}: the path has quotation marks or a line break around it"
        raise ConfigError(words, hint="Write it without them.")
    return Path(text) if text else None


def is_quoted(path: str) -> bool:
    """Returns whether quotation marks or line ends are around the path, which no path of ours has."""
    return path != path.strip("\"'\r\n")


def current_folder(cwd: Path | None, *named: Path | None) -> Path:
    """Returns the current folder. Raises ConfigError where it no longer exists, unless all paths are absolute."""
    try:
        return (cwd or Path()).absolute()
    except FileNotFoundError:
        if all(path is not None and path.is_absolute() for path in named):
            return Path("/")
        raise ConfigError(
            "the current folder no longer exists",
            hint="Change to another one, or give absolute paths: --config, --db.",
        ) from None


def default_db() -> Path:
    """Returns the state file in the user's state directory. Raises ConfigError where the user has none."""
    try:
        path = platformdirs.user_state_path("mcimport")
    except RuntimeError:  # no HOME, and no entry in the user database
        path = Path()
    if not path.is_absolute():  # a user without a home, as in some containers: the folder would be called "~"
        raise ConfigError("this user has no state directory", hint="Name the state file: --db PATH or MCIMPORT_DB.")
    return path / "mcimport.db"


def shown_path(path: Path, here: Path) -> str:
    """Returns the path as seen from the current folder; whole where it is not in it, or where that is the root."""
    is_inside = here != here.parent and path.is_relative_to(here)
    return str(path.relative_to(here) if is_inside else path)


def searched_files(here: Path) -> tuple[Path, Path]:
    """Returns where a configuration file is looked for that nobody named, in order."""
    return here / FILE_NAME, platformdirs.user_config_path("mcimport") / FILE_NAME


def find_file(named: Path | None, here: Path) -> Path | None:
    """Returns the configuration file; None where there is none. Raises ConfigError for one of another user."""
    if named:
        return here / named
    for path in searched_files(here):
        with suppress(OSError):  # missing, or in an unreadable folder: the environment may be enough
            # Not `stat`: a broken link is a mistake, reported when the file is read.
            check_owner(shown_path(path, here), path.lstat().st_uid)
            return path
    return None


def check_owner(name: str, owner: int) -> None:
    """Raises ConfigError where a file that was found, not named, belongs to another user, as ssh and git do.

    The file says where keys are sent.
    """
    if owner in (0, user_id()) or user_id() == -1:
        return
    mend = f"{chown_command(shlex.quote(name))} as root"
    if user_id() == 0:  # whose it would become, closed to the user who runs it every hour
        mend = f"run mcimport as its owner, `runuser -u {user_name(owner)} -- mcimport`"
    raise ConfigError(
        f"{name}: belongs neither to this user nor to root, so it is not read",
        hint=f"If it is the right one: {mend}, or name it with --config.",
    )
