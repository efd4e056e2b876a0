"""The frozen settings of the program and of each client, and the lists that a command works on."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from pydantic import SecretStr

from mcimport.config.addresses import EngineSettings, NotifyUrlSource
from mcimport.config.keys import KeySource, data_centre
from mcimport.config.messages import did_you_mean, quoted
from mcimport.config.schema import (
    LIST_KEY,
    TEXTING_WORDS,
    Consent,
    MailchimpSettings,
    OmetriaSettings,
    Reconcile,
    Retry,
    expand,
    sends_texts,
)
from mcimport.errors import ConfigError
from mcimport.models import ContactRules

OMETRIA_URL = "https://api.ometria.com/v2"
_NAMES_SHOWN = 10
WHERE_LIST_IDS_ARE = "`mcimport lists` shows them; in Mailchimp it is the Audience ID, in an audience's settings."


class Client(Struct, frozen=True, kw_only=True):
    """Holds one client's settings, everything merged; tables that it does not override are shared with other clients.

    Attributes:
        any_list: the client came from the environment alone: `lists` is empty, and every list that is typed is its own.
        fields: only the merge tags that were configured.
        set_at: where the Ometria key and both addresses are set, in words for messages, by the method that returns it;
            without an address that is the default.
        overdue: seconds after its sync point at which a list is overdue; None: see `state.rhythm`.
        healthcheck_source: the client's own, notified of this client alone.
        webhook_source: the client's own, else the shared one.
    """

    name: str
    lists: tuple[str, ...]
    any_list: bool
    mailchimp: MailchimpSettings
    ometria: OmetriaSettings
    retry: Retry
    reconcile: Reconcile
    consent: Consent
    fields: Mapping[str, str]
    mailchimp_source: KeySource
    ometria_source: KeySource
    set_at: Mapping[str, str]
    overdue: int | None
    healthcheck_source: NotifyUrlSource | None
    webhook_source: NotifyUrlSource | None

    def mailchimp_key(self) -> SecretStr:
        """Returns the key. Raises ConfigError, as `ometria_key` does, where it is missing or cannot be a key."""
        return self.mailchimp_source.read()

    def ometria_key(self) -> SecretStr:
        return self.ometria_source.read()

    def mailchimp_url(self) -> str:
        """Returns the base address with the version: as configured, else of the key's data centre; no slash at its end.

        Raises ConfigError where none is configured and the key names no data centre (OAuth tokens never do).
        """
        if self.mailchimp.url:
            return self.mailchimp.url
        centre = data_centre(self.mailchimp_key())
        if centre is None:
            raise ConfigError(
                f"{self.mailchimp_source.setting}: the key does not end in a data centre (-us6)",
                hint="An OAuth token has none: set url in [mailchimp] to https://DATA-CENTRE.api.mailchimp.com/3.0",
            )
        return f"https://{centre}.api.mailchimp.com/3.0"

    def ometria_url(self) -> str:
        """Returns the base address with the version, without a slash at its end."""
        return self.ometria.url or OMETRIA_URL

    def ometria_access(self) -> tuple[str, str]:
        """Returns key and base address, which identify a destination (`State.destination`). Raises as `ometria_key`."""
        return self.ometria_key().get_secret_value(), self.ometria_url()

    def collection(self, list_key: str) -> str:
        """Returns the list's collection. Raises ConfigError where that is a collection that sends text messages."""
        name = expand(self.ometria.collection, client=self.name, list_key=list_key)
        if sends_texts(name):
            raise ConfigError(f"client {self.name}: the collection for list {list_key}: {TEXTING_WORDS}")
        return name

    def rules(self, list_key: str, new_since: int | None) -> ContactRules:
        """Returns what the conversion of the list's members needs to know. Raises ConfigError as `collection`."""
        return ContactRules(
            list_key=list_key,
            collection=self.collection(list_key),
            fields=self.fields,
            consent=self.consent.statuses,
            permission=self.consent.permission,
            without_permission=self.consent.without_permission,
            subscription_events=self.ometria.subscription_events,
            force_optin=self.ometria.force_optin,
            new_since=new_since,
        )

    def among(self, list_keys: Collection[str]) -> list[str]:
        """Returns which of these lists are this client's, in the order of the file, or as typed without a file."""
        return [key for key in (list_keys if self.any_list else self.lists) if key in list_keys]


