"""Until Ometria has accepted somebody, each try begins the list's history anew, and leaves no trace if it sent nothing.

A list that this state file has never carried may have been carried by another one, or by one that was lost: then
Ometria holds contacts of it, under ids with the list in front.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from mcimport.convert import contact_id, own_part
from mcimport.errors import RetriableError, ServiceError, StateError
from mcimport.mailchimp_answers import CLOCK_TOLERANCE
from mcimport.models import HeldContact, Page
from mcimport.ometria_reading import PAGE as CONTACTS_A_PAGE
from mcimport.ometria_reading import UnknownContactError
from mcimport.planning import first_page
from mcimport.state import lists
from mcimport.task import Task

NEWEST = 4  # of the listed and of the archived each, for the oldest may have been left out with `--since now`
ASKED_FOR = 8  # members who are looked for in Ometria, one by one, where a page of its contacts does not tell
MOST_PAGES = 100  # of contacts that are read where it does not answer for single ones
SYNCED_BEFORE = (
    "this list was synced before, by another state file or by one that was lost: Ometria holds contacts of it"
)


@contextmanager
def first_try(task: Task) -> Iterator[None]:
    """One run of a list, whole: what it remembered of its beginning is forgotten where it surely sent nothing."""
    ometria = task.services.ometria
    is_known = task.row.accepted_at is not None or task.row.first_sync_at is not None
    task.perhaps_held = is_known
    ometria.perhaps_taken = False
    try:
        yield
    finally:
        if not is_known and not ometria.perhaps_taken:
            with suppress(StateError):
                lists.forget_first_try(task.state, task.row.id)
                task.refresh()


def begin(task: Task, page: Page) -> None:
    """Before anything is pushed. `page`: the listed as they are now; of an accepted list it says nothing new.

    A dry run asks Ometria nothing.
    """
    if task.row.accepted_at is not None:
        return
    if not (task.perhaps_held or task.dry_run):
        _look_for_contacts(task, page)
    earliest = min(page.settled + 2, int(time.time()))  # of two clocks: whoever is archived later must not be missed
    lists.note_first_try(task.state, task.row.id, earliest, page.at_most)
    task.refresh()


def present(task: Task) -> Page:
    """A few of the listed and the server's clock, for a run that reads no first page of its own.

    Where Mailchimp cannot be asked, this machine's clock has to do, give or take what it may be wrong by. Raises
    FatalError and InterruptedRunError.
    """
    mailchimp, key = task.services.mailchimp, task.list_key
    try:
        if task.row.accepted_at is not None:
            return mailchimp.glance(key, "listed", None, 1)
        return first_page(mailchimp, key, "listed", None, ASKED_FOR)
    except RetriableError:
        now = int(time.time())
        return Page((), 0, settled=now - CLOCK_TOLERANCE - 2, at_most=now + CLOCK_TOLERANCE)


def _look_for_contacts(task: Task, page: Page) -> None:
    """Remembers, and says, that those who were archived before are to be compared.

    Where it cannot be told, they are, too: what cannot be done then is said when the run is through.
    """
    try:
        ours = _found(task, page)
    except ServiceError:
        lists.note_unchecked(task.state, task.row.id, page.at_most)
        return
    if ours:
        task.warn(SYNCED_BEFORE)
    if any(is_sms_known(one) for one in ours):
        lists.note_sms(task.state, task.row.id)
    lists.note_unchecked(task.state, task.row.id, page.at_most if ours else None)


def is_sms_known(one: HeldContact) -> bool:
    return isinstance(one.channels, dict) and "sms" in one.channels


def _found(task: Task, page: Page) -> list[HeldContact]:
    """Contacts of this list, if there are any: first among the oldest of the collection, then one by one.

    Raises ServiceError where that cannot be told.
    """
    contacts, collection = task.services.contacts, task.row.collection
    oldest = contacts.page(collection, 0)
    ours = _ours(task, oldest)
    if ours or len(oldest) < CONTACTS_A_PAGE:
        return ours
    mailchimp, key = task.services.mailchimp, task.list_key
    some = (
        page.members[:ASKED_FOR],
        mailchimp.newest(key, "listed", NEWEST),
        mailchimp.newest(key, "archived", NEWEST),
    )
    wanted = [own for members in some for one in members if (own := contact_id(one, key)) is not None]
    try:
        found = (contacts.contact(collection, own, is_twice=False) for own in wanted)
        return list(islice((one for one in found if one is not None), 1))
    except UnknownContactError:
        return _found_in_listing(task)


def _found_in_listing(task: Task) -> list[HeldContact]:
    """Raises RetriableError where there are too many contacts to tell."""
    listing = task.services.contacts.listing(task.row.collection)
    for number, page in enumerate(listing):
        if ours := _ours(task, page):
            return ours
        if number >= MOST_PAGES:
            raise RetriableError("there are too many contacts in the collection to look for those of one list")
    return []


def _ours(task: Task, page: Iterable[HeldContact]) -> list[HeldContact]:
    collection, key = task.row.collection, task.list_key
    return [one for one in page if one.collection == collection and own_part(one.id, key) is not None]
