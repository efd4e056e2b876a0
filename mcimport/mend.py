"""What differs is mended: who said no first, then who is otherwise than they should be, then who is missing.

Everybody is read afresh right before they are pushed, and pushed as they are then: so nobody is opted in who is not
subscribed at that moment. Killed in its middle, it has mended a part; the next comparison finds the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from mcimport.compare import Kind, Whereabouts
from mcimport.convert import SMS_NO, consent_alone, is_contact_id, member_id
from mcimport.elsewhere_subscribed import ElsewhereSubscribed
from mcimport.errors import InterruptedRunError, RetriableError
from mcimport.held import HeldLookups, allowance, settled_alone
from mcimport.job import Job
from mcimport.look import Afresh, Look, check_list_is_there
from mcimport.models import Conversion, Converted, Member, OptIn, Outcome, Page, Window
from mcimport.move import move
from mcimport.ometria_reading import UnknownContactError
from mcimport.sides import Sides
from mcimport.state import letters, runs
from mcimport.survey import Survey
from mcimport.task import Task
from mcimport.times import epoch, iso

_encode = msgspec.json.Encoder().encode
NOT_OPTED_OUT = {True: "subscribed-elsewhere", None: "perhaps-subscribed-elsewhere"}
_NO_WINDOW = Window(number=-1, sweep="listed", since=None, until=0)  # what is pushed here belongs to no span


class Mend:
    """One run's; belongs to the thread that owns the task's state. `mended`: how many were taken by Ometria."""

    def __init__(self, survey: Survey) -> None:
        self._task: Task = survey.task
        self._run_id = survey.run_id
        self._sides: Sides = survey.sides
        self._look: Look = survey.look
        self._horizon = survey.due.horizon
        contacts = self._task.services.contacts
        self._held = None if self._task.is_first else HeldLookups(contacts, None, allowance())
        self._batch = self._task.services.ometria.batch
        self.mended = 0

    def all(self, elsewhere: ElsewhereSubscribed) -> None:
        """Raises what the services raise; what was mended until then is recorded."""
        ometria = self._task.services.ometria
        ometria.has_taken |= runs.has_pushed(self._task.state, self._task.row.id)
        for ids in self._sides.differing("gone", self._batch):
            self._opt_out(ids, elsewhere)
        kinds: tuple[Kind, ...] = ("stale", "missing")
        for kind in kinds:
            for ids in self._sides.differing(kind, self._batch):
                self._bring_up_to_date(kind, ids)

    # ---- who is on the list

    def _bring_up_to_date(self, kind: Kind, ids: Sequence[str]) -> None:
        """Whoever changed since the sync point is left to the next sync, which may have an event to tell of."""
        looked = self._afresh(ids)
        due = {own: one for own, one in looked.found.items() if self._is_due(one)}
        if kind == "missing":
            due = {own: one for own, one in due.items() if one.status != "archived"}
        whole = {own: one for own, one in due.items() if isinstance(self._look.convert(one), Converted)}
        if whole:
            self._record(move(_NO_WINDOW, self._job(ids), Page(tuple(whole.values()), len(whole), len(whole) + 1)))
        if kind == "stale":
            self._push_consent(one for own, one in due.items() if own not in whole)
        for where in self._sides.whereabouts(own for own in ids if not is_contact_id(own)):
            self._bring_from_their_second(where)

    def _bring_from_their_second(self, where: Whereabouts) -> None:
        """Who is known by a web_id alone cannot be asked for by it, but stands in the second of their last change."""
        if where.changed is None or where.changed > self._horizon:
            return
        rest: Window | None = Window(
            number=_NO_WINDOW.number,
            sweep="archived" if where.is_archived else "listed",
            since=where.changed - 1,
            until=where.changed,
            page=self._task.client.mailchimp.window,
            only=where.id,
        )
        while rest is not None:
            outcome = move(rest, self._job([where.id]))
            rest = outcome.rest
            self._record(outcome)

    def _is_due(self, member: Member) -> bool:
        changed = epoch(member.last_changed)
        return changed is None or changed <= self._horizon

    def _push_consent(self, members: Iterable[Member]) -> None:
        """Of members who cannot be sent whole: a no is carried all the same, a yes never."""
        contacts = (consent_alone(one, self._look.rules) for one in members)
        found = settled_alone([one for one in contacts if one is not None], self._held)
        optouts = sum(one.marketing_optin == "EXPLICITLY_OPTEDOUT" for one in found.contacts)
        unknown = (("consent_unknown", found.unknown),) if found.unknown else ()
        self._push({one.id: _encode(one) for one in found.contacts}, optouts, unknown)

    # ---- who is gone

    def _opt_out(self, ids: Sequence[str], elsewhere: ElsewhereSubscribed) -> None:
        """Whoever is still not there; NOT_SPECIFIED where a no may silence a listing that is subscribed today."""
        looked = self._afresh(ids)
        if looked.absent:
            check_list_is_there(self._task, self._sides.witness())
        gone = [own for own in ids if own not in looked.found and own not in looked.unclear]
        if not gone:
            return
        found = elsewhere.among({own: self._address_of(own) for own in gone})
        texted, now = self._sides.texted(gone), iso(int(time.time()))
        records: dict[str, bytes] = {}
        for own, subscribed in found.items():
            no = {"channels": SMS_NO} if own in texted else {}
            if subscribed is False:
                records[own] = self._record_of(own, "EXPLICITLY_OPTEDOUT", timestamp_unsubscribed=now, **no)
            else:
                records[own] = self._record_of(own, "NOT_SPECIFIED", **no)
        self._push(records, sum(subscribed is False for subscribed in found.values()))
        self._task.remarks.update(NOT_OPTED_OUT[subscribed] for subscribed in found.values() if subscribed is not False)

    def _address_of(self, own: str) -> str | None:
        """As Ometria holds it; None where that cannot be told. Nobody keeps it."""
        rules = self._look.rules
        try:
            held = self._task.services.contacts.contact(rules.collection, f"{rules.list_key}-{own}".lower())
        except UnknownContactError:
            return None
        return held.email if held is not None and isinstance(held.email, str) else None

    # ---- how

    def _afresh(self, ids: Sequence[str]) -> Afresh:
        if self._task.services.stop.asked.is_set():
            raise InterruptedRunError("stopped")
        return self._look.afresh(ids)

    def _job(self, ids: Sequence[str]) -> Job:
        """For these members, each as Ometria was seen to hold them."""
        task, convert = self._task, self._look.convert
        texted = self._sides.texted(ids) if convert.has_sms else set[str]()
        return Job(
            list_key=task.list_key,
            mailchimp=task.services.mailchimp,
            ometria=task.services.ometria,
            convert=_taking_back(convert, texted) if texted else convert,
            aside=convert.aside,
            rules=self._look.rules,
            held=self._held,
            watched=letters.watched(task.state, task.row.id),
            meter=task.services.meter,
            trace=task.services.trace,
        )

    def _record_of(self, own: str, optin: OptIn, **more: Any) -> bytes:
        """A part of a contact that Ometria holds: what is not named stays as it is."""
        rules = self._look.rules
        if rules.force_optin and optin != "NOT_SPECIFIED":
            more["@force_optin"] = True
        named = {"@type": "contact", "@collection": rules.collection, "id": f"{rules.list_key}-{own}".lower()}
        return _encode({**named, "marketing_optin": optin, **more})

    def _push(self, records: dict[str, bytes], optouts: int, remarks: tuple[tuple[str, int], ...] = ()) -> None:
        pushed = self._task.services.ometria.push(list(records.values()))
        warnings = [f"Ometria refused some of what was to be mended: {reason}" for _, reason in pushed.refused]
        taken = len(pushed.taken)
        rejected = len(pushed.refused)
        outcome = Outcome(_NO_WINDOW, pushed=taken, rejected=rejected, optouts=optouts, warnings=tuple(warnings))
        self._record(replace(outcome, remarks=remarks))
        if pushed.error:
            raise pushed.error

    def _record(self, outcome: Outcome) -> None:
        """What Ometria could not take is no span that the next sync could read again: the run fails, to be repeated."""
        lost = next((letter for letter in outcome.letters if letter.kind == "window"), None)
        kept = tuple(letter for letter in outcome.letters if letter.kind == "contact")
        runs.record(self._task.state, self._run_id, replace(outcome, letters=kept), self._task.services.meter.take())
        self._task.warn(*outcome.warnings)
        self._task.remarks.update(dict(outcome.remarks))
        self.mended += outcome.pushed
        if lost is not None:
            raise RetriableError(lost.reason)


def _taking_back(convert: Callable[[Member], Conversion], texted: set[str]) -> Callable[[Member], Conversion]:
    """Who has no SMS status any more is sent as a no where Ometria holds a yes, which is what `texted` says."""

    def converted(member: Member) -> Conversion:
        found = convert(member)
        if not isinstance(found, Converted) or found.contact.channels is not None or member_id(member) not in texted:
            return found
        return msgspec.structs.replace(found, contact=msgspec.structs.replace(found.contact, channels=SMS_NO))

    return converted
