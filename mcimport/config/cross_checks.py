"""Checks of the configuration that no table can make alone: between tables, and between clients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mcimport.config.messages import place, quoted
from mcimport.config.schema import File
from mcimport.config.settings import Client
from mcimport.errors import ConfigError


def cross_check(file: File, clients: Sequence[Client]) -> list[str]:
    """Returns a line for each problem; empty where there is none.

    Collisions are looked for last, for they read keys and collections, which the other checks hold to be usable.
    """
    found = [*_double_targets(file), *_like_names(clients), *_texting(clients)]
    return found or list(_collisions(clients))


def _double_targets(file: File) -> Iterator[str]:
    yield from _like_tags(file.fields, "fields")
    for tag, other in _doubles(file.fields):
        yield _double(("fields", tag), file.fields[tag], other)
    for name, client in file.clients.items():
        yield from _like_tags(client.fields, "clients", name, "fields")
        for tag, other in _doubles(merge_fields(file.fields, client.fields)) if client.fields else ():
            # The line to blame is the client's own; two of the shared table's are told once, above.
            own, with_it = (tag, other) if tag in client.fields else (other, tag)
            if own in client.fields:
                yield _double(("clients", name, "fields", own), client.fields[own], with_it)


def merge_fields(shared: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The client's own lines over the shared ones; merge tags are the same in any case, as in Mailchimp."""
    said = {tag.upper() for tag in own}
    return {**{tag: target for tag, target in shared.items() if tag.upper() not in said}, **own}


def _like_tags(fields: Mapping[str, str], *table: str) -> Iterator[str]:
    first: dict[str, str] = {}
    for tag in fields:
        like = first.setdefault(tag.upper(), tag)
        if like != tag:
            yield f"{place(*table, tag)}: is the same merge tag as {quoted(like)}, because Mailchimp ignores case"


def _doubles(fields: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each tag that goes where an earlier one goes already, with that one."""
    first: dict[str, str] = {}
    for tag, target in fields.items():
        if target and first.setdefault(target, tag) != tag:
            yield tag, first[target]


def _double(loc: tuple[str, ...], target: str, other: str) -> str:
    return f'{place(*loc)}: goes to "{target}", and so does {quoted(other)}; set one of them to "" to leave it out'


def _like_names(clients: Sequence[Client]) -> Iterator[str]:
    """A client's lock is a file, and some file systems do not tell capitals apart."""
    first: dict[str, str] = {}
    for client in clients:
        other = first.setdefault(client.name.lower(), client.name)
        if other != client.name:
            yield f"{place('clients', client.name)}: differs from {other} only in upper and lower case"


def _texting(clients: Sequence[Client]) -> Iterator[str]:
    for client in clients:
        for key in client.lists:
            try:
                client.collection(key)
            except ConfigError as error:
                yield str(error)


def _collisions(clients: Sequence[Client]) -> Iterator[str]:
    """Clients that would overwrite each other's contacts. A key that cannot be read now collides with nothing."""
    having: defaultdict[tuple[str, str], list[Client]] = defaultdict(list)
    for client in clients:
        for key in client.lists:
            having[key.lower(), client.collection(key)].append(client)  # a contact's id is in lower case
    for (key, collection), holders in having.items():
        for client, other in _same_account(holders) if len(holders) > 1 else ():
            yield (
                f"{place('clients', client.name, 'lists')}: client {other.name} also imports {key}, to the "
                f"same Ometria account and collection {collection}"
            )


def _same_account(clients: Sequence[Client]) -> Iterator[tuple[Client, Client]]:
    """Each client whose Ometria key an earlier one has, with that one."""
    first: dict[str, Client] = {}
    for client in clients:
        try:
            key = client.ometria_key().get_secret_value()
        except ConfigError:
            continue  # raised again, for this client alone, when the key is needed
        if first.setdefault(key, client) is not client:
            yield client, first[key]
