"""The mend: pushes what differs; opt-outs first, then contacts that are stale, then members who are missing.

What was pushed is read back, and only what is seen in Ometria counts as mended.

This folder's README has its rules. One that is killed has mended a part; the next comparison finds the rest.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import get_args

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from mcimport.convert import SMS_NO, agrees_to_texts, consent_alone, consent_part, is_contact_id, member_id
from mcimport.engine.page.context import PageContext, make_context
from mcimport.engine.page.held import HeldLookups, allowance
from mcimport.engine.page.process import process_page, push_members
from mcimport.errors import RetriableError
from mcimport.models import NO_NUMBER, Contact, Conversion, Converted, HeldContact, Member, OptIn, Outcome, Window
from mcimport.models.timestamps import epoch, iso
from mcimport.report.format import pluralize
from mcimport.services.ometria.sender import BatchSender
from mcimport.state import runs
from mcimport.sync.dead_letter_windows import watched
from mcimport.sync.reconcile.compare import AT_ONCE, Comparer
from mcimport.sync.reconcile.contact_reader import ContactReader
from mcimport.sync.reconcile.elsewhere_subscribed import ElsewhereSubscribed
from mcimport.sync.reconcile.fingerprints import Kind, is_texted
from mcimport.sync.reconcile.lookup import LookupResult, MemberLookup

_encode = msgspec.json.Encoder().encode
_IN: OptIn = "EXPLICITLY_OPTEDIN"
_OUT: OptIn = "EXPLICITLY_OPTEDOUT"
LOOKS = 4  # at the contacts that are not as pushed yet: validation may lag behind
NOT_OPTED_OUT = {True: "subscribed-elsewhere", None: "perhaps-subscribed-elsewhere"}  # keys of remarks


class Mend:
    """Mends what one run found; belongs to the thread that owns the list run's state."""

    def __init__(
        self, comparer: Comparer, elsewhere: ElsewhereSubscribed, differing: int, *, is_opting_in: bool
    ) -> None:
        self._differing = differing
        self._list_run = comparer.list_run
        self._run_id = comparer.run_id
        self._differences = comparer.differences
        self._pushes = comparer.differences.pushes
        self._lookup = comparer.lookup
        self._horizon = comparer.due.horizon
        self._batch = self._list_run.services.ometria.batch
        self._reader = ContactReader(self._list_run, comparer.pages)
        self._elsewhere = elsewhere
        self._look_ups = HeldLookups(self._list_run.services.contacts, None, allowance())
        self._is_opting_in = is_opting_in
        self._sender = BatchSender(
            self._list_run.services.ometria,
            account_known_good=runs.has_pushed_to_account(self._list_run.state, self._list_run.row),
            accepted=self._count,
        )
        self._accepted = 0
        self._has_pushed = False

    def _count(self, contacts: int) -> None:
        """Reports how many fixes Ometria has accepted; called with the sender's lock held."""
        self._accepted += contacts
        differing = pluralize(self._differing, "difference")
        self._list_run.say_step(f"fixing {differing}: {self._accepted:,} pushed")

    def all(self) -> None:
        """Mends every kind of difference. Raises what the services raise; what was pushed until then is recorded."""
        self._push_consents()
        kinds: tuple[Kind, ...] = ("stale", "missing", *(("said_no",) if self._is_opting_in else ()))
        for kind in kinds:
            for ids in self._pushes.differing(kind, self._batch):
                self._bring_up_to_date(kind, ids)

    def verify(self) -> None:
        """Reads contacts back when Ometria has had time to validate them, and some again that are not as pushed.

        Raises what reading them raises, and InterruptedRunError.
        """
        settling, of_held = self._list_run.client.reconcile.settling, self._lookup.fingerprinter.of_held
        pause = settling if self._has_pushed else 0.0
        for _ in range(LOOKS):
            self._list_run.settle(pause)
            unseen = ((ids, kind == "gone") for kind in get_args(Kind) for ids in self._pushes.unseen(kind, AT_ONCE))
            pages = self._reader.read(self._pushes.count_unseen(), unseen)
            self._pushes.note_look({own_id: of_held(held) for own_id, held in page.items()} for page in pages)
            if not self._pushes.count_unseen(but_refused=True):
                return
            pause = max(1.0, settling / 2)

    # ---- members who are on the list

    def _bring_up_to_date(self, kind: Kind, ids: Sequence[str]) -> None:
        """Pushes these members whole, as they are now.

        Members who changed since the sync point are left to the next sync, which may have an event to cause.
        """
        due = [member for member in self._lookup.look_up(ids).found.values() if self._is_due(member)]
        if kind == "missing":
            due = [member for member in due if member.status != "archived"]
        whole = [member for member in due if isinstance(self._lookup.convert(member), Converted)]
        texted = self._pushes.agreeing_to_texts(ids) if self._lookup.convert.has_sms else set[str]()
        converter = _MendConverter(self._lookup, self._pushes.opted_out_among(ids), texted, kind == "said_no")
        if whole:
            outcome, failure = push_members(whole, self._context(converter))
            self._note(kind, converter, outcome)
            if failure is not None:
                raise failure
        # Members who are known by a web_id alone are found only in the second of their last change.
        unasked = [own_id for own_id in ids if not is_contact_id(own_id)]
        size = self._list_run.client.mailchimp.window
        for own_id, sweep, changed in self._pushes.last_changes(unasked, self._horizon):
            rest: Window | None = Window(NO_NUMBER, sweep, changed - 1, changed, size, member_id=own_id)
            while rest is not None:
                outcome = process_page(rest, self._context(converter))
                rest = outcome.rest
                self._note(kind, converter, outcome)

    def _is_due(self, member: Member) -> bool:
        changed = epoch(member.last_changed)
        return changed is None or changed <= self._horizon

    def _note(self, kind: Kind, converter: _MendConverter, outcome: Outcome) -> None:
        """Records which versions were pushed whole; of refused members, the version of the consent alone."""
        refused = {letter.member_id for letter in outcome.letters if letter.kind == "contact"}
        alone = {own_id: version for own_id, version in converter.alone.items() if own_id in refused}
        self._pushes.note_tried(kind, {**converter.versions, **alone}.items())
        converter.versions.clear()
        converter.alone.clear()
        self._pushes.note_refused(kind, (own_id for own_id in refused if own_id is not None))
        self._record(outcome)

    # ---- members who are gone, or have no address on the list that can be used

    def _push_consents(self) -> None:
        """Pushes consents, each with the address that Ometria holds: its validation may silently drop one without."""
        batches = ((ids, True) for ids in self._pushes.without_address(self._batch))
        for held in self._reader.read(self._pushes.count_without_address(), batches):
            self._push_consents_of(held)
        self._pushes.note_nothing_left()

    def _push_consents_of(self, held: Mapping[str, HeldContact]) -> None:
        """Pushes the consents of contacts that are still not on the list, and of members who cannot be sent whole."""
        kinds = self._pushes.without_address_among(held)
        looked = self._lookup.look_up(list(kinds))
        if looked.absent:
            self._lookup.check_list_is_there(self._differences.witness())
        self._opt_out({own_id: held[own_id] for own_id, kind in kinds.items() if kind == "gone"}, looked)
        self._push_opt_outs({own_id: held[own_id] for own_id, kind in kinds.items() if kind == "stale"}, looked)

    def _opt_out(self, held: Mapping[str, HeldContact], looked: LookupResult) -> None:
        """Opts out contacts that are gone from the list.

        NOT_SPECIFIED where an opt-out would silence a listing that is subscribed today, or perhaps is.
        """
        agreed = [own_id for own_id, contact in held.items() if contact.marketing_optin == _IN or is_texted(contact)]
        gone = [own_id for own_id in agreed if own_id not in looked.found and own_id not in looked.unclear]
        self._pushes.leave("gone", set(agreed).difference(gone))
        opted_in = {own_id: _address(held[own_id]) for own_id in gone if held[own_id].marketing_optin == _IN}
        found = self._elsewhere.among(opted_in) if opted_in else {}
        now = iso(int(time.time()))
        contacts: dict[str, Contact] = {}
        for own_id in gone:
            optin: OptIn | None = None
            if own_id in found:
                optin = _OUT if found[own_id] is False else "NOT_SPECIFIED"
            left = now if optin == _OUT else None
            contacts[own_id] = self._contact_of(own_id, held[own_id], optin, left, sms_no=is_texted(held[own_id]))
        self._push("gone", contacts)
        self._list_run.remarks.update(NOT_OPTED_OUT[answer] for answer in found.values() if answer is not False)

    def _push_opt_outs(self, held: Mapping[str, HeldContact], looked: LookupResult) -> None:
        """Pushes an opt-out without anything else, an opt-in never; what is neither lifts no opt-out in Ometria."""
        contacts: dict[str, Contact] = {}
        for own_id, contact in held.items():
            member = looked.found.get(own_id)
            if member is None or not self._is_due(member) or isinstance(self._lookup.convert(member), Converted):
                continue
            sms_no = is_texted(contact) and not agrees_to_texts(member)
            alone = consent_alone(member, self._lookup.rules)
            optin = alone.marketing_optin if alone is not None and contact.marketing_optin != _OUT else None
            left = alone.timestamp_unsubscribed if alone is not None and optin == _OUT else None
            if optin is not None or sms_no:
                contacts[own_id] = self._contact_of(own_id, contact, optin, left, sms_no=sms_no)
        self._push("stale", contacts)

    # ---- how

    def _context(self, converter: _MendConverter) -> PageContext:
        list_run = self._list_run
        return replace(
            make_context(list_run.services, list_run.list_key, self._lookup.convert, self._sender),
            convert=converter.convert,
            rules=self._lookup.rules,
            held=self._look_ups,
            watched=watched(list_run.state, list_run.row),
        )

    def _push(self, kind: Kind, contacts: Mapping[str, Contact]) -> None:
        """Pushes parts of contacts that Ometria holds, by the members' ids: what is not named stays as it is."""
        if not contacts:
            return
        pushed = self._sender.push(list(contacts), [_encode(contact) for contact in contacts.values()])
        of_part = self._lookup.fingerprinter.of_part
        self._pushes.note_tried(kind, ((own_id, of_part(contact)) for own_id, contact in contacts.items()))
        ids = list(contacts)
        self._pushes.note_refused(kind, (ids[place] for place, _ in pushed.refused))
        self._record(
            Outcome(
                pushed=len(pushed.taken),
                rejected=len(pushed.refused),
                optouts=sum(contacts[ids[place]].marketing_optin == _OUT for place in pushed.taken),
                warnings=tuple(f"Ometria refused some of the fixes: {why}" for _, why in pushed.refused),
            )
        )
        if pushed.error:
            raise pushed.error

    def _contact_of(
        self, own_id: str, held: HeldContact, optin: OptIn | None, left: str | None, *, sms_no: bool
    ) -> Contact:
        """Returns the part of a contact that is pushed. `held`: read a moment ago. `left`: when they unsubscribed."""
        rules = self._lookup.rules
        return Contact(
            type_="contact",
            collection=rules.collection,
            id=f"{rules.list_key}-{own_id}".lower(),
            email=_address(held),
            marketing_optin=optin,
            channels=SMS_NO if sms_no else None,
            timestamp_unsubscribed=left,
        )

    def _record(self, outcome: Outcome) -> None:
        """Records what was pushed, with the dead letters of single contacts.

        Raises RetriableError where Ometria could not take the rest: a sync could not read that again, so the run fails
        and is to be repeated.
        """
        self._list_run.record_extra(self._run_id, outcome)
        self._has_pushed |= outcome.pushed > 0
        for letter in outcome.letters:
            if letter.kind == "window":
                raise RetriableError(letter.reason)


