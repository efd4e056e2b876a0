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

import msgspec

from mcimport.convert import SMS_NO, agrees_to_texts, consent_alone, consent_part, is_contact_id, member_id
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.held import HeldLookups, allowance
from mcimport.engine.page.process import process_page
from mcimport.errors import InterruptedRunError, RetriableError
from mcimport.models import Channels, Contact, Conversion, Converted, HeldContact, Member, OptIn, Outcome, Page, Window
from mcimport.models.timestamps import epoch, iso
from mcimport.services.ometria.contacts import UnknownContactError
from mcimport.state import runs
from mcimport.sync.dead_letter_windows import watched
from mcimport.sync.list_run import ListRun
from mcimport.sync.reconcile.compare import Comparer
from mcimport.sync.reconcile.contact_reader import ContactReader
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.elsewhere_subscribed import ElsewhereSubscribed
from mcimport.sync.reconcile.fingerprints import Kind, LastPosition, is_texted
from mcimport.sync.reconcile.lookup import LookupResult, MemberLookup, check_list_is_there

_encode = msgspec.json.Encoder().encode
_NO_WINDOW = Window(number=-1, sweep="listed", since=None, until=0)  # what is pushed here belongs to no span
_IN: OptIn = "EXPLICITLY_OPTEDIN"
_OUT: OptIn = "EXPLICITLY_OPTEDOUT"
NOT_OPTED_OUT = {True: "subscribed-elsewhere", None: "perhaps-subscribed-elsewhere"}  # keys of remarks


