"""Finds the configuration and turns it into settings."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from pydantic import SecretStr

from mcimport.config import variables
from mcimport.config.addresses import EngineSettings, NotifyUrlSource, base_address, require_https
from mcimport.config.cross_checks import cross_check, merge_fields
from mcimport.config.keys import KeySource
from mcimport.config.messages import config_error, place, validate
from mcimport.config.places import current_folder, default_db, find_file, named_path, shown_path
from mcimport.config.schema import ClientTable, File, MailchimpSettings, Notify, OmetriaSettings, Table
from mcimport.config.settings import Client, Settings
from mcimport.errors import ConfigError
from mcimport.errors.ownership import explain

_BOTH_KEYS = f"set {variables.MAILCHIMP_API_KEY} and {variables.OMETRIA_API_KEY}"
_NO_FILE_HINT = f"Run `mcimport init`, name a file with --config or {variables.CONFIG}, or {_BOTH_KEYS}."
_NAMED_FILE_HINT = f"Is the path in --config or {variables.CONFIG} right? `mcimport init PATH` writes a new file."
_NO_CLIENT_HINT = f"Add one with `mcimport init --add`, or {_BOTH_KEYS}."
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
    config = named_path(config, environ, "--config", variables.CONFIG)
    db = named_path(db, environ, "--db", variables.DB)
    here = current_folder(cwd, config, db)
    path = find_file(config, here)
    hint = _NAMED_FILE_HINT if config else _NO_FILE_HINT
    context = _Context(environ, path.parent if path else here, shown_path(path, here) if path else "")
    file = _validate(parse_text(read_text(path, context.file, hint), context.file) if path else {}, context)
    return Settings(
        config_path=path,
        db_path=here / (db or default_db()),
        clients=MappingProxyType({client.name: client for client in _clients(file, context)}),
        keep=file.state.keep,
        metrics_path=context.folder / Path(file.metrics.textfile).expanduser() if file.metrics.textfile else None,
        healthcheck_source=_notify_url_source("", "healthcheck_url", file.notify, context),
        engine=EngineSettings(
            file.engine.kind, context.key("", "[engine] broker", file.engine.broker), file.engine.allow_plain
        ),
    )


def state_file(*, db: Path | None = None, environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Path:
    """Returns the path of the state file, as `load` finds it, without the settings. Raises ConfigError."""
    named = named_path(db, environ, "--db", variables.DB)
    return current_folder(cwd, named) / (named or default_db())


# The file ------------------------------------------------------------------------------------------------------------


def read_text(path: Path, name: str, hint: str = _NO_FILE_HINT) -> str:
    """Returns the text of the file. Raises ConfigError, which calls it `name`, where it cannot be read as text.

    `hint`: what to do where neither the file's owner nor its mode is the reason.
    """
    text: str | None = None
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors put a byte-order mark first
    except OSError as error:
        denied = explain(error, path)
        raise ConfigError(f"{name}: cannot be read: {denied.reason}", hint=denied.fix or hint) from None
    except UnicodeDecodeError:
        pass  # it holds the whole file, with its keys, and would be chained to what is raised here
    if text is None:
        raise ConfigError(f"{name}: is not UTF-8 text")
    return text


def parse_text(text: str, name: str) -> dict[str, Any]:
    """Returns the document. Raises ConfigError, which names the line, where the text is no TOML."""
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
    variable = variables.MAILCHIMP_URL if isinstance(table, MailchimpSettings) else variables.OMETRIA_URL
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


def has_keys(environ: Mapping[str, str]) -> bool:
    """Returns whether the environment makes a client of its own, where the file names none."""
    return bool(environ.get(variables.MAILCHIMP_API_KEY) or environ.get(variables.OMETRIA_API_KEY))


def _from_environment(file: File, context: _Context) -> Client:
    if not has_keys(context.environ):
        raise ConfigError(
            f"{context.file}: no client is configured" if context.file else "no configuration found",
            hint=_NO_CLIENT_HINT if context.file else _NO_FILE_HINT,
        )
    table = ClientTable.model_construct(
        lists=[],
        mailchimp_api_key=SecretStr(f"env:{variables.MAILCHIMP_API_KEY}"),
        ometria_api_key=SecretStr(f"env:{variables.OMETRIA_API_KEY}"),
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
        set_at=MappingProxyType(dict(_set_at(name, table, file, context))),
        overdue=notify.overdue,
        healthcheck_source=_notify_url_source(name, "healthcheck_url", healthcheck, context),
        webhook_source=_notify_url_source(name, "webhook_url", notify, context),
    )


def _set_at(name: str, table: ClientTable, file: File, context: _Context) -> Iterator[tuple[str, str]]:
    """Yields what becomes `Client.set_at`."""
    of_file = f"`ometria_api_key` in {place('clients', name)}"
    yield "ometria_key", of_file if file.clients else variables.OMETRIA_API_KEY
    for service, variable, own, shared in (
        ("mailchimp", variables.MAILCHIMP_URL, table.mailchimp, file.mailchimp),
        ("ometria", variables.OMETRIA_URL, table.ometria, file.ometria),
    ):
        if context.environ.get(variable):
            yield f"{service}_url", variable
        elif own.url:
            yield f"{service}_url", f"`url` in {place('clients', name, service)}"
        elif shared.url:
            yield f"{service}_url", f"`url` in {place(service)}"


def _notify_url_source(client: str, setting: str, table: Notify, context: _Context) -> NotifyUrlSource | None:
    spec = getattr(table, setting)
    if spec is None:
        return None
    name = f"{setting} of {client}" if client else setting
    return NotifyUrlSource(context.key(client, setting, spec), name, table.allow_http)
