"""Checks everything but the two services: configuration, environment variables, state file, and the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mcimport.config import Client, Settings, misspelt, referenced_variables, variables
from mcimport.errors import ConfigError, McimportError, StateError
from mcimport.errors.machine import require_extra
from mcimport.errors.ownership import USE, explain, owner_for_root
from mcimport.monitoring.check.finding import Finding, error_finding
from mcimport.report.format import pluralize
from mcimport.state import check_folder, check_state_file

if TYPE_CHECKING:
    from mcimport.engine.distributed.broker import BrokerStatus

ADDRESSES: Mapping[str, str] = {
    variables.MAILCHIMP_URL: "it replaces Mailchimp's address for every client",
    variables.OMETRIA_URL: "it replaces Ometria's address for every client",
}
KEYS = (variables.MAILCHIMP_API_KEY, variables.OMETRIA_API_KEY)
CLIENTS_NAMED = 5
SHARED_ACCOUNT = (
    "All their members go to one Ometria account. If that is a mistake, correct `ometria_api_key`;"
    " if not, give them the same `account` in [ometria], and this note goes."
)
ANOTHER = "Name another with --db or MCIMPORT_DB, or fix the permissions of its folder."


def configuration(settings: Settings) -> Finding:
    lists = sum(len(client.lists) for client in settings.clients.values())
    clients = pluralize(len(settings.clients), "client")
    where = settings.config_path or "from the environment"
    any_list = any(client.any_list for client in settings.clients.values())
    what = "any list" if any_list else pluralize(lists, "list")
    return Finding("", "configuration", "good", f"{where}: {clients}, {what}")


def environment(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yields the variables that are set, each with its effect, and misspelt ones.

    A forgotten one may lead to another account, and what a misspelt one is to set has its default.
    """
    for name, effect in _effects(settings, environ).items():
        if environ.get(name):
            yield Finding("", "environment", "note", f"{name} is set: {effect}")
    for words in misspelt(environ, referenced_variables(settings)):
        yield Finding("", "environment", "note", words, "Rename it, or unset it.")


def _effects(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, str]:
    is_whole = any(client.any_list for client in settings.clients.values())
    of_keys = "it is the client's key" if is_whole else "it is not used, because the file names its clients"
    of_config = _named(environ.get(variables.CONFIG), settings.config_path, "configuration file", "--config")
    of_db = _named(environ.get(variables.DB), settings.db_path, "state file", "--db")
    return {variables.CONFIG: of_config, variables.DB: of_db, **ADDRESSES, **dict.fromkeys(KEYS, of_keys)}


def _named(value: str | None, used: Path | None, what: str, option: str) -> str:
    is_used = value is not None and used is not None and Path(value).absolute() == used.absolute()
    return f"it names the {what}" if is_used else f"it is not used, because {option} names another {what}"


def shared_accounts(settings: Settings, clients: Collection[Client]) -> Iterator[Finding]:
    """Yields a note for clients with the same Ometria key, where one of `clients` is among them.

    It may be a line that was copied and forgotten. Clients that name one `account` have said that they share it.
    """
    sharing: defaultdict[tuple[str, str], list[Client]] = defaultdict(list)
    for client in settings.clients.values():
        with suppress(ConfigError):
            sharing[client.ometria_access()].append(client)
    for group in sharing.values():
        is_meant = len({client.ometria.account or client.name for client in group}) == 1
        if not is_meant and any(client in clients for client in group):
            rest = f" and {len(group) - CLIENTS_NAMED} more" if len(group) > CLIENTS_NAMED else ""
            names = ", ".join(client.name for client in group[:CLIENTS_NAMED])
            words = f"the same key for {pluralize(len(group), 'client')}: {names}{rest}"
            yield Finding("", "Ometria account", "note", words, SHARED_ACCOUNT)


def state_file(path: Path) -> Finding:
    try:
        if not path.exists():
            check_folder(next(parent for parent in path.parents if parent.exists()))
            return Finding("", "state file", "good", f"{path} will be created by the first sync")
        check_state_file(path)
        check_folder(path.parent)  # the lock of a client is a file beside it
        size = sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists())
        return Finding("", "state file", "good", f"{path}, healthy, {_size(size)}")
    except StateError as error:
        return error_finding("", "state file", error)
    except OSError as error:
        denied = explain(error, path, USE)
        return Finding("", "state file", "bad", f"{path} cannot be read: {denied.reason}", denied.fix or ANOTHER)


def run_by_root(path: Path) -> Iterator[Finding]:
    """Yields a note where root looks at the state file of another user."""
    owner = owner_for_root(path)
    if owner is not None:
        words = f"its folder belongs to {owner}, and this is root"
        fix = f"Run mcimport as that user: `runuser -u {owner} -- mcimport`. Files that root makes are closed to it."
        yield Finding("", "state file", "note", words, fix)


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.0f} KB"  # noqa: PLR2004 - a tenth of a MB


def engine(settings: Settings, *, offline: bool) -> Iterator[Finding]:
    """Yields the findings on Celery; nothing where the threads of this process do the work."""
    if settings.engine.kind != "celery":
        return
    try:
        require_extra("celery", "celery", "celery")
    except ConfigError as error:
        yield error_finding("", "engine", error)
        return
    try:
        address = settings.engine.broker()
        if offline:
            yield Finding("", "broker", "good", "address set (not tested, because of --offline)")
            return
        from mcimport.engine.distributed import broker  # noqa: PLC0415 - an extra

        yield from _broker(broker.inspect(address, settings.db_path, settings.clients))
    except McimportError as error:
        yield error_finding("", "broker", error)


def _broker(status: BrokerStatus) -> Iterator[Finding]:
    yield Finding("", "broker", "good", f"reachable: {status.words}")
    if not status.with_worker:
        yield Finding("", "workers", "bad", "no worker is running", "Start `mcimport worker` with this broker.")
    elif status.with_worker < status.queues:
        words = f"{status.queues - status.with_worker} of {status.queues} queues have no worker yet"
        yield Finding("", "workers", "note", words, "A worker that has just started takes them within seconds.")
    if status.dead:
        words = f"{pluralize(status.dead, 'message')} rejected by a worker"
        yield Finding("", "dead-letter queues", "note", words, "The next sync of their lists handles them.")