class Mend:
    """One run's; belongs to the thread that owns the task's state. What came of it is read back by `verify`.

    `is_opting_in`: who is subscribed here and opted out in Ometria is opted in, too. `has_pushed`: anybody at all.
    """

    def __init__(
        self, comparer: Comparer, held: ContactReader, elsewhere: ElsewhereSubscribed, *, is_opting_in: bool
    ) -> None:
        self._list_run: ListRun = comparer.list_run
        self._run_id = comparer.run_id
        self._differences: DifferenceTable = comparer.differences
        self._lookup: MemberLookup = comparer.lookup
        self._horizon = comparer.due.horizon
        self._batch = self._list_run.services.ometria.batch
        self._held = held
        self._elsewhere = elsewhere
        self._look_ups = HeldLookups(self._list_run.services.contacts, None, allowance())
        self._is_opting_in = is_opting_in
        self._account_known_good = runs.has_pushed(self._list_run.state, self._list_run.row.id)
        self.has_pushed = False

    def all(self) -> None:
        """Raises what the services raise; what was pushed until then is recorded."""
        self._push_consents()
        kinds: tuple[Kind, ...] = ("stale", "missing", *(("said_no",) if self._is_opting_in else ()))
        for kind in kinds:
            for ids in self._differences.differing(kind, self._batch):
                self._bring_up_to_date(kind, ids)

    # ---- who is on the list

    def _bring_up_to_date(self, kind: Kind, ids: Sequence[str]) -> None:
        """Whoever changed since the sync point is left to the next sync, which may have an event to tell of."""
        looked = self._afresh(ids)
        due = {own: one for own, one in looked.found.items() if self._is_due(one)}
        if kind == "missing":
            due = {own: one for own, one in due.items() if one.status != "archived"}
        whole = [one for one in due.values() if isinstance(self._lookup.convert(one), Converted)]
        said_no, texted = self._differences.opted_out_among(ids), self._differences.texted(ids)
        pushing = _Pushing(self._lookup, said_no, texted, is_opting_in=kind == "said_no")
        if whole:
            page = Page(tuple(whole), len(whole), len(whole) + 1)
            self._note(kind, pushing, process_page(_NO_WINDOW, self._context(pushing), page))
        for where in self._differences.last_positions(own for own in ids if not is_contact_id(own)):
            self._bring_from_their_second(kind, where, pushing)

    def _bring_from_their_second(self, kind: Kind, where: LastPosition, pushing: _Pushing) -> None:
        """Who is known by a web_id alone cannot be asked for by it, but stands in the second of their last change."""
        if where.changed is None or where.changed > self._horizon:
            return
        rest: Window | None = Window(
            number=_NO_WINDOW.number,
            sweep="archived" if where.is_archived else "listed",
            since=where.changed - 1,
            until=where.changed,
            page=self._list_run.client.mailchimp.window,
            member_id=where.id,
        )
        while rest is not None:
            outcome = process_page(rest, self._context(pushing))
            rest = outcome.rest
            self._note(kind, pushing, outcome)

    def _is_due(self, member: Member) -> bool:
        changed = epoch(member.last_changed)
        return changed is None or changed <= self._horizon

    def _note(self, kind: Kind, pushing: _Pushing, outcome: Outcome) -> None:
        refused = {letter.member_id for letter in outcome.letters if letter.kind == "contact"}
        versions = {**pushing.versions, **{own: one for own, one in pushing.alone.items() if own in refused}}
        pushing.versions.clear()
        pushing.alone.clear()
        self._differences.note_tried(kind, versions.items())
        self._differences.note_refused(kind, (own for own in refused if own is not None))
        self._record(outcome)

    # ---- who is gone, or has no address on the list that can be used

    def _push_consents(self) -> None:
        """Each with the address that Ometria holds: its validation may drop a record without one, and tell nobody."""
        if self._held.is_few(self._differences.count_without_address()):
            with suppress(UnknownContactError):
                for ids in self._differences.without_address(self._batch):
                    self._push_consents_of(self._held.singly(ids, are_there=True))
                return self._differences.note_nothing_left()
        for page in self._held.pages():
            self._push_consents_of(page)
        return self._differences.note_nothing_left()

    def _push_consents_of(self, held: Mapping[str, HeldContact]) -> None:
        """Of those whom Ometria holds: who is still not on the list, and who says no and cannot be sent whole."""
        kinds = self._differences.without_address_among(held)
        looked = self._afresh(list(kinds))
        if looked.absent:
            check_list_is_there(self._list_run, self._differences.witness())
        self._opt_out({own: held[own] for own, kind in kinds.items() if kind == "gone"}, looked)
        self._push_noes({own: held[own] for own, kind in kinds.items() if kind == "stale"}, looked)

    def _opt_out(self, held: Mapping[str, HeldContact], looked: LookupResult) -> None:
        """NOT_SPECIFIED where a no would silence a listing that is subscribed today, or perhaps is."""
        agreed = {own: one for own, one in held.items() if one.marketing_optin == _IN or is_texted(one)}
        gone = [own for own in agreed if own not in looked.found and own not in looked.unclear]
        self._differences.leave("gone", (own for own in agreed if own not in gone))
        opted_in = {own: _address(held[own]) for own in gone if held[own].marketing_optin == _IN}
        found = self._elsewhere.among(opted_in) if opted_in else {}
        now = iso(int(time.time()))
        contacts: dict[str, Contact] = {}
        for own in gone:
            optin: OptIn | None = None if own not in found else _OUT if found[own] is False else "NOT_SPECIFIED"
            no = SMS_NO if is_texted(held[own]) else None
            contacts[own] = self._contact_of(own, held[own], optin, no, now if optin == _OUT else None)
        self._push("gone", contacts)
        self._list_run.remarks.update(NOT_OPTED_OUT[answer] for answer in found.values() if answer is not False)

    def _push_noes(self, held: Mapping[str, HeldContact], looked: LookupResult) -> None:
        """A no is carried without anything else, a yes never; neither does not lift a no that Ometria holds."""
        contacts: dict[str, Contact] = {}
        for own, one in held.items():
            member = looked.found.get(own)
            if member is None or not self._is_due(member) or isinstance(self._lookup.convert(member), Converted):
                continue
            no = SMS_NO if is_texted(one) and not agrees_to_texts(member) else None
            alone = consent_alone(member, self._lookup.rules)
            optin = alone.marketing_optin if alone is not None and one.marketing_optin != _OUT else None
            left = alone.timestamp_unsubscribed if alone is not None and optin == _OUT else None
            if optin is not None or no is not None:
                contacts[own] = self._contact_of(own, one, optin, no, left)
        self._push("stale", contacts)

    # ---- how

    def _afresh(self, ids: Sequence[str]) -> LookupResult:
        if self._list_run.services.stop.requested.is_set():
            raise InterruptedRunError("stopped")
        return self._lookup.look_up(ids)

    def _context(self, pushing: _Pushing) -> PageContext:
        list_run = self._list_run
        return PageContext(
            list_key=list_run.list_key,
            mailchimp=list_run.services.mailchimp,
            ometria=list_run.services.ometria,
            convert=pushing.convert,
            fetch_missing_tags=self._lookup.convert.fetch_missing_tags,
            rules=self._lookup.rules,
            held=self._look_ups,
            watched=watched(list_run.state, list_run.row),
            account_known_good=self._account_known_good,
            meter=list_run.services.meter,
            trace=list_run.services.trace,
        )

    def _push(self, kind: Kind, contacts: Mapping[str, Contact]) -> None:
        """Parts of contacts that Ometria holds: what is not named stays as it is."""
        if not contacts:
            return
        pushed = self._list_run.services.ometria.push(
            [_encode(one) for one in contacts.values()], account_known_good=self._account_known_good
        )
        of_consent = self._lookup.fingerprinter.of_consent
        versions = (
            (own, of_consent(one.marketing_optin, sms="" if one.channels is None else "no"))
            for own, one in contacts.items()
        )
        self._differences.note_tried(kind, versions)
        owns = list(contacts)
        self._differences.note_refused(kind, (owns[place] for place, _ in pushed.refused))
        self._record(
            Outcome(
                _NO_WINDOW,
                pushed=len(pushed.taken),
                rejected=len(pushed.refused),
                optouts=sum(contacts[owns[place]].marketing_optin == _OUT for place in pushed.taken),
                warnings=tuple(f"Ometria refused some of the fixes: {why}" for _, why in pushed.refused),
            )
        )
        if pushed.error:
            raise pushed.error

    def _contact_of(
        self, own: str, held: HeldContact, optin: OptIn | None, channels: Channels | None, left: str | None
    ) -> Contact:
        """`held`: as Ometria gave it a moment ago, address and all. `left`: `timestamp_unsubscribed`."""
        rules = self._lookup.rules
        return Contact(
            type_="contact",
            collection=rules.collection,
            id=f"{rules.list_key}-{own}".lower(),
            email=_address(held),
            marketing_optin=optin,
            channels=channels,
            timestamp_unsubscribed=left,
        )

    def _record(self, outcome: Outcome) -> None:
        """What Ometria could not take is no span that the next sync could read again: the run fails, to be repeated."""
        lost = next((letter for letter in outcome.letters if letter.kind == "window"), None)
        kept = tuple(letter for letter in outcome.letters if letter.kind == "contact")
        runs.record(
            self._list_run.state, self._run_id, replace(outcome, letters=kept), self._list_run.services.meter.drain()
        )
        self._list_run.warn(*outcome.warnings)
        self._list_run.remarks.update(dict(outcome.remarks))
        self.has_pushed = self.has_pushed or outcome.pushed > 0
        if lost is not None:
            raise RetriableError(lost.reason)


