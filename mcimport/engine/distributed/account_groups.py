"""Which clients share an account, at either end, and so cannot be worked on by two at once."""

from __future__ import annotations

from collections.abc import Iterable

from mcimport.config import Client
from mcimport.errors import ConfigError


def leaders(clients: Iterable[Client]) -> dict[str, str]:
    """Each client's name, and the first name among all that share an account with it, directly or by way of others.

    Without those of whom a key cannot be read: nobody knows whom they share an account with.
    """
    chosen = [(client, accounts) for client in clients if (accounts := _accounts(client))]
    leader = {client.name: client.name for client, _ in chosen}
    having: dict[tuple[str, str], str] = {}

    def first(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for client, accounts in chosen:
        for account in accounts:
            one, other = first(having.setdefault(account, client.name)), first(client.name)
            low, high = sorted((one, other))
            leader[high] = low
    return {name: first(name) for name in leader}


def _accounts(client: Client) -> tuple[tuple[str, str], ...]:
    try:
        mailchimp, ometria = client.mailchimp_key(), client.ometria_key()
    except ConfigError:
        return ()
    return (
        ("mailchimp", client.mailchimp.account or mailchimp.get_secret_value()),
        ("ometria", client.ometria.account or ometria.get_secret_value()),
    )
