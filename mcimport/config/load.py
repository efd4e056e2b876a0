"""Finds the configuration and turns it into settings."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import platformdirs
from pydantic import SecretStr

from mcimport.config.addresses import base_address, require_https
from mcimport.config.cross_checks import cross_check, merge_fields
from mcimport.config.engine import EngineSettings
from mcimport.config.keys import KeySource
from mcimport.config.messages import config_error, problems
from mcimport.config.notify_urls import NoticeSource
from mcimport.config.schema import (
    ClientTable,
    File,
    MailchimpSettings,
    Notify,
    OmetriaSettings,
    Table,
    seconds,
)
from mcimport.config.settings import Client, Settings
from mcimport.errors import ConfigError

FILE_NAME = "mcimport.toml"
_MAILCHIMP_KEY = "MCIMPORT_MAILCHIMP_API_KEY"
_OMETRIA_KEY = "MCIMPORT_OMETRIA_API_KEY"
_NO_CLIENT_HINT = f"Run `mcimport init`, or set {_MAILCHIMP_KEY} and {_OMETRIA_KEY}."
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

AnyTable = TypeVar("AnyTable", bound=Table)
Service = TypeVar("Service", MailchimpSettings, OmetriaSettings)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What stands around the file.

    Attributes:
        folder: where the paths behind `file:` begin.
        file: how the file is called in messages; empty without one.
        mailchimp_url, ometria_url: the base addresses that the environment puts in place of all others.
    """

    environ: Mapping[str, str]
    folder: Path
    file: str
    mailchimp_url: str | None
    ometria_url: str | None


def load(
    *,
    config: Path | None = None,
    db: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """The settings: from a flag, else the environment, else a file, else the defaults.

    The file is `config`, else `MCIMPORT_CONFIG` (either must exist), else `mcimport.toml` in `cwd`, else in the
    user's configuration directory. The state file is `db`, else `MCIMPORT_DB`, else in the user's state directory.
    An empty variable is none. Relative paths begin at `cwd`, those behind `file:` at the file's own folder.

    `MCIMPORT_MAILCHIMP_API_KEY` and `MCIMPORT_OMETRIA_API_KEY` make one client, `default`, which takes any list:
    only without a file, or with one that names no client. `MCIMPORT_MAILCHIMP_URL` and `MCIMPORT_OMETRIA_URL`
    replace the base addresses of every client.

    Raises ConfigError, with what to type next in its hint, for whatever is wrong with the file as a whole. A key
    that is not there is no such thing: its client raises when it is asked for it.
    """
    config, db = config or _path(environ, "MCIMPORT_CONFIG"), db or _path(environ, "MCIMPORT_DB")
    _check_unquoted(config, "--config, or MCIMPORT_CONFIG")
    _check_unquoted(db, "--db, or MCIMPORT_DB")
    here = _here(cwd, config, db)
    path, document = _find(config, here)
    around = _Surroundings(
        environ=environ,
        folder=path.parent if path else here,
        file=_shown_path(path, here) if path else "",
        mailchimp_url=_address(environ, "MCIMPORT_MAILCHIMP_URL"),
        ometria_url=_address(environ, "MCIMPORT_OMETRIA_URL"),
    )
    file = _checked(document, around)
    return Settings(
        config_path=path,
        db_path=here / (db or _default_db()),
        clients=MappingProxyType({client.name: client for client in _clients(file, around)}),
        keep=seconds(file.state.keep),
        metrics_path=around.folder / Path(file.metrics.textfile).expanduser() if file.metrics.textfile else None,
        healthcheck_source=_notice_source("", "healthcheck_url", file.notify, around),
        engine=EngineSettings(
            file.engine.kind,
            KeySource("", "[engine] broker", file.engine.broker, around.folder, environ),
            file.engine.allow_plain,
        ),
    )


def _path(environ: Mapping[str, str], variable: str) -> Path | None:
    value = environ.get(variable)
    return Path(value) if value else None


def _check_unquoted(path: Path | None, name: str) -> None:
    """Files of variables, as for `docker run --env-file`, keep what a shell would take off."""
    text = str(path or "")
    if text != text.strip("\"'\r\n"):
        raise ConfigError(
            f"{name}: the path has quotation marks or a line break around it", hint="Write it without them."
        )


def _here(cwd: Path | None, *named: Path | None) -> Path:
    """The current folder, which may be gone; then every path has to be absolute."""
    try:
        return (cwd or Path()).absolute()
    except FileNotFoundError:
        if all(path is not None and path.is_absolute() for path in named):
            return Path("/")
        raise ConfigError(
            "the current folder no longer exists",
            hint="Change to another one, or give absolute paths: --config, --db.",
        ) from None


def _address(environ: Mapping[str, str], variable: str) -> str | None:
    try:
        return base_address(environ[variable]) if environ.get(variable) else None
    except ValueError as error:
        raise ConfigError(f"{variable}: {error}") from None


def _default_db() -> Path:
    try:
        path = platformdirs.user_state_path("mcimport")
    except RuntimeError:  # neither a home nor an entry of its own among the users
        path = Path()
    if not path.is_absolute():  # a user without a home, as in some containers: it would land in a folder called "~"
        raise ConfigError("this user has no state directory", hint="Name the state file: --db PATH or MCIMPORT_DB.")
    return path / "mcimport.db"


def _shown_path(path: Path, here: Path) -> str:
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


# The file ------------------------------------------------------------------------------------------------------------


def _find(named: Path | None, here: Path) -> tuple[Path | None, Mapping[str, Any]]:
    if named:
        return here / named, _read(here / named, _shown_path(here / named, here))
    for path in (here / FILE_NAME, platformdirs.user_config_path("mcimport") / FILE_NAME):
        with suppress(OSError):  # not there, or in a folder where we cannot look: the environment may be enough
            owner = path.lstat().st_uid  # not `stat`: a link that leads nowhere is a mistake to be told
            break
    else:
        return None, {}
    check_owner(_shown_path(path, here), owner)
    return path, _read(path, _shown_path(path, here))


def check_owner(name: str, owner: int) -> None:
    """Of a file that was only found: it says where keys go. As ssh and git have it."""
    if hasattr(os, "geteuid") and owner not in (0, os.geteuid()):
        raise ConfigError(
            f"{name}: belongs neither to this user nor to root, so it is not read",
            hint=f"If it is the right one: `chown $(id -un) {name}`, or name it with --config.",
        )


def _read(path: Path, name: str) -> Mapping[str, Any]:
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}", hint=_NO_CLIENT_HINT) from None
    if text is None:
        raise ConfigError(f"{name}: is not UTF-8 text")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{name}: brackets are nested too deeply") from None
    except ValueError as error:  # more than TOMLDecodeError: a number of 5,000 digits is refused by int itself
        raise ConfigError(f"{name}: {_syntax(str(error), text)}") from None


