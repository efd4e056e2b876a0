"""What differs is mended: who said no first, then who is otherwise than they should be, then who is missing.

Everybody is read afresh right before they are pushed, and pushed as they are then: so nobody is opted in who is not
subscribed at that moment. Killed in its middle, it has mended a part; the next comparison finds the rest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from mcimport.compare import WIDTH, Kind, Twin, Whereabouts
from mcimport.convert import is_contact_id, optin_of
from mcimport.errors import InterruptedRunError, RetriableError
from mcimport.job import Job
from mcimport.look import Afresh, Look, check_list_is_there
from mcimport.models import Converted, Member, OptIn, Outcome, Page, Window
from mcimport.move import move
from mcimport.replaying import watched
from mcimport.sides import Sides
from mcimport.state import runs
from mcimport.survey import Survey
from mcimport.task import Task
from mcimport.times import epoch, iso

_encode = msgspec.json.Encoder().encode
_NO_WINDOW = Window(number=-1, sweep="listed", since=None, until=0)  # what is pushed here belongs to no span


class Mend:
    """One run's; belongs to the thread that owns the task's state. `mended`: how many were taken by Ometria."""

    def __init__(self, survey: Survey) -> None:
        self._task: Task = survey.task
        self._run_id = survey.run_id
        self._sides: Sides = survey.sides
        self._look: Look = survey.look
        self._horizon = survey.due.horizon
        self._batch = self._task.services.ometria.batch
        self.mended = 0

    def all(self) -> None:
        """Raises what the services raise; what was mended until then is recorded."""
        ometria = self._task.services.ometria
        ometria.has_taken |= runs.has_pushed(self._task.state, self._task.row.id)
        for ids in self._sides.differing("gone", self._batch):
            self._opt_out(ids)
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
            self._record(move(_NO_WINDOW, self._job(), Page(tuple(whole.values()), len(whole), len(whole) + 1)))
        if kind == "stale":
            self._push_consent({own: self._consent_of(one) for own, one in due.items() if own not in whole})
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
            outcome = move(rest, self._job())
            rest = outcome.rest
            self._record(outcome)

    def _is_due(self, member: Member) -> bool:
        changed = epoch(member.last_changed)
        return changed is None or changed <= self._horizon

    def _consent_of(self, member: Member) -> OptIn:
        return optin_of(member.status, self._look.rules.consent)

    def _push_consent(self, consents: dict[str, OptIn]) -> None:
        """Of members who cannot be sent whole: a no is carried all the same, a yes never without an address."""
        records = {own: self._record_of(own, optin) for own, optin in consents.items() if optin != "EXPLICITLY_OPTEDIN"}
        self._push(records, sum(consents[own] == "EXPLICITLY_OPTEDOUT" for own in records))

    # ---- who is gone

    def _opt_out(self, ids: Sequence[str]) -> None:
        """Whoever is still not there; NOT_SPECIFIED where a no would silence a listing that is subscribed today."""
        looked = self._afresh(ids)
        if looked.absent:
            check_list_is_there(self._task, self._sides.witness())
        gone = [own for own in ids if own not in looked.found and own not in looked.unclear]
        twins = self._sides.twins_of(gone)
        now = iso(int(time.time()))
        records: dict[str, bytes] = {}
        silenced = 0
        for own in gone:
            subscribed = self._is_subscribed(twins[own]) if own in twins else False
            if subscribed is True:
                records[own] = self._record_of(own, "NOT_SPECIFIED")
            elif subscribed is False:
                records[own] = self._record_of(own, "EXPLICITLY_OPTEDOUT", timestamp_unsubscribed=now)
                silenced += 1
        self._push(records, silenced)

    def _is_subscribed(self, twin: Twin) -> bool | None:
        """Whether that listing is subscribed under this address today; None where that cannot be told now."""
        looked = self._look.afresh([twin.id], twin.list_key or "")
        member = looked.found.get(twin.id)
        if member is None:
            is_unasked = not looked.absent and not looked.unclear  # known by its web_id alone: the walk was right
            return True if is_unasked else None if looked.unclear else False
        sight = self._look.seen(member)
        return member.status == "subscribed" and sight is not None and sight.version[WIDTH : 2 * WIDTH] == twin.email

    # ---- how

    def _afresh(self, ids: Sequence[str]) -> Afresh:
        if self._task.services.stop.asked.is_set():
            raise InterruptedRunError("stopped")
        return self._look.afresh(ids)

    def _job(self) -> Job:
        task, convert = self._task, self._look.convert
        return Job(
            list_key=task.list_key,
            mailchimp=task.services.mailchimp,
            ometria=task.services.ometria,
            convert=convert,
            aside=convert.aside,
            watched=watched(task.state, task.row),
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

    def _push(self, records: dict[str, bytes], optouts: int) -> None:
        pushed = self._task.services.ometria.push(list(records.values()))
        warnings = [f"Ometria refused some of what was to be mended: {reason}" for _, reason in pushed.refused]
        taken = len(pushed.taken)
        rejected = len(pushed.refused)
        self._record(Outcome(_NO_WINDOW, pushed=taken, rejected=rejected, optouts=optouts, warnings=tuple(warnings)))
        if pushed.error:
            raise pushed.error

    def _record(self, outcome: Outcome) -> None:
        """What Ometria could not take is no span that the next sync could read again: the run fails, to be repeated.

        Whom Ometria refuses is a dead letter: they are due there, and a replay asks for them alone, without an event.
        """
        lost = next((letter for letter in outcome.letters if letter.kind == "window"), None)
        kept = tuple(letter for letter in outcome.letters if letter.kind == "contact")
        runs.record(self._task.state, self._run_id, replace(outcome, letters=kept), self._task.services.meter.take())
        self._task.warn(*outcome.warnings)
        self.mended += outcome.pushed
        if lost is not None:
            raise RetriableError(lost.reason)
