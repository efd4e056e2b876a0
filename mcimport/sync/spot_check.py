"""Whether Ometria holds what it accepted: once a day and list, a few contacts of the last runs are read back.

"Accepted" means received: validation follows later, and tells nobody whom it drops.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from mcimport.errors import InterruptedRunError, ServiceTimeoutError
from mcimport.errors.machine import as_ours
from mcimport.models.sample import SampledContact, SpotCheck
from mcimport.report.spot_check import missing_line
from mcimport.services.ometria.contacts import Contacts, UnknownContactError
from mcimport.state import spot_checks
from mcimport.sync.list_run import ListRun

WITHIN = 60.0  # seconds for the whole look, which the run waits for; the one read that is under way is waited for


def check_some_pushed(list_run: ListRun, run_id: int) -> None:
    """A part of this run, before it reads anybody: who says no while this look goes on is seen to have said so.

    Where nobody was pushed since the last look, there is none. Whatever fails, fails no run for it.
    Raises InterruptedRunError and StateError.
    """
    now = int(time.time())
    sample = (
        [] if list_run.dry_run or not spot_checks.is_due(list_run.row.spot_checked_at, now) else _settled(list_run, now)
    )
    if not sample:
        return
    found = _look(list_run, sample, now)
    spot_checks.record_check(list_run.state, list_run.row, run_id, found)
    list_run.refresh()
    list_run.spot_check = found
    if found.missing:
        list_run.warn(missing_line(found, list_run.list_key, now))


def _settled(list_run: ListRun, now: int) -> list[SampledContact]:
    """Nobody, as long as Ometria may not have validated one of them yet."""
    found = spot_checks.sample(list_run.state, list_run.row.id)[: list_run.client.ometria.spot_check]
    settling = list_run.client.reconcile.settling
    return found if all(now - one.pushed_at >= settling for one in found) else []


def _look(list_run: ListRun, sample: Sequence[SampledContact], now: int) -> SpotCheck:
    moments = [one.pushed_at for one in sample]
    ids = [f"{list_run.list_key}-{one.member_id}".lower() for one in sample]
    missing, reason = None, ""
    try:
        missing = _missing(list_run.services.contacts, list_run.row.collection, ids)
    except InterruptedRunError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, no sync fails for a look
        reason = str(as_ours(error))
    return SpotCheck(now, len(ids), min(moments), max(moments), missing, reason)


def _missing(contacts: Contacts, collection: str, ids: Sequence[str]) -> int:
    """How many are not found, as was said twice.

    A 404 has been seen, in passing, for everything at once: so one that was found has to be found again at the end.
    Raises UnknownContactError where nobody is found, which tells nothing: perhaps nobody can be; and ServiceError, also
    where it takes longer than `WITHIN`.
    """
    end = time.monotonic() + WITHIN

    def is_held(one: str) -> bool:
        if time.monotonic() > end:
            raise ServiceTimeoutError("Ometria took too long to answer")
        return contacts.holds(collection, one)

    held = {one: is_held(one) for one in ids}
    witness = next((one for one, is_there in held.items() if is_there), None)
    if witness is None:
        raise UnknownContactError("Ometria found none of them")
    missing = sum(not is_held(one) for one, is_there in held.items() if not is_there)
    if missing and not is_held(witness):
        raise UnknownContactError("Ometria no longer found a contact that it had found just before")
    return missing
