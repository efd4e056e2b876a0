"""The members of one page: converted, encoded and pushed.

Takes frozen values and returns an `Outcome`, without the state file, so that any engine can run it in any thread or
process. A record that Ometria rejects becomes a dead letter of its own; the others go through.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator

import msgspec
from msgspec.structs import replace

from mcimport.convert import consent_alone, consent_part, encode_contact, member_id
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.held import depends, settled_alone
from mcimport.engine.page.read import Deliver, consume, read_page
from mcimport.engine.page.result import EncodedRecord, PageResult
from mcimport.errors import RetriableError
from mcimport.models import (
    Contact,
    Conversion,
    Converted,
    Member,
    NewDeadLetter,
    Outcome,
    Page,
    Skipped,
    Unsendable,
    Window,
)
from mcimport.models.timestamps import epoch
from mcimport.services.http import decode_slot
from mcimport.services.ometria.delivery import Delivery
from mcimport.services.ometria.sender import BatchSender

MOST_UNFINISHED = 4  # pushes of one page that are not answered yet: a crowded second is read in many parts

_CONTACT = msgspec.json.Decoder(Contact)  # made at import, before any thread begins: see `responses`


def process_page(
    window: Window,
    context: PageContext,
    page: Page | None = None,
    deliver: Deliver | None = None,
    on_read: Callable[[Window], None] = lambda _: None,
) -> Outcome:
    """Reads one page of a window, converts and pushes its members, and returns the outcome with the window's rest.

    `page`: was read already, as the first of its sweep. `deliver`: takes the members instead, where they are not to be
    pushed. `on_read`: is called with the rest of the window, if there is one, as soon as the next page can be read,
    while this one's members are still being completed and sent.

    Raises FatalError and InterruptedRunError; every other failure of a service is in the outcome.
    """
    began, started, before = int(time.time()), time.monotonic(), context.meter.of_this_thread()
    with context.trace.window(window.number), decode_slot.held(after_wait=page is None):
        outcome = read_page(window, context, deliver or _begin_push, _await_answers, on_read, page)
    seconds = time.monotonic() - started
    return replace(outcome, began=began, seconds=seconds, costs=context.meter.of_this_thread() - before)


def push_members(members: list[Member], context: PageContext) -> tuple[Outcome, RetriableError | None]:
    """Converts and pushes members who were read one by one, and so belong to no window; empties the list.

    Returns what became of them, and why those who are left could not be pushed (None: none are left).

    Raises FatalError and InterruptedRunError.
    """
    result = PageResult(context)
    result.note_sms(members)
    with decode_slot.held():
        try:
            _begin_push(result, members, lambda: None)
            _await_answers(result)
        except RetriableError as error:
            return result.outcome(), error
        finally:
            result.close()
    return result.outcome(), None


def _begin_push(result: PageResult, members: list[Member], on_room: Callable[[], None]) -> None:
    """Converts members and begins to push them; returns when there is room for the records of another page.

    `on_room` is called before this thread waits for the decode slot again: other pages may be converted first. It
    empties the list, so that memory holds a page or its records, not both. Raises RetriableError where Ometria could
    not be reached for members whose push was begun before.
    """
    while len(result.unfinished) >= MOST_UNFINISHED:
        deque(result.unfinished.popleft(), maxlen=0)  # to its end
    push = _push(result, members, on_room)
    result.unfinished.append(push)
    next(push)


def _await_answers(result: PageResult) -> None:
    """Waits for what becomes of all members whose push was begun, then pushes the consent of refused members alone.

    Raises RetriableError where Ometria could not be reached after all tries, once all others are answered.
    """
    decode_slot.give_back()
    failure: RetriableError | None = None
    # First each hands over what it still has, so that what waits for an answer does not wait for another answer before.
    for push in [*result.unfinished] * 2:
        try:
            next(push, None)
        except RetriableError as error:
            failure = failure or error
    result.unfinished.clear()
    if failure is None and result.alone and result.context.sender is not None:
        with decode_slot.released():
            failure = _push_alone(result, result.context.sender)
    if failure is not None:
        raise failure


def _push(result: PageResult, members: list[Member], on_room: Callable[[], None]) -> Generator[None]:
    """Pushes members, and yields twice: when those who are complete are handed over, and when the others are, too.

    Before the first time it waits until there is room for more. The others are those whose tags are asked for, and
    those who must be looked up in Ometria: neither the complete ones nor the next page wait for them. Raises
    RetriableError where Ometria could not be reached after all tries.
    """
    with result.context.fetch_missing_tags(members) as late:
        ready = _ready(result, members)
        sender = result.context.sender
        if sender is None:
            yield
            _note_taken(result, [*ready, *_ready(result, late())])
            yield
            return
        sure = [entry for entry in ready if entry.contact is None]
        last = {entry.who: entry for entry in ready if entry.contact is not None}
        del ready
        handed_over: list[Delivery] = []
        try:
            with decode_slot.released():
                handed_over.append(first := _hand_over(sender, sure))
                sender.await_room(first)
                on_room()
            yield
            with decode_slot.released():
                if completed := late():
                    with decode_slot.held():
                        last |= {entry.who: entry for entry in _ready(result, completed)}
                settled = _settled(result, list(last.values()))
                handed_over.append(second := _hand_over(sender, settled))
            yield
            with decode_slot.released():
                failures = [_note_answers(result, sure, first), _note_answers(result, settled, second)]
        except BaseException:
            with decode_slot.released():
                sender.cancel(handed_over)
            raise
    for failure in filter(None, failures):
        raise failure


def _hand_over(sender: BatchSender, entries: list[EncodedRecord]) -> Delivery:
    """Hands records over to the sender, and takes them out of the entries."""
    delivery = sender.begin([entry.who for entry in entries], [entry.record for entry in entries])
    for entry in entries:
        entry.record = b""
    return delivery


def _ready(result: PageResult, members: list[Member]) -> list[EncodedRecord]:
    """Converts and encodes members, and empties the list."""
    records: dict[str, EncodedRecord] = {}
    result.members += len(members)
    context = result.context
    new_since = result.new_since
    is_by_member = bool(context.watched or context.never_sent)
    with context.meter.timed("converting"):
        for member in consume(members):
            if is_by_member and result.new_since is not None:
                new_since = _new_since(result.new_since, context, member)
            _convert(result, member, context.convert(member, new_since), records)
    return list(records.values())


def _settled(result: PageResult, ready: list[EncodedRecord]) -> list[EncodedRecord]:
    """Looks up what Ometria holds where a record depends on it, and returns the records as they may be sent."""
    held, open_ = result.context.held, [entry.contact for entry in ready if entry.contact is not None]
    if held is None or not open_:
        return ready
    found = held.settled(open_)
    result.looked_up += found.asked
    by_id = {contact.id: contact for contact in found.contacts}
    return [
        entry if entry.contact is None else _closed(entry, by_id[entry.contact.id], found.unknown) for entry in ready
    ]


def _closed(entry: EncodedRecord, settled: Contact, unknown: frozenset[str]) -> EncodedRecord:
    record = encode_contact(settled)
    assert isinstance(record, bytes)  # noqa: S101 - it fitted before, and can only have lost a field
    is_unknown = settled.id in unknown
    return msgspec.structs.replace(
        entry, record=record, optin=settled.marketing_optin, contact=None, is_unknown=is_unknown
    )


def _push_alone(result: PageResult, sender: BatchSender) -> RetriableError | None:
    """Pushes the consent of members who cannot be sent whole; they stay rejected, and their dead letters open."""
    found = settled_alone(result.alone.values(), result.context.held)
    result.alone.clear()
    result.looked_up += found.asked
    ids = [contact.id[len(result.context.list_key) + 1 :] for contact in found.contacts]
    records = [msgspec.json.encode(contact) for contact in found.contacts]
    pushed = sender.push(ids, records, is_counted=False)  # their members are not imported
    result.note_unknown([contact.id in found.unknown for contact in found.contacts], pushed)
    is_no = [contact.marketing_optin == "EXPLICITLY_OPTEDOUT" for contact in found.contacts]
    result.remark("no_carried", sum(is_no[place] for place in pushed.taken))
    result.remark("no_refused", sum(is_no[place] for place, _ in pushed.refused))
    return pushed.error


def _note_answers(result: PageResult, entries: list[EncodedRecord], delivery: Delivery) -> RetriableError | None:
    """Waits for what becomes of records, notes it, and returns why some could not be sent; None: all were."""
    pushed = delivery.result()
    result.note_unknown([entry.is_unknown for entry in entries], pushed)
    _note_taken(result, [entries[place] for place in pushed.taken])
    for place, reason in pushed.refused:
        is_no = entries[place].optin == "EXPLICITLY_OPTEDOUT"
        _set_aside_one(result, entries[place].who, epoch(entries[place].changed), reason, is_no=is_no)
        _keep_consent_of_record(result, delivery.records[place])
    return pushed.error


def _convert(result: PageResult, member: Member, converted: Conversion, records: dict[str, EncodedRecord]) -> None:
    """Adds the member's record under its id; of two with one id the later stays, so that a batch holds each id once."""
    if not isinstance(converted, Converted):
        _leave_out(result, member, converted)
        return
    contact, context = converted.contact, result.context
    if contact.timestamp_unsubscribed is not None:
        contact = _undated(result, contact, member)
    record = encode_contact(contact)
    if isinstance(record, Unsendable):
        _leave_out(result, member, record, contact)
        return
    records[contact.id] = EncodedRecord(
        contact.id[len(context.list_key) + 1 :],
        member.last_changed,
        record,
        contact.marketing_optin,
        contact.timestamp_subscribed is not None,
        contact if context.held is not None and depends(contact) else None,
        _lacks(contact) if context.sender is None else (),
    )
    if result.alone:
        result.alone.pop(contact.id, None)
    if converted.warnings or converted.remarks or converted.permissions:
        result.note_conversion(converted)


