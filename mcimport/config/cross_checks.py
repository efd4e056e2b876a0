"""Checks between tables and between clients, which no table of the configuration can make alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from mcimport.config.addresses import require_https
from mcimport.config.messages import place, quoted
from mcimport.config.schema import File
from mcimport.config.settings import Client
from mcimport.errors import ConfigError

Item = TypeVar("Item")


def cross_check(file: File, clients: Sequence[Client]) -> list[str]:
    """Returns a line for each problem; empty where there is none.

    Collisions are only looked for where nothing else is wrong, because they need usable collections.
    """
    found = list(_duplicates({}, file.fields, "fields"))
    for name, table in file.clients.items():
        found += _duplicates(file.fields, table.fields, "clients", name, "fields")
    found += [*_plain_addresses(clients), *_similar_names(clients), *_texting_collections(clients)]
    return found or list(_collisions(clients))


def _duplicates(shared: Mapping[str, str], own: Mapping[str, str], *table: str) -> Iterator[str]:
    """Yields a line for each merge tag, and each target, that a table names again, or has from the shared one."""
    for tag, like in _repeated(own, str.upper):
        yield f"{place(*table, tag)}: is the same merge tag as {quoted(like)}, because Mailchimp ignores case"
    merged = merge_fields(shared, own) if own else {}
    for tag, other in _repeated(merged, merged.__getitem__):
        # The line to name is the table's own; two lines of the shared table are named once, for that.
        changed, same = (tag, other) if tag in own else (other, tag)
        if changed in own:
            goes = f'goes to "{own[changed]}", and so does {quoted(same)}'
            yield f'{place(*table, changed)}: {goes}; set one of them to "" to leave it out'


def merge_fields(shared: Mapping[str, str], of_client: Mapping[str, str]) -> dict[str, str]:
    """Returns the shared lines, replaced by those of the client; merge tags ignore case, as in Mailchimp."""
    replaced = {tag.upper() for tag in of_client}
    return {**{tag: target for tag, target in shared.items() if tag.upper() not in replaced}, **of_client}


def _repeated(items: Iterable[Item], key: Callable[[Item], str | None]) -> Iterator[tuple[Item, Item]]:
    """Yields each item with the same key as an earlier item, with that one; items without a key are left out."""
    first: dict[str, Item] = {}
    for item in items:
        value = key(item)
        if value and first.setdefault(value, item) is not item:
            yield item, first[value]


def _similar_names(clients: Sequence[Client]) -> Iterator[str]:
    """Yields a line for names that differ only in case: a client's lock is a file, and file systems may ignore case."""
    for client, other in _repeated(clients, lambda client: client.name.lower()):
        yield f"{place('clients', client.name)}: differs from {other.name} only in upper and lower case"


def _plain_addresses(clients: Sequence[Client]) -> Iterator[str]:
    """Yields a line for each client that takes the shared address, but not the leave to use it without encryption."""
    for client in clients:
        for name, table in (("mailchimp", client.mailchimp), ("ometria", client.ometria)):
            try:
                require_https(table.url, allow_http=table.allow_http)
            except ValueError as error:
                yield f"{place('clients', client.name, name, 'url')}: {error}"


def _texting_collections(clients: Sequence[Client]) -> Iterator[str]:
    for client in clients:
        for key in client.lists:
            try:
                client.collection(key)
            except ConfigError as error:
                yield str(error)


def _collisions(clients: Sequence[Client]) -> Iterator[str]:
    """Yields a line for clients that would overwrite each other's contacts.

    Two lists with the same id, account and collection make the same contacts. A key that cannot be read is left out.
    """
    importers: defaultdict[tuple[str, str], list[Client]] = defaultdict(list)
    for client in clients:
        for key in client.lists:
            importers[key.lower(), client.collection(key)].append(client)  # a contact's id is in lower case
    for (key, collection), clients_with_list in importers.items():
        for client, other in _repeated(clients_with_list, _account) if len(clients_with_list) > 1 else ():
            yield (
                f"{place('clients', client.name, 'lists')}: client {other.name} also imports {key}, to the "
                f"same Ometria account and collection {collection}"
            )


def _account(client: Client) -> str | None:
    try:
        return client.ometria_key().get_secret_value()
    except ConfigError:
        return None  # raised again, for this client alone, when the key is needed
