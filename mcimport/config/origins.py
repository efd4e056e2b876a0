"""Says of every setting what is in force and where it comes from, even where the file is broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from msgspec import Struct
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from mcimport.config import variables
from mcimport.config.addresses import base_address
from mcimport.config.file_lines import Located, locate
from mcimport.config.keys import KeySource
from mcimport.config.load import has_keys, load, read_text
from mcimport.config.masked import masked_source, masked_value
from mcimport.config.messages import place, validate
from mcimport.config.places import current_folder, find_file, named_path
from mcimport.config.schema import ClientTable, Duration, File, Shared, Table, duration_text
from mcimport.config.searched import Place, config_places, db_places
from mcimport.config.settings import OMETRIA_URL
from mcimport.errors import ConfigError

Source = Literal["default", "file", "environment", "option"]

NOT_USABLE = "not usable"
_URLS = {"mailchimp": variables.MAILCHIMP_URL, "ometria": variables.OMETRIA_URL}
# What holds where a setting is left out, and its default is none.
_WITHOUT: Mapping[tuple[str, ...], str] = {
    ("mailchimp", "url"): "https://DATA-CENTRE.api.mailchimp.com/3.0, with the data centre of the key",
    ("ometria", "url"): OMETRIA_URL,
    ("consent", "cleaned"): '"out"',
    ("consent", "archived"): '"out"',
    ("consent", "pending"): '"unspecified"',
    ("consent", "transactional"): '"unspecified"',
    ("notify", "overdue"): "three missed rounds",
}


class Setting(Struct, frozen=True, kw_only=True):
    """Holds one setting in force.

    Attributes:
        client: whose own setting it is; empty for one that all clients share.
        name: as in messages: `[ometria] batch`, `[clients.acme.ometria] batch`.
        key: the same for a client's own setting as for the shared one that it replaces.
        value: as TOML writes it; of a secret, where it is; in words, where there is none.
        line: in the file; None for a source that is no file.
        variable: the environment variable that it comes from; empty for another source.
        problem: why it cannot be used; empty where it can.
    """

    client: str = ""
    name: str
    key: tuple[str, ...]
    value: str
    source: Source = "default"
    line: int | None = None
    variable: str = ""
    problem: str = ""


class Origins(Struct, frozen=True):
    """Holds all settings, and how they were found.

    Attributes:
        config: where the configuration was looked for, in order; the same for the state file in `db`.
        clients: the settings that are each client's own.
        error: why no command would work with these settings.
        references: the variables to which the file refers as `env:NAME`.
    """

    config: tuple[Place, ...]
    db: tuple[Place, ...]
    shared: tuple[Setting, ...]
    clients: Mapping[str, tuple[Setting, ...]]
    error: ConfigError | None
    references: frozenset[str]

    @property
    def path(self) -> Path | None:
        """The configuration file; None where there is none."""
        return next((found.taken for found in self.config if found.taken), None)

    def merged(self, client: str) -> list[Setting]:
        """Returns every setting in force for a client: its own, and the shared ones that they do not replace."""
        own = {setting.key: setting for setting in self.clients[client]}
        of_tables = [own.pop(setting.key, setting) for setting in self.shared]
        return [*own.values(), *of_tables]


def find_origins(
    *, config: Path | None, db: Path | None, environ: Mapping[str, str], cwd: Path | None = None
) -> Origins:
    """Returns what `load` takes from these options and variables, and why. It raises nothing: see `error`."""
    error: ConfigError | None = None
    try:
        load(config=config, db=db, environ=environ, cwd=cwd)
    except ConfigError as raised:
        error = raised
    here, path = _find(config, environ, cwd)
    located = locate(_text(path))
    reader = _Reader(located, _problems(located), environ, path.parent if path else here)
    return Origins(
        config=tuple(config_places(config, environ, here, path)),
        db=tuple(db_places(db, environ, here)),
        shared=tuple(reader.shared()),
        clients={name: tuple(reader.own(name)) for name in reader.client_names()},
        error=error,
        references=frozenset(_references(located.document)),
    )


# ---- files


def _find(config: Path | None, environ: Mapping[str, str], cwd: Path | None) -> tuple[Path, Path | None]:
    """Returns the current folder, and the configuration file; None where it is missing or not to be read."""
    here = current_folder(cwd)
    try:
        return here, find_file(named_path(config, environ, "--config", variables.CONFIG), here)
    except ConfigError:
        return here, None


def _text(path: Path | None) -> str:
    try:
        return read_text(path, "") if path else ""
    except ConfigError:
        return ""


# ---- settings


def _problems(located: Located) -> Sequence[str]:
    found = validate(located.document)
    return found if isinstance(found, list) else ()


def _references(value: Any) -> Iterator[str]:
    """Yields each NAME that stands as `env:NAME` in the file."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, str) and value[:4].lower() == "env:":
        yield value[4:]


