"""Finds the configuration and turns it into settings."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import platformdirs
from msgspec import Struct
from msgspec.structs import replace
from pydantic import SecretStr

from mcimport.config.addresses import EngineSettings, NotifyUrlSource, base_address, require_https
from mcimport.config.cross_checks import cross_check, merge_fields
from mcimport.config.keys import KeySource
from mcimport.config.messages import config_error, validate
from mcimport.config.schema import ClientTable, File, MailchimpSettings, Notify, OmetriaSettings, Table
from mcimport.config.settings import Client, Settings
from mcimport.errors import ConfigError
from mcimport.errors.ownership import chown_command, explain, user_id, user_name

FILE_NAME = "mcimport.toml"
_MAILCHIMP_KEY = "MCIMPORT_MAILCHIMP_API_KEY"
_OMETRIA_KEY = "MCIMPORT_OMETRIA_API_KEY"
_NO_CLIENT_HINT = f"Run `mcimport init`, or set {_MAILCHIMP_KEY} and {_OMETRIA_KEY}."
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

AnyTable = TypeVar("AnyTable", bound=Table)
Service = TypeVar("Service", MailchimpSettings, OmetriaSettings)


class _Context(Struct, frozen=True):
    """Holds what reading a table needs besides the table.

    Attributes:
        folder: what paths behind `file:` are relative to.
        file: the file's name in messages; empty without a file.
    """

    environ: Mapping[str, str]
    folder: Path
    file: str

    def key(self, client: str, setting: str, spec: SecretStr) -> KeySource:
        return KeySource(f"client {client}: {setting}" if client else setting, spec, self.folder, self.environ)


def load(
    *,
    config: Path | None = None,
    db: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """Returns the settings: from a flag, else the environment, else a file, else the defaults.

    The file is `config`, else `MCIMPORT_CONFIG` (either must exist), else `mcimport.toml` in `cwd`, else in the
    user's configuration directory. The state file is `db`, else `MCIMPORT_DB`, else in the user's state directory.
    An empty variable counts as unset. Paths are relative to `cwd`, those behind `file:` to the file's own folder.

    Without a file, or with one that names no client, `MCIMPORT_MAILCHIMP_API_KEY` and `MCIMPORT_OMETRIA_API_KEY` make
    one client, `default`, which takes any list. `MCIMPORT_MAILCHIMP_URL` and `MCIMPORT_OMETRIA_URL` replace the base
    addresses of every client.

    Raises ConfigError, with the next command in its hint, for anything that is wrong with the file. A missing key is no
    such error: its client raises it when the key is needed.
    """
    config = _unquoted(config, environ, "--config", "MCIMPORT_CONFIG")
    db = _unquoted(db, environ, "--db", "MCIMPORT_DB")
    here = _current_folder(cwd, config, db)
    path = _find(config, here)
    context = _Context(environ, path.parent if path else here, _shown_path(path, here) if path else "")
    file = _validate(_read(path, context.file) if path else {}, context)
    return Settings(
        config_path=path,
        db_path=here / (db or _default_db()),
        clients=MappingProxyType({client.name: client for client in _clients(file, context)}),
        keep=file.state.keep,
        metrics_path=context.folder / Path(file.metrics.textfile).expanduser() if file.metrics.textfile else None,
        healthcheck_source=_notify_url_source("", "healthcheck_url", file.notify, context),
        engine=EngineSettings(
            file.engine.kind, context.key("", "[engine] broker", file.engine.broker), file.engine.allow_plain
        ),
    )


def _unquoted(path: Path | None, environ: Mapping[str, str], option: str, variable: str) -> Path | None:
    """Returns the option's path, else the variable's; None where neither is set.

    Raises ConfigError for a quoted one: `docker run --env-file` keeps quotation marks, which a shell removes.
    """
    text = str(path or environ.get(variable) or "")
    if text != text.strip("\"'\r\n"):
        words = f"{option}, or {variable}: the path has quotation marks or a line break around it"
        raise ConfigError(words, hint="Write it without them.")
    return Path(text) if text else None


def _current_folder(cwd: Path | None, *named: Path | None) -> Path:
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


def _default_db() -> Path:
    try:
        path = platformdirs.user_state_path("mcimport")
    except RuntimeError:  # no HOME, and no entry in the user database
        path = Path()
    if not path.is_absolute():  # a user without a home, as in some containers: the folder would be called "~"
        raise ConfigError("this user has no state directory", hint="Name the state file: --db PATH or MCIMPORT_DB.")
    return path / "mcimport.db"


def _shown_path(path: Path, here: Path) -> str:
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


# The file ------------------------------------------------------------------------------------------------------------


def _find(named: Path | None, here: Path) -> Path | None:
    if named:
        return here / named
    for path in (here / FILE_NAME, platformdirs.user_config_path("mcimport") / FILE_NAME):
        with suppress(OSError):  # missing, or in an unreadable folder: the environment may be enough
            # Not `stat`: a broken link is a mistake, reported when the file is read.
            check_owner(_shown_path(path, here), path.lstat().st_uid)
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


def _read(path: Path, name: str) -> Mapping[str, Any]:
    text: str | None = None
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors put a byte-order mark first
    except OSError as error:
        denied = explain(error, path)
        raise ConfigError(f"{name}: cannot be read: {denied.reason}", hint=denied.fix or _NO_CLIENT_HINT) from None
    except UnicodeDecodeError:
        pass  # it holds the whole file, with its keys, and would be chained to what is raised here
    if text is None:
        raise ConfigError(f"{name}: is not UTF-8 text")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{name}: brackets are nested too deeply") from None
    except ValueError as error:  # not only TOMLDecodeError: int refuses a number of 5,000 digits
        raise ConfigError(f"{name}: {_syntax(str(error), text)}") from None


def _syntax(message: str, text: str) -> str:
    """Returns tomllib's message with the position first; tomllib gives no numbers for the end of the file."""
    found = _POSITION.search(message)
    if not found:
        return "cannot be read as TOML"
    last = text.split("\n")
    line, column = found[1] or len(last), found[2] or len(last[-1]) + 1
    return f"line {line}, column {column}: {_POSITION.sub('', message)}"