def _new_since(new_since: int, context: PageContext, member: Member) -> int:
    """Returns from when on an opt-in of this member is new, where some were not sent in earlier runs.

    A member who has an open dead letter, or who opted in in a span that has one, was not sent since that was written,
    and so is as new as to the run that wrote it.
    """
    opted = epoch(member.timestamp_opt) or epoch(member.timestamp_signup)
    spans = [
        new for since, until, new in context.never_sent if opted is not None and opted <= until and opted > (since or 0)
    ]
    return min([new_since, *spans, context.watched.get(member_id(member) or "", new_since)])


def _leave_out(result: PageResult, member: Member, why: Skipped | Unsendable, contact: Contact | None = None) -> None:
    """Counts a member who is not sent, and keeps their consent to be pushed alone.

    `contact`: what the member became, where that is too large to be sent.
    """
    if isinstance(why, Skipped):
        result.skipped += 1
        return
    _set_aside_one(result, member_id(member), epoch(member.last_changed), why.reason)
    rules = result.context.rules
    if rules is None or result.context.sender is None:
        return
    alone = consent_part(contact) if contact is not None else consent_alone(member, rules)
    if alone is not None:
        result.alone[alone.id] = _undated(result, alone, member)


def _keep_consent_of_record(result: PageResult, refused: bytes) -> None:
    """Keeps the consent in a record that Ometria refuses: what it refuses may be anything else in it."""
    contact = consent_part(_CONTACT.decode(refused)) if result.context.rules is not None else None
    if contact is not None:
        result.alone[contact.id] = contact


