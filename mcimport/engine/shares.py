"""Which clients share an account, at either end, and so cannot be worked on by two at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mcimport.config import Client
from mcimport.errors import ConfigError


def leaders(clients: Iterable[Client]) -> dict[str, str]:
    """Each client's name, and the first name among all that share an account with it, directly or by way of others."""
    chosen = list(clients)
    leader = {client.name: client.name for client in chosen}
    having: dict[tuple[str, str], str] = {}

    def first(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for client in chosen:
        for account in _accounts(client):
            one, other = first(having.setdefault(account, client.name)), first(client.name)
            low, high = sorted((one, other))
            leader[high] = low
    return {client.name: first(client.name) for client in chosen}


def _accounts(client: Client) -> Iterator[tuple[str, str]]:
    """A key that cannot be read now is nobody's: its client fails by itself."""
    for side, account, key in (
        ("mailchimp", client.mailchimp.account, client.mailchimp_key),
        ("ometria", client.ometria.account, client.ometria_key),
    ):
        try:
            yield side, account or key().get_secret_value()
        except ConfigError:
            continue
