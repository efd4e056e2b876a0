"""Groups clients that share a Mailchimp or Ometria account: one worker at a time keeps the limits of a group."""

from __future__ import annotations

from collections.abc import Iterable

from mcimport.config import Client
from mcimport.errors import ConfigError


def group_by_account(clients: Iterable[Client]) -> dict[str, str]:
    """Maps each client's name to the first name among all that share an account with it, directly or through others.

    Clients with a key that cannot be read are left out: it is not known which accounts they share.
    """
    chosen = [(client, accounts) for client in clients if (accounts := _accounts(client))]
    account_group = {client.name: client.name for client, _ in chosen}
    having: dict[tuple[str, str], str] = {}

    def first(name: str) -> str:
        while account_group[name] != name:
            name = account_group[name]
        return name

    for client, accounts in chosen:
        for account in accounts:
            low, high = sorted((first(having.setdefault(account, client.name)), first(client.name)))
            account_group[high] = low
    return {name: first(name) for name in account_group}


def _accounts(client: Client) -> tuple[tuple[str, str], ...]:
    try:
        mailchimp, ometria = client.mailchimp_key(), client.ometria_key()
    except ConfigError:
        return ()
    return (
        ("mailchimp", client.mailchimp.account or mailchimp.get_secret_value()),
        ("ometria", client.ometria.account or ometria.get_secret_value()),
    )