class _Reader(Struct, frozen=True):
    """Reads the settings of a file. `folder`: what paths behind `file:` are relative to."""

    located: Located
    problems: Sequence[str]
    environ: Mapping[str, str]
    folder: Path

    def client_names(self) -> list[str]:
        names = [name for name, table in _table(self.located.document, "clients").items() if isinstance(table, dict)]
        return names or (["default"] if has_keys(self.environ) else [])

    def shared(self) -> Iterator[Setting]:
        """Yields every setting that all clients share, with its default where nothing sets it."""
        for table, model in _models(File).items():
            for name, field in model.model_fields.items():
                yield self._of_environment(table, name) or self._read((table, name), field)
        for tag in _table(self.located.document, "fields"):
            yield self._read(("fields", tag), None)
        log_format = self.environ.get(variables.LOG_FORMAT)
        yield Setting(
            name="--log-format",
            key=("log_format",),
            value=masked_value(log_format or "text", is_address=False),
            source="environment" if log_format else "default",
            variable=variables.LOG_FORMAT if log_format else "",
        )

    def own(self, client: str) -> Iterator[Setting]:
        """Yields the settings that are a client's own."""
        clients = _table(self.located.document, "clients")
        if client not in clients:
            yield from self._own_of_environment(client)
            return
        document = _table(clients, client)
        for name, field in ClientTable.model_fields.items():
            if name not in Shared.model_fields:
                yield self._read(("clients", client, name), field)
        for table, model in _models(Shared).items():
            for name in _table(document, table):
                if name in model.model_fields and not self._of_environment(table, name):
                    yield self._read(("clients", client, table, name), model.model_fields[name])
        for tag in _table(document, "fields"):
            yield self._read(("clients", client, "fields", tag), None)

    def _read(self, path: tuple[str, ...], field: FieldInfo | None) -> Setting:
        """Returns the setting at a path of the file; where it is left out, its default."""
        client = path[1] if path[0] == "clients" else ""
        key = path[2:] if client else path
        key = ("fields", key[1].upper()) if key[0] == "fields" else key  # merge tags ignore case
        name, problem = place(*path), self._problem(path)
        raw = _at(self.located.document, path)
        if raw is None and problem:
            return Setting(client=client, name=name, key=key, value="missing", problem=problem)
        if raw is None and field is not None:
            return Setting(client=client, name=name, key=key, value=self._default(key, field))
        is_secret = field is not None and _is_secret(field.annotation)
        value = NOT_USABLE
        if not problem:
            value = self._secret(raw) if is_secret else masked_value(raw, is_address=path[-1] == "url")
        line = self.located.lines.get(path)
        return Setting(client=client, name=name, key=key, value=value, source="file", line=line, problem=problem)

    def _problem(self, path: tuple[str, ...]) -> str:
        """Returns what is wrong with the setting, or with one entry of it."""
        name = place(*path)
        for line in self.problems:
            if line.startswith((f"{name}: ", f"{name}, entry ")):
                return line.removeprefix(name).lstrip(":, ")
        return ""

    def _default(self, key: tuple[str, ...], field: FieldInfo) -> str:
        default = field.default
        if isinstance(default, SecretStr):
            return self._secret(default.get_secret_value())
        if default is None:
            return _WITHOUT.get(key, "none")
        if isinstance(default, tuple):
            return masked_value(default[0] if len(default) == 1 else list(default), is_address=False)
        return masked_value(duration_text(default) if _is_duration(field) else default, is_address=False)

    def _secret(self, spec: str) -> str:
        return masked_source(KeySource("", SecretStr(spec), self.folder, self.environ))

    def _of_environment(self, table: str, name: str) -> Setting | None:
        """Returns the base address by which the environment replaces all others."""
        variable = _URLS.get(table, "")
        text = self.environ.get(variable) if name == "url" else None
        if not text:
            return None
        try:
            value, problem = masked_value(base_address(text), is_address=True), ""
        except ValueError as error:
            value, problem = NOT_USABLE, str(error)
        return Setting(
            name=place(table, name),
            key=(table, name),
            value=value,
            source="environment",
            variable=variable,
            problem=problem,
        )

    def _own_of_environment(self, client: str) -> Iterator[Setting]:
        """Yields the settings of the client that two variables make."""
        yield Setting(client=client, name="lists", key=("lists",), value="any list that is typed")
        for name, variable in (
            ("mailchimp_api_key", variables.MAILCHIMP_API_KEY),
            ("ometria_api_key", variables.OMETRIA_API_KEY),
        ):
            value = self._secret(f"env:{variable}")
            yield Setting(client=client, name=name, key=(name,), value=value, source="environment", variable=variable)


def _models(model: type[Table]) -> dict[str, type[Table]]:
    """Returns the tables of a model, by name."""
    fields = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: found for name, found in fields.items() if isinstance(found, type) and issubclass(found, Table)}


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _at(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for name in path[:-1]:
        document = _table(document, name)
    return document.get(path[-1])


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def _is_duration(field: FieldInfo) -> bool:
    return any(part in field.metadata for part in get_args(Duration)[1:])