def _validate(document: Mapping[str, Any], context: _Context) -> File:
    file = validate(document)
    if isinstance(file, list):
        raise config_error(context.file, file)
    return file.model_copy(
        update={"mailchimp": _with_url(file.mailchimp, context), "ometria": _with_url(file.ometria, context)}
    )


def _with_url(table: Service, context: _Context) -> Service:
    """Returns the table with the base address by which the environment replaces all others, if it does."""
    variable = f"MCIMPORT_{type(table).__name__.removesuffix('Settings').upper()}_URL"
    try:
        url = base_address(context.environ[variable]) if context.environ.get(variable) else table.url
        if url == table.url:
            return table
        require_https(url, allow_http=table.allow_http)
    except ValueError as error:
        raise ConfigError(f"{variable}: {error}") from None
    return table.model_copy(update={"url": url})


def _overlay(table: AnyTable, overrides: AnyTable) -> AnyTable:
    """Returns the table with the settings that `overrides` sets; the same object where it sets none.

    So a thousand clients share one table.
    """
    update = {name: getattr(overrides, name) for name in overrides.model_fields_set}
    return table.model_copy(update=update) if update else table


# The clients ---------------------------------------------------------------------------------------------------------


def _clients(file: File, context: _Context) -> list[Client]:
    clients = [_from_table(name, table, file, context) for name, table in file.clients.items()]
    clients = clients or [_from_environment(file, context)]
    if wrong := cross_check(file, clients):
        raise config_error(context.file, wrong)
    return clients


def _from_environment(file: File, context: _Context) -> Client:
    if not (context.environ.get(_MAILCHIMP_KEY) or context.environ.get(_OMETRIA_KEY)):
        raise ConfigError(
            f"{context.file}: no client is configured" if context.file else "no configuration found",
            hint=_NO_CLIENT_HINT,
        )
    table = ClientTable.model_construct(
        lists=[], mailchimp_api_key=SecretStr(f"env:{_MAILCHIMP_KEY}"), ometria_api_key=SecretStr(f"env:{_OMETRIA_KEY}")
    )
    return replace(_from_table("default", table, file, context), any_list=True)


def _from_table(name: str, table: ClientTable, file: File, context: _Context) -> Client:
    notify = _overlay(file.notify, table.notify)
    healthcheck = notify if "healthcheck_url" in table.notify.model_fields_set else Notify()
    return Client(
        name=name,
        lists=tuple(table.lists),
        any_list=False,
        mailchimp=_with_url(_overlay(file.mailchimp, table.mailchimp), context),
        ometria=_with_url(_overlay(file.ometria, table.ometria), context),
        retry=_overlay(file.retry, table.retry),
        reconcile=_overlay(file.reconcile, table.reconcile),
        consent=_overlay(file.consent, table.consent),
        fields=MappingProxyType(merge_fields(file.fields, table.fields) if table.fields else file.fields),
        mailchimp_source=context.key(name, "mailchimp_api_key", table.mailchimp_api_key),
        ometria_source=context.key(name, "ometria_api_key", table.ometria_api_key),
        overdue=notify.overdue,
        healthcheck_source=_notify_url_source(name, "healthcheck_url", healthcheck, context),
        webhook_source=_notify_url_source(name, "webhook_url", notify, context),
    )


def _notify_url_source(client: str, setting: str, table: Notify, context: _Context) -> NotifyUrlSource | None:
    spec = getattr(table, setting)
    if spec is None:
        return None
    name = f"{setting} of {client}" if client else setting
    return NotifyUrlSource(context.key(client, setting, spec), name, table.allow_http)