class Settings(Struct, frozen=True):
    """Holds the settings of the program. All paths are absolute; the state file's folder may not exist yet.

    Attributes:
        clients: by name, in the order of the file.
        keep: seconds for which the log of runs is kept.
        metrics_path: where Prometheus text is written; None: nowhere.
        healthcheck_source: notified of each call as a whole; None: no address.
        engine: which engine processes windows.
    """

    config_path: Path | None
    db_path: Path
    clients: Mapping[str, Client]
    keep: int
    metrics_path: Path | None
    healthcheck_source: NotifyUrlSource | None
    engine: EngineSettings

    def select(self, list_keys: Sequence[str], client_names: Sequence[str]) -> list[tuple[Client, str]]:
        """Returns the lists that a command works on, each once, in the order of the file; all, where none is named.

        A list that several clients have is returned for each of them. Raises ConfigError for a client that does not
        exist, for a list that none of the clients has, and where no list is named or configured.
        """
        chosen = self.chosen(client_names)
        if not list_keys:
            return _all_lists(chosen)
        keys = [_check_list_key(key, self.clients) for key in dict.fromkeys(list_keys)]
        pairs = [(client, key) for client in chosen for key in client.among(keys)]
        _check_found(keys, pairs, chosen, self.clients.values())
        return pairs

    def chosen(self, names: Sequence[str]) -> list[Client]:
        """Returns these clients in the order of the file; all, where none is named.

        Raises ConfigError for one that does not exist.
        """
        for name in names:
            if name not in self.clients:
                raise ConfigError(
                    f"no client is called {quoted(name)}{did_you_mean(name, self.clients)}",
                    hint=f"Configured: {_shorten(self.clients)}.",
                )
        return [client for client in self.clients.values() if not names or client.name in names]


def _shorten(names: Collection[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(islice(names, _NAMES_SHOWN)) + (f" and {more} more" if more > 0 else "")


def _all_lists(clients: Sequence[Client]) -> list[tuple[Client, str]]:
    if any(client.any_list for client in clients):
        raise ConfigError(
            "no list was given, and none is configured",
            hint="Name one, as in `mcimport sync LIST_KEY`, or write a configuration with `mcimport init`.",
        )
    return [(client, key) for client in clients for key in client.lists]


def _check_list_key(list_key: str, clients: Mapping[str, Client]) -> str:
    if list_key in clients and not any(list_key in client.lists for client in clients.values()):
        own = _shorten(clients[list_key].lists) or "any that you name"
        raise ConfigError(
            f"{list_key} is a client, not a list", hint=f"Its lists: {own}. All of them: --client {list_key}"
        )
    if not LIST_KEY.fullmatch(list_key):  # it may be an address, so the message does not repeat it
        raise ConfigError("not a valid list id: letters and digits only, like 1a2d7ebf82", hint=WHERE_LIST_IDS_ARE)
    return list_key


def _check_found(
    keys: Sequence[str], pairs: Sequence[tuple[Client, str]], chosen: Sequence[Client], everyone: Collection[Client]
) -> None:
    found = {key for _, key in pairs}
    for key in keys:
        if key not in found:
            named = _shorten([client.name for client in chosen])
            who = "no client" if len(chosen) == len(everyone) else f"none of the named clients ({named})"
            owners = [client.name for client in everyone if key in client.lists]
            near = did_you_mean(key, (known for client in chosen for known in client.lists))
            raise ConfigError(
                f"{who} has the list {key}{near}",
                hint=f"It belongs to {_shorten(owners)}."
                if owners
                else f"Add it to the `lists` of a client. {WHERE_LIST_IDS_ARE}",
            )


def with_flags(client: Client, *, workers: int | None, window: int | None) -> Client:
    """Returns the client with `--workers`, which never exceeds the configured connections, and `--window`."""
    update: dict[str, int] = {}
    if workers is not None:
        update["connections"] = min(workers, client.mailchimp.connections)
    if window is not None:
        update["window"] = window
    return replace(client, mailchimp=client.mailchimp.model_copy(update=update)) if update else client


def world_readable_files(settings: Settings) -> list[str]:
    """Returns a line for each file with keys that every user of this machine may read.

    Its group may read it: that is how Kubernetes gives a mounted secret to a user who does not own it.
    """
    sources = list(_sources(settings))
    held: dict[Path, str] = {}
    if settings.config_path and not all(source.is_reference for source in sources):
        held[settings.config_path] = "keys"
    held.update((file, "a key") for source in sources if (file := source.file))
    return [
        f"{path} holds {what}, and every user of this machine can read it: `chmod 600 {path}`"
        for path, what in held.items()
        if _is_world_readable(path)
    ]


def referenced_variables(settings: Settings) -> set[str]:
    """Returns the environment variables that the settings refer to as `env:NAME`."""
    return {source.variable for source in _sources(settings) if source.variable}


def _sources(settings: Settings) -> Iterator[KeySource]:
    urls = [settings.healthcheck_source]
    for client in settings.clients.values():
        yield from (client.mailchimp_source, client.ometria_source)
        urls += [client.healthcheck_source, client.webhook_source]
    yield from (url.key for url in urls if url is not None)
    yield settings.engine.source


def _is_world_readable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
