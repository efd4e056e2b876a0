"""Looks API keys up, and refuses what cannot be one."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from mcimport.errors import ConfigError
from mcimport.errors.ownership import explain

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LIKE_A_KEY = re.compile(r"[0-9A-Fa-f]{24,}(-[A-Za-z]+[0-9]+)?")  # as both vendors make them
_KEY = re.compile(r"[!-~]+")
_DATA_CENTRE = re.compile(r"[A-Za-z]{1,10}[0-9]{1,5}")
_LONGEST_KEY = 4096  # far longer than any key, so that a large file named by mistake is not read into memory


@dataclass(frozen=True, slots=True)
class KeySource:
    """Looks a key up when it is first read, so that a client without a key does not stop the others.

    The key is then kept: one that is replaced meanwhile does not change the account in the middle of a run.

    Attributes:
        setting: its name in messages, after its client's.
        spec: `env:NAME`, `file:PATH` (relative to `folder`) or the key itself.
        environ: not in the repr, because it holds other secrets, too.
    """

    setting: str
    spec: SecretStr
    folder: Path
    environ: Mapping[str, str] = field(repr=False, compare=False)
    _cache: dict[str, SecretStr] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_reference(self) -> bool:
        """Whether the configuration says where the key is, rather than the key itself."""
        return self.spec.get_secret_value().partition(":")[0].lower() in ("env", "file")

    @property
    def variable(self) -> str | None:
        """The name of the environment variable that the key is in; None where it is in none."""
        scheme, _, rest = self.spec.get_secret_value().partition(":")
        return rest if scheme.lower() == "env" and VARIABLE.fullmatch(rest) else None

    @property
    def file(self) -> Path | None:
        """The file that the key is in; None where it is not in a file of its own."""
        scheme, _, rest = self.spec.get_secret_value().partition(":")
        if scheme.lower() != "file":
            return None
        with suppress(RuntimeError, ValueError):
            return self.folder / Path(rest).expanduser()
        return None

    def read(self) -> SecretStr:
        """Returns the key. Raises ConfigError, which never holds the value, where it is missing or cannot be a key."""
        return self._cache.get("") or self._cache.setdefault("", self._look_up())

    def _look_up(self) -> SecretStr:
        scheme, _, rest = self.spec.get_secret_value().partition(":")
        if scheme.lower() == "env":
            return self._checked(self._variable(rest), f"the variable {rest}")
        if scheme.lower() == "file":
            return self._checked(self._file(rest), f"the file {rest}")
        return self._checked(self.spec.get_secret_value(), "the key itself")

    def _error(self, words: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{self.setting}: {words}", hint=hint)

    def _variable(self, name: str) -> str:
        if not VARIABLE.fullmatch(name):  # it may be the key itself, so the message does not repeat it
            raise self._error("`env:` must be followed by the name of an environment variable")
        if name not in self.environ:
            raise self._error(f"the variable {name} is not set", "Set it, also for cron and services.")
        return self.environ[name]

    def _file(self, name: str) -> str:
        try:
            # Without blocking: opening a pipe without a writer would otherwise wait for ever.
            handle = os.open(self.folder / Path(name).expanduser(), os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise self._error(f"the file {name} is not a regular file")
                # Latin-1 decodes any byte, so that `_checked` refuses whatever is no key, instead of an encoding error.
                return file.read(_LONGEST_KEY + 2).decode("latin-1").rstrip("\r\n")
        except OSError as error:
            denied = explain(error, self.folder / Path(name).expanduser())
            raise self._error(
                f"the file {name} cannot be read: {denied.reason}", denied.fix or "Make it, or correct its path."
            ) from None
        except (RuntimeError, ValueError):  # `~` without a home; a NUL in the path
            raise self._error("`file:` must be followed by a path") from None

    def _checked(self, key: str, source: str) -> SecretStr:
        if not key:
            raise self._error(f"{source} is empty", "Put the key there, and nothing else.")
        if key[0] in "\"'" or key[-1] in "\"'":
            raise self._error(f"{source} has quotation marks around it", "Write it without them.")
        if len(key) > _LONGEST_KEY or not _KEY.fullmatch(key):
            raise self._error(f"{source} has spaces, line breaks or other characters that are never part of a key")
        return SecretStr(key)


def data_centre(key: SecretStr) -> str | None:
    """Returns what follows the last "-" of a Mailchimp key (`us6`), in lower case; None where that is no data centre.

    Strict, because it becomes part of the host that the key is sent to.
    """
    _, dash, last = key.get_secret_value().rpartition("-")
    return last.lower() if dash and _DATA_CENTRE.fullmatch(last) else None