def _undated(result: PageResult, contact: Contact, member: Member) -> Contact:
    """See `HeldLookups.undated`; a dead letter's members were perhaps not sent before, whenever they changed."""
    held = result.context.held
    if held is None or result.is_replay:
        return contact
    return held.undated(contact, epoch(member.last_changed))


def _lacks(contact: Contact) -> tuple[str, ...]:
    """Returns which of country, phone and name the contact does not have."""
    name = contact.firstname or contact.lastname
    found = {"country": contact.country_id, "phone": contact.phone_number, "name": name}
    return tuple(name for name, value in found.items() if value is None)


def _note_taken(result: PageResult, taken: list[EncodedRecord]) -> None:
    """Counts records that Ometria took; in a dry run, those that it would have been sent."""
    result.pushed += len(taken)
    result.consents.update(entry.optin for entry in taken)
    result.events += sum(entry.is_event for entry in taken)
    if result.context.watched:
        result.delivered.extend(entry.who for entry in taken if entry.who in result.context.watched)
    result.lacking.update(itertools.chain.from_iterable(entry.lacks for entry in taken))
    result.draw_sample(entry.who for entry in taken)


def _set_aside_one(
    result: PageResult, who: str | None, moment: int | None, reason: str, *, is_no: bool = False
) -> None:
    """Makes a dead letter for one member whom Ometria will not take.

    `who`: the member's id, without the list. `moment`: the second of the last change. `is_no`: it is an opt-out.
    """
    result.rejected += 1
    result.unsendable[reason] += 1
    since = None if moment is None else moment - 1
    result.letters.append(
        NewDeadLetter(
            *("contact", "refusal", result.sweep, since, moment, reason, who),
            is_no=is_no,
            members=1,
            precision="exactly",
        )
    )