def _address(held: HeldContact) -> str | None:
    return held.email if isinstance(held.email, str) and held.email else None


class _Pushing:
    """Converts what is pushed whole: without consent where that would lift a no that Ometria holds.

    `said_no`: ids of those whom Ometria holds as opted out. `texted`: of those of whom it holds a yes to text messages:
    who has no SMS status any more is sent as a no. `versions`: of what was converted, by id; `alone`: of the consent in
    it, for those who turn out not to be sent whole.
    """

    def __init__(self, lookup: MemberLookup, said_no: frozenset[str], texted: set[str], *, is_opting_in: bool) -> None:
        self._lookup = lookup
        self._said_no = said_no
        self._texted = texted if lookup.convert.has_sms else set[str]()
        self._may_be_pushed = (_OUT, _IN) if is_opting_in else (_OUT,)
        self.versions: dict[str, bytes] = {}
        self.alone: dict[str, bytes] = {}

    def convert(self, member: Member, new_since: int | None) -> Conversion:
        converted = self._lookup.convert(member, new_since)
        own = member_id(member)
        if own is None or not isinstance(converted, Converted):
            return converted
        contact = self._allowed(own, converted.contact)
        fingerprinter, part = self._lookup.fingerprinter, consent_part(contact)
        self.versions[own] = fingerprinter.of_contact(contact)
        if part is not None:
            self.alone[own] = fingerprinter.of_consent(part.marketing_optin, sms="" if part.channels is None else "no")
        return msgspec.structs.replace(converted, contact=contact)

    def _allowed(self, own: str, contact: Contact) -> Contact:
        if own in self._said_no:
            optin = contact.marketing_optin if contact.marketing_optin in self._may_be_pushed else None
            contact = msgspec.structs.replace(contact, marketing_optin=optin, timestamp_unsubscribed=None)
        if own in self._texted and contact.channels is None:
            contact = msgspec.structs.replace(contact, channels=SMS_NO)
        return contact
