"""Finds contacts of a list in an Ometria account: their ids begin with the list.

A key does not say whose account it opens (fact ometria-key).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from mcimport.convert import contact_id, own_part
from mcimport.errors import RetriableError
from mcimport.models import HeldContact, Member
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.ometria.contacts import PAGE, Contacts, UnknownContactError

NEWEST = 4  # listed and archived members each, for the oldest may have been left out with `--since now`
ASKED_FOR = 8  # members who are looked up one by one, where a page of the account's contacts does not tell
IDS = "members.contact_id,members.web_id"
MOST_PAGES = 100  # of contacts that are read where Ometria does not answer for single ones


def contacts_held(
    mailchimp: MailchimpClient, contacts: Contacts, list_key: str, collection: str, candidates: Sequence[Member]
) -> list[HeldContact]:
    """Returns some contacts of the list, if there are any: among the oldest of the collection, else by looking them up.

    `candidates`: members who may be among them. Raises ServiceError where that cannot be told.
    """
    oldest = contacts.page(collection, 0)
    found = _of_list(oldest, list_key, collection)
    if found or len(oldest) < PAGE:
        return found
    members = [
        *candidates[:ASKED_FOR],
        *mailchimp.newest(list_key, IDS, NEWEST).members,
        *mailchimp.newest(list_key, IDS, NEWEST, status="archived").members,
    ]
    ids = [found_id for member in members if (found_id := contact_id(member, list_key)) is not None]
    try:
        looked_up = (contacts.contact(collection, found_id, is_twice=False) for found_id in ids)
        return list(islice((contact for contact in looked_up if contact is not None), 1))
    except UnknownContactError:
        return _in_listing(contacts, list_key, collection)


def _in_listing(contacts: Contacts, list_key: str, collection: str) -> list[HeldContact]:
    """Searches the collection page by page. Raises RetriableError where it has too many contacts for that."""
    for number, page in enumerate(contacts.listing(collection)):
        if found := _of_list(page, list_key, collection):
            return found
        if number >= MOST_PAGES:
            raise RetriableError("the collection has too many contacts to look for those of one list")
    return []


def _of_list(page: Iterable[HeldContact], list_key: str, collection: str) -> list[HeldContact]:
    return [
        contact for contact in page if contact.collection == collection and own_part(contact.id, list_key) is not None
    ]