def _address(held: HeldContact) -> str | None:
    return held.email if isinstance(held.email, str) and held.email else None


class _MendConverter(Struct, frozen=True):
    """Converts members who are pushed whole, without a consent that would lift an opt-out in Ometria.

    Attributes:
        said_no: ids of contacts that are opted out in Ometria.
        texted: ids of contacts with a yes to text messages there; a member without an SMS status is sent as a no.
        is_opting_in: members who are subscribed are opted in even where Ometria holds an opt-out.
        versions: what was converted, by id.
        alone: the consent in it, by id, for members who turn out not to be sent whole.
    """

    lookup: MemberLookup
    said_no: set[str]
    texted: set[str]
    is_opting_in: bool
    versions: dict[str, bytes] = field(default_factory=dict)
    alone: dict[str, bytes] = field(default_factory=dict)

    def convert(self, member: Member, new_since: int | None) -> Conversion:
        converted = self.lookup.convert(member, new_since)
        own_id = member_id(member)
        if own_id is None or not isinstance(converted, Converted):
            return converted
        contact = self._allowed(own_id, converted.contact)
        fingerprinter, part = self.lookup.fingerprinter, consent_part(contact)
        self.versions[own_id] = fingerprinter.of_contact(contact)
        if part is not None:
            self.alone[own_id] = fingerprinter.of_part(part)
        return msgspec.structs.replace(converted, contact=contact)

    def _allowed(self, own_id: str, contact: Contact) -> Contact:
        if own_id in self.said_no:
            is_allowed = contact.marketing_optin == _OUT or (self.is_opting_in and contact.marketing_optin == _IN)
            optin = contact.marketing_optin if is_allowed else None
            contact = msgspec.structs.replace(contact, marketing_optin=optin, timestamp_unsubscribed=None)
        if own_id in self.texted and contact.channels is None:
            contact = msgspec.structs.replace(contact, channels=SMS_NO)
        return contact
