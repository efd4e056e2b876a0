"""Checks that Ometria holds what it accepted: once a day, a few contacts of a list's last runs are read back.

"Accepted" means received: validation follows later, and does not tell which contacts it drops.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from mcimport.errors import InterruptedRunError, ServiceTimeoutError
from mcimport.errors.machine import as_ours
from mcimport.models.records import SampledContact, SpotCheck
from mcimport.report.format import pluralize
from mcimport.report.reconcile_summary import missing_line
from mcimport.services.ometria.contacts import Contacts, UnknownContactError
from mcimport.state import spot_checks
from mcimport.sync.list_run import ListRun

WITHIN = 60.0  # seconds for the whole check, which the run waits for; a read that is under way may still end


def check_some_pushed(list_run: ListRun, run_id: int) -> None:
    """Reads a few contacts back, as a part of this run, and warns of those that are missing.

    Before the run reads members, so that one who opts out meanwhile is read with the opt-out. Does nothing where no
    contact was pushed since the last check. What fails here does not fail the run. Raises InterruptedRunError and
    StateError.
    """
    now = int(time.time())
    is_due = not list_run.dry_run and spot_checks.is_due(list_run.row.spot_checked_at, now)
    sample = _settled(list_run, now) if is_due else []
    if not sample:
        return
    found = _look(list_run, sample, now)
    spot_checks.record_check(list_run.state, list_run.row, run_id, found)
    list_run.refresh()
    list_run.spot_check = found
    if found.missing:
        list_run.warn(missing_line(found, list_run.list_key, now))


def _settled(list_run: ListRun, now: int) -> list[SampledContact]:
    """Returns the contacts to check; none as long as Ometria may not have validated each of them."""
    found = spot_checks.sample(list_run.state, list_run.row.id)[: list_run.client.ometria.spot_check]
    settling = list_run.client.reconcile.settling
    return found if all(now - contact.pushed_at >= settling for contact in found) else []


def _look(list_run: ListRun, sample: Sequence[SampledContact], now: int) -> SpotCheck:
    moments = [contact.pushed_at for contact in sample]
    ids = [f"{list_run.list_key}-{contact.member_id}".lower() for contact in sample]
    missing, reason = None, ""
    try:
        with list_run.step(f"reading back {pluralize(len(ids), 'contact')} of earlier runs from Ometria"):
            missing = _missing(list_run.services.contacts, list_run.row.collection, ids)
    except InterruptedRunError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, no sync fails for a look
        reason = str(as_ours(error))
    return SpotCheck(now, len(ids), min(moments), max(moments), missing, reason)


def _missing(contacts: Contacts, collection: str, ids: Sequence[str]) -> int:
    """Returns how many contacts are not found, each asked for twice.

    A 404 for everything at once has been seen, and passed: so a contact that was found must be found again at the end.
    Raises UnknownContactError where none is found, which tells nothing, because perhaps none can be; and ServiceError,
    also where it takes longer than `WITHIN`.
    """
    end = time.monotonic() + WITHIN

    def is_held(contact_id: str) -> bool:
        if time.monotonic() > end:
            raise ServiceTimeoutError("Ometria took too long to answer")
        return contacts.holds(collection, contact_id)

    held = {contact_id: is_held(contact_id) for contact_id in ids}
    witness = next((contact_id for contact_id, is_there in held.items() if is_there), None)
    if witness is None:
        raise UnknownContactError("Ometria found none of them")
    missing = sum(not is_held(contact_id) for contact_id, is_there in held.items() if not is_there)
    if missing and not is_held(witness):
        raise UnknownContactError("Ometria no longer found a contact that it had found just before")
    return missing
