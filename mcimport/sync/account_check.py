"""Checks that a changed Ometria key, or address, still leads to the account that holds what was sent."""

from __future__ import annotations

from collections.abc import Sequence

from mcimport.errors import ConfigError
from mcimport.models.records import ListRow
from mcimport.services.connections import ClientServices
from mcimport.services.contacts_held import contacts_held


def check_same_account(services: ClientServices, rows: Sequence[ListRow], client: str) -> None:
    """Looks for contacts of each of these lists, of which Ometria has accepted some.

    Raises ConfigError for the first list of which it holds none; ServiceError where the key is not accepted, or that
    cannot be told.
    """
    services.ometria.check_key()
    for row in rows:
        if not contacts_held(services.mailchimp, services.contacts, row.list_key, row.collection, ()):
            raise ConfigError(
                f"{client}: the account of the new Ometria API key holds no contacts of list {row.list_key}",
                hint=f"New account? `mcimport sync --full {row.list_key}` sends all members there. Same account, but it"
                f" was emptied? `mcimport keys accept {client} --unseen`.",
            )