def _decoded(content: bytes) -> str | None:
    """None rather than UnicodeDecodeError, which carries the whole file, keys and all, wherever it is chained."""
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a mark of their own
    except UnicodeDecodeError:
        return None


def _syntax(message: str, text: str) -> str:
    """Tomllib puts the position last, and calls that of the end by no number."""
    found = _POSITION.search(message)
    if not found:
        return "cannot be read as TOML"
    last = text.split("\n")
    line, column = found[1] or len(last), found[2] or len(last[-1]) + 1
    return f"line {line}, column {column}: {_POSITION.sub('', message)}"


def _checked(document: Mapping[str, Any], around: _Surroundings) -> File:
    file = problems(document)
    if isinstance(file, list):
        raise config_error(around.file, file)
    return file.model_copy(
        update={
            "mailchimp": _directed(file.mailchimp, around.mailchimp_url),
            "ometria": _directed(file.ometria, around.ometria_url),
        }
    )


def _directed(table: Service, url: str | None) -> Service:
    if url is None or table.url == url:
        return table
    try:
        require_https(url, allow_http=table.allow_http)
    except ValueError as error:
        raise ConfigError(f"MCIMPORT_{type(table).__name__.removesuffix('Settings').upper()}_URL: {error}") from None
    return table.model_copy(update={"url": url})


def _overlaid(table: AnyTable, over: AnyTable) -> AnyTable:
    """Key over key; the very same table where nothing is written over it, so that a thousand clients share one."""
    update = {name: getattr(over, name) for name in over.model_fields_set}
    return table.model_copy(update=update) if update else table


# The clients ---------------------------------------------------------------------------------------------------------


def _clients(file: File, around: _Surroundings) -> list[Client]:
    if not file.clients:
        return [_from_environment(file, around)]
    clients = [_from_table(name, table, file, around) for name, table in file.clients.items()]
    if wrong := cross_check(file, clients):
        raise config_error(around.file, wrong)
    return clients


def _from_environment(file: File, around: _Surroundings) -> Client:
    if not (around.environ.get(_MAILCHIMP_KEY) or around.environ.get(_OMETRIA_KEY)):
        raise ConfigError(
            f"{around.file}: no client is configured" if around.file else "no configuration found", hint=_NO_CLIENT_HINT
        )
    if wrong := cross_check(file, []):
        raise config_error(around.file, wrong)
    table = ClientTable.model_construct(
        lists=[], mailchimp_api_key=SecretStr(f"env:{_MAILCHIMP_KEY}"), ometria_api_key=SecretStr(f"env:{_OMETRIA_KEY}")
    )
    return replace(_from_table("default", table, file, around), any_list=True)


def _from_table(name: str, table: ClientTable, file: File, around: _Surroundings) -> Client:
    def source(setting: str, spec: SecretStr) -> KeySource:
        return KeySource(client=name, setting=setting, spec=spec, folder=around.folder, environ=around.environ)

    notify, consent = _overlaid(file.notify, table.notify), _overlaid(file.consent, table.consent)
    own = notify if "healthcheck_url" in table.notify.model_fields_set else Notify()
    return Client(
        name=name,
        lists=tuple(table.lists),
        any_list=False,
        mailchimp=_directed(_overlaid(file.mailchimp, table.mailchimp), around.mailchimp_url),
        ometria=_directed(_overlaid(file.ometria, table.ometria), around.ometria_url),
        retry=_overlaid(file.retry, table.retry),
        reconcile=_overlaid(file.reconcile, table.reconcile),
        consent=MappingProxyType(consent.statuses),
        permission=consent.permission,
        without_permission=consent.without_permission,
        fields=MappingProxyType(merge_fields(file.fields, table.fields) if table.fields else file.fields),
        mailchimp_source=source("mailchimp_api_key", table.mailchimp_api_key),
        ometria_source=source("ometria_api_key", table.ometria_api_key),
        overdue=seconds(notify.overdue),
        healthcheck_source=_notice_source(name, "healthcheck_url", own, around),
        webhook_source=_notice_source(name, "webhook_url", notify, around),
    )


def _notice_source(client: str, setting: str, table: Notify, around: _Surroundings) -> NoticeSource | None:
    spec = getattr(table, setting)
    if spec is None:
        return None
    key = KeySource(client=client, setting=setting, spec=spec, folder=around.folder, environ=around.environ)
    name = f"{setting} of {client}" if client else setting
    return NoticeSource(key, name, table.allow_http)
