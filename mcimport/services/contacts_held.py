"""Whether an Ometria account holds contacts of a list: they have ids with the list in front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from mcimport.convert import contact_id, own_part
from mcimport.errors import RetriableError
from mcimport.models import HeldContact, Member
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.ometria.contacts import PAGE, Contacts, UnknownContactError

NEWEST = 4  # of the listed and of the archived each, for the oldest may have been left out with `--since now`
ASKED_FOR = 8  # members who are looked for one by one, where a page of the account's contacts does not tell
MOST_PAGES = 100  # of contacts that are read where Ometria does not answer for single ones


def contacts_held(
    mailchimp: MailchimpClient, contacts: Contacts, list_key: str, collection: str, some: Sequence[Member]
) -> list[HeldContact]:
    """Some contacts of the list, if there are any: first among the oldest of the collection, then one by one.

    `some`: members who may be among them. Raises ServiceError where that cannot be told.
    """
    oldest = contacts.page(collection, 0)
    ours = _ours(oldest, list_key, collection)
    if ours or len(oldest) < PAGE:
        return ours
    members = (
        *some[:ASKED_FOR],
        *mailchimp.newest(list_key, "listed", NEWEST),
        *mailchimp.newest(list_key, "archived", NEWEST),
    )
    wanted = [own for one in members if (own := contact_id(one, list_key)) is not None]
    try:
        found = (contacts.contact(collection, own, is_twice=False) for own in wanted)
        return list(islice((one for one in found if one is not None), 1))
    except UnknownContactError:
        return _in_listing(contacts, list_key, collection)


def _in_listing(contacts: Contacts, list_key: str, collection: str) -> list[HeldContact]:
    """Raises RetriableError where there are too many contacts to tell."""
    for number, page in enumerate(contacts.listing(collection)):
        if ours := _ours(page, list_key, collection):
            return ours
        if number >= MOST_PAGES:
            raise RetriableError("the collection has too many contacts to look for those of one list")
    return []


def _ours(page: Iterable[HeldContact], list_key: str, collection: str) -> list[HeldContact]:
    return [one for one in page if one.collection == collection and own_part(one.id, list_key) is not None]
