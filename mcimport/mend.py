"""What differs is mended: who said no first, then who is otherwise than they should be, then who is missing.

Everybody is read afresh right before they are pushed, and pushed as they are then: so nobody is opted in who is not
subscribed at that moment. Nothing is forced, and a no that Ometria holds stands. Killed in its middle, it has mended a
part; the next comparison finds the rest.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from mcimport.compare import WIDTH, Kind, Whereabouts
from mcimport.convert import is_contact_id, member_id, optin_of
from mcimport.errors import InterruptedRunError, RetriableError
from mcimport.held_now import HeldNow
from mcimport.job import Job
from mcimport.look import Afresh, Look, check_list_is_there
from mcimport.models import Conversion, Converted, HeldContact, Member, OptIn, Outcome, Page, Window
from mcimport.move import move
from mcimport.ometria_reading import UnknownContactError
from mcimport.sides import Sides
from mcimport.state import letters, runs
from mcimport.survey import Survey
from mcimport.task import Task
from mcimport.times import epoch, iso

_encode = msgspec.json.Encoder().encode
_NO_WINDOW = Window(number=-1, sweep="listed", since=None, until=0)  # what is pushed here belongs to no span
_IN: OptIn = "EXPLICITLY_OPTEDIN"
_OUT: OptIn = "EXPLICITLY_OPTEDOUT"


class Mend:
    """One run's; belongs to the thread that owns the task's state. What came of it is read back by `verify`.

    `is_opting_in`: who is subscribed here and opted out in Ometria is opted in, too. `has_pushed`: anybody at all.
    """

    def __init__(self, survey: Survey, held: HeldNow, *, is_opting_in: bool) -> None:
        self._task: Task = survey.task
        self._run_id = survey.run_id
        self._sides: Sides = survey.sides
        self._look: Look = survey.look
        self._horizon = survey.due.horizon
        self._batch = self._task.services.ometria.batch
        self._held = held
        self._is_opting_in = is_opting_in
        self.has_pushed = False

    def all(self) -> None:
        """Raises what the services raise; what was pushed until then is recorded."""
        ometria = self._task.services.ometria
        ometria.has_taken |= runs.has_pushed(self._task.state, self._task.row.id)
        self._push_consents()
        kinds: tuple[Kind, ...] = ("stale", "missing", *(("opted_out",) if self._is_opting_in else ()))
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
        whole = [one for one in due.values() if isinstance(self._look.convert(one), Converted)]
        pushing = _Pushing(self._look, self._sides.opted_out_among(ids), is_opting_in=kind == "opted_out")
        if whole:
            page = Page(tuple(whole), len(whole), len(whole) + 1)
            self._note(kind, pushing, move(_NO_WINDOW, self._job(pushing), page))
        for where in self._sides.whereabouts(own for own in ids if not is_contact_id(own)):
            self._bring_from_their_second(kind, where, pushing)

    def _bring_from_their_second(self, kind: Kind, where: Whereabouts, pushing: _Pushing) -> None:
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
            outcome = move(rest, self._job(pushing))
            rest = outcome.rest
            self._note(kind, pushing, outcome)

    def _is_due(self, member: Member) -> bool:
        changed = epoch(member.last_changed)
        return changed is None or changed <= self._horizon

    def _note(self, kind: Kind, pushing: _Pushing, outcome: Outcome) -> None:
        self._sides.note_tried(kind, pushing.versions.items())
        refused = (letter.member_id for letter in outcome.letters if letter.kind == "contact")
        self._sides.note_refused(kind, (own for own in refused if own is not None))
        self._record(outcome)

    # ---- who is gone, or has no address on the list that can be used

    def _push_consents(self) -> None:
        """Each with the address that Ometria holds: its validation may drop a record without one, and tell nobody."""
        if self._held.is_few(self._sides.count_without_address()):
            with suppress(UnknownContactError):
                for ids in self._sides.without_address(self._batch):
                    self._push_consents_of(self._held.singly(ids, are_there=True))
                return self._sides.note_nothing_left()
        for page in self._held.pages():
            self._push_consents_of(page)
        return self._sides.note_nothing_left()

    def _push_consents_of(self, held: Mapping[str, HeldContact]) -> None:
        """Of those whom Ometria holds: who is still not on the list, and who says no and cannot be sent whole."""
        kinds = self._sides.without_address_among(held)
        looked = self._afresh(list(kinds))
        if looked.absent:
            check_list_is_there(self._task, self._sides.witness())
        self._opt_out({own: held[own] for own, kind in kinds.items() if kind == "gone"}, looked)
        self._push_noes({own: held[own] for own, kind in kinds.items() if kind == "stale"}, looked)

    def _opt_out(self, held: Mapping[str, HeldContact], looked: Afresh) -> None:
        """NOT_SPECIFIED where a no would silence a listing that is subscribed today."""
        opted_in = [own for own, one in held.items() if one.marketing_optin == _IN]
        optins: dict[str, OptIn] = {}
        for own in opted_in:
            is_gone = own not in looked.found and own not in looked.unclear
            is_subscribed = self._is_subscribed(own) if is_gone else None
            if is_subscribed is not None:
                optins[own] = "NOT_SPECIFIED" if is_subscribed else _OUT
        self._sides.leave("gone", (own for own in opted_in if own not in optins))
        self._push("gone", optins, held, timestamp_unsubscribed=iso(int(time.time())))

    def _push_noes(self, held: Mapping[str, HeldContact], looked: Afresh) -> None:
        """A no is carried without anything else, a yes never; neither does not lift a no that Ometria holds."""
        optins: dict[str, OptIn] = {}
        for own, one in held.items():
            member = looked.found.get(own)
            if member is None or not self._is_due(member) or isinstance(self._look.convert(member), Converted):
                continue
            optin = optin_of(member.status, self._look.rules.consent)
            if optin == _OUT or (optin != _IN and one.marketing_optin != _OUT):
                optins[own] = optin
        self._push("stale", optins, held)

    def _is_subscribed(self, own: str) -> bool | None:
        """Whether another listing is subscribed under their address today; None where that cannot be told now."""
        twin = self._sides.twins_of([own]).get(own)
        if twin is None:
            return False
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

    def _job(self, pushing: _Pushing) -> Job:
        task = self._task
        return Job(
            list_key=task.list_key,
            mailchimp=task.services.mailchimp,
            ometria=task.services.ometria,
            convert=pushing.convert,
            aside=self._look.convert.aside,
            watched=letters.watched(task.state, task.row.id),
            meter=task.services.meter,
            trace=task.services.trace,
        )

    def _push(self, kind: Kind, optins: Mapping[str, OptIn], held: Mapping[str, HeldContact], **of_noes: Any) -> None:
        """Parts of contacts that Ometria holds: what is not named stays as it is. `of_noes`: more for who opts out."""
        if not optins:
            return
        records = [
            self._record_of(own, held[own].email, optin, **(of_noes if optin == _OUT else {}))
            for own, optin in optins.items()
        ]
        pushed = self._task.services.ometria.push(records)
        self._sides.note_tried(kind, ((own, self._look.versions.of_consent(one)) for own, one in optins.items()))
        owns = list(optins)
        self._sides.note_refused(kind, (owns[place] for place, _ in pushed.refused))
        self._record(
            Outcome(
                _NO_WINDOW,
                pushed=len(pushed.taken),
                rejected=len(pushed.refused),
                optouts=sum(optins[owns[place]] == _OUT for place in pushed.taken),
                warnings=tuple(f"Ometria refused some of what was to be mended: {why}" for _, why in pushed.refused),
            )
        )
        if pushed.error:
            raise pushed.error

    def _record_of(self, own: str, email: object, optin: OptIn, **more: Any) -> bytes:
        """`email`: as Ometria gave it a moment ago."""
        rules = self._look.rules
        named = {"@type": "contact", "@collection": rules.collection, "id": f"{rules.list_key}-{own}".lower()}
        address = {"email": email} if email else {}
        return _encode({**named, **address, "marketing_optin": optin, **more})

    def _record(self, outcome: Outcome) -> None:
        """What Ometria could not take is no span that the next sync could read again: the run fails, to be repeated."""
        lost = next((letter for letter in outcome.letters if letter.kind == "window"), None)
        kept = tuple(letter for letter in outcome.letters if letter.kind == "contact")
        runs.record(self._task.state, self._run_id, replace(outcome, letters=kept), self._task.services.meter.take())
        self._task.warn(*outcome.warnings)
        self.has_pushed = self.has_pushed or outcome.pushed > 0
        if lost is not None:
            raise RetriableError(lost.reason)


class _Pushing:
    """Converts what is pushed whole: without consent where that would lift a no that Ometria holds.

    `said_no`: ids of those whom Ometria holds as opted out. `versions`: of what was converted, by id.
    """

    def __init__(self, look: Look, said_no: frozenset[str], *, is_opting_in: bool) -> None:
        self._look = look
        self._said_no = said_no
        self._may_be_pushed = (_OUT, _IN) if is_opting_in else (_OUT,)
        self.versions: dict[str, bytes] = {}

    def convert(self, member: Member) -> Conversion:
        converted = self._look.convert(member)
        own = member_id(member)
        if own is None or not isinstance(converted, Converted):
            return converted
        contact = converted.contact
        if own in self._said_no and contact.marketing_optin not in self._may_be_pushed:
            contact = msgspec.structs.replace(contact, marketing_optin=None)
        self.versions[own] = self._look.versions.of_contact(contact)
        return msgspec.structs.replace(converted, contact=contact)
