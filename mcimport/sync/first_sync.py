"""The first sync of a list: until Ometria has accepted a contact, each try begins the list's history again.

A try that sent nothing leaves no trace. A list that this state file has never imported may have been imported with
another state file, or with one that was lost: then Ometria holds contacts of it, whose ids begin with the list's key.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mcimport.errors import RetriableError, ServiceError, StateError
from mcimport.models import HeldContact, Page
from mcimport.models.timestamps import epoch
from mcimport.services.contacts_held import ASKED_FOR, contacts_held
from mcimport.services.mailchimp.planning import first_page
from mcimport.services.mailchimp.responses import CLOCK_TOLERANCE
from mcimport.state import lists
from mcimport.sync.list_run import ListRun


@contextmanager
def first_try(list_run: ListRun) -> Iterator[None]:
    """Wraps one whole run; forgets what the run remembered of its beginning where it surely sent nothing."""
    ometria = list_run.services.ometria
    is_known = list_run.row.accepted_at is not None or list_run.row.first_sync_at is not None
    list_run.perhaps_held = is_known
    list_run.is_lent, before = False, ometria.perhaps_accepted
    try:
        yield
    finally:
        if not (is_known or list_run.is_lent or ometria.perhaps_accepted > before):
            with suppress(StateError):
                lists.clear_first_attempt(list_run.state, list_run.row.id)
                list_run.refresh()


def begin(list_run: ListRun, page: Page) -> None:
    """Remembers when the list's first sync began, before anything is pushed, and whether Ometria holds contacts of it.

    Does nothing for a list of which Ometria has accepted contacts. A dry run asks Ometria nothing.

    `page`: the first page of the members on the list, as they are now.
    """
    if list_run.row.accepted_at is not None:
        return
    if not (list_run.perhaps_held or list_run.dry_run):
        _look_for_contacts(list_run, page)
    earliest = min(page.settled + 2, int(time.time()))  # of two clocks: no member archived later may be missed
    lists.record_first_attempt(
        list_run.state, list_run.row.id, earliest, max(page.at_most, _newest_change(list_run, page))
    )
    list_run.refresh()


def _newest_change(list_run: ListRun, page: Page) -> int:
    """Returns the second after the newest change of a member, where the clock that the page tells is in doubt; else 0.

    This machine's clock may be behind Mailchimp's by more than anybody allows for, where no response has a Date header.
    Who opted in before the newest change on the list was there before the first sync, and is no new subscriber.
    """
    if page.clock_warning:
        with suppress(ServiceError):
            newest = list_run.services.mailchimp.newest(list_run.list_key, "members.last_changed", 1).members
            return max((moment + 1 for member in newest if (moment := epoch(member.last_changed))), default=0)
    return 0


def present(list_run: ListRun) -> Page:
    """Returns a few members and the server's clock, for a run that reads no first page of its own.

    Where Mailchimp does not answer, this machine's clock is used, with a margin for what it may be wrong by. Raises
    FatalError and InterruptedRunError.
    """
    mailchimp, key = list_run.services.mailchimp, list_run.list_key
    try:
        if list_run.row.accepted_at is not None:
            return mailchimp.probe(key, "listed", None, 1)
        return first_page(mailchimp, key, "listed", None, ASKED_FOR)
    except RetriableError:
        now = int(time.time())
        return Page((), 0, settled=now - CLOCK_TOLERANCE - 2, at_most=now + CLOCK_TOLERANCE)


def _look_for_contacts(list_run: ListRun, page: Page) -> None:
    """Remembers whether Ometria holds contacts of the list, and warns: then its archived members must be compared.

    They must be, too, where that cannot be told. What cannot be compared in the run is said at its end.
    """
    services, key, collection = list_run.services, list_run.list_key, list_run.row.collection
    try:
        with list_run.step("looking for contacts of this list in Ometria"):
            ours = contacts_held(services.mailchimp, services.contacts, key, collection, page.members)
    except ServiceError:
        lists.set_unchecked_at(list_run.state, list_run.row.id, page.at_most)
        return
    if ours:
        list_run.warn(
            "this list was synced before, with another state file or with one that was lost: Ometria has contacts of it"
        )
    if any(map(is_sms_known, ours)):
        lists.set_has_sms(list_run.state, list_run.row.id)
    lists.set_unchecked_at(list_run.state, list_run.row.id, page.at_most if ours else None)


def is_sms_known(held: HeldContact) -> bool:
    """Says whether Ometria holds a consent to text messages, or a refusal."""
    return isinstance(held.channels, dict) and "sms" in held.channels
