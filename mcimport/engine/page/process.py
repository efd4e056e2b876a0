"""One page of a window: fetch, convert, push; frozen values in, an `Outcome` out, no state: any engine can run it.

Rejections of single records become letters of their own; everything else goes on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from mcimport.convert import consent_alone, consent_part, encode_contact, has_sms_status, is_contact_id, member_id
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.fetch import counted, fetch_page, narrow_failure, shrink_suspects
from mcimport.engine.page.held import depends, settled_alone
from mcimport.engine.page.result import EncodedRecord, PageResult
from mcimport.errors import NotFoundError, RetriableError, ServiceTimeoutError
from mcimport.models import (
    Contact,
    Converted,
    Member,
    NewDeadLetter,
    Outcome,
    Page,
    Precision,
    Skipped,
    Unsendable,
    Window,
)
from mcimport.models.timestamps import epoch
from mcimport.services.http import decode_slot
from mcimport.services.mailchimp import pagination
from mcimport.services.mailchimp.pagination import PageSplit
from mcimport.services.mailchimp.same_second import read_same_second
from mcimport.services.ometria.client import OmetriaClient

_CONTACT = msgspec.json.Decoder(Contact)  # before any thread begins: see `mailchimp`


def process_page(window: Window, context: PageContext, page: Page | None = None) -> Outcome:
    """Moves one page of a window and says what is left of it. `page`: was read already, and is all there is.

    Raises FatalError and InterruptedRunError; every other failure of a service is in the outcome.
    """
    began, started, before = int(time.time()), time.monotonic(), context.meter.of_this_thread()
    with context.trace.window(window.number), decode_slot.held():
        outcome = _moved(window, context, page)
    seconds = time.monotonic() - started
    return replace(outcome, began=began, seconds=seconds, costs=context.meter.of_this_thread() - before)


def _moved(window: Window, context: PageContext, page: Page | None) -> Outcome:
    result = PageResult(window, context)
    if page is not None:
        is_all = all(moment is None or moment <= window.until for moment in page.moments)
        return _carry(result, list(pagination.whole_page(window, page)), None, "exactly" if is_all else "about")
    if window.member_id is not None and _is_empty(window):
        return _carry_missing(result)
    try:
        split, asked = fetch_page(window, context, result)
    except RetriableError as error:
        return narrow_failure(result, error)
    if split.verdict == "crowded":
        return _carry_crowd(result, split, asked)
    rest = None if split.verdict == "over" else shrink_suspects(split.rest, len(split.kept), asked)
    kept = list(split.kept)
    del split  # so that nobody but `kept` holds the page while its records wait for their turn
    return _carry(result, kept, rest)


def _carry(result: PageResult, members: list[Member], rest: Window | None, precision: Precision = "exactly") -> Outcome:
    """Delivers what was read; what Ometria does not take for good becomes a letter for the page's span.

    `precision`: of their number, as one of the span's members.
    """
    window, many = result.window, len(members)
    try:
        _deliver(result, members)
        if rest is None and window.member_id is not None and not result.seen_only:
            return _carry_missing(result)
    except RetriableError as error:
        end = window.until if rest is None or rest.through is None else rest.through
        result.add_dead_letter(
            window.start, end, error, 1 if window.member_id is not None else result.left_of(many), precision
        )
        return result.outcome(rest, failed=True)
    return result.outcome(rest)


def _carry_crowd(result: PageResult, split: PageSplit, asked: int) -> Outcome:
    """A second larger than a page: its passes are one piece of work."""
    window, second = result.window, split.second
    rest = split.rest if window.suspect_count else replace(split.rest, page=asked)
    undated = [member for member in split.kept if epoch(member.last_changed) is None]
    try:
        failure = _deliver_all(
            result,
            itertools.chain(
                [undated], read_same_second(result.context.mailchimp, result.context.list_key, rest, second)
            ),
        )
    except ServiceTimeoutError as error:
        if rest.page > pagination.SMALLEST_PAGE:
            return result.outcome(replace(window, page=pagination.half(rest.page)))
        failure = error
    except RetriableError as error:
        failure = error
    if failure is None and second >= window.until and window.member_id is not None and not result.seen_only:
        return _carry_missing(result)
    if failure is not None:
        _add_crowd_dead_letter(result, second, failure)
    rest = shrink_suspects(replace(rest, through=second), result.members, asked)
    return result.outcome(rest, failed=failure is not None)


def _add_crowd_dead_letter(result: PageResult, second: int, error: RetriableError) -> None:
    """As many of the second as Mailchimp counts, less those who were sent; else at least those who were read."""
    span = (second - 1, second)
    many = counted(result, span)
    if many is None:
        result.add_dead_letter(*span, error, result.left_of(result.members), "at least")
    else:
        result.add_dead_letter(*span, error, result.left_of(many))


def _deliver_all(result: PageResult, batches: Iterable[list[Member]]) -> RetriableError | None:
    """Delivers batch after batch; returns what kept Ometria from taking one, raises what kept one from being read."""
    for members in batches:
        try:
            _deliver(result, members)
        except RetriableError as error:
            return error
    return None


def _carry_missing(result: PageResult) -> Outcome:
    """The one member looked for is not in that second any more: ask for them by id; only a 404 says "gone".

    Mailchimp finds nobody by web_id. Who is known by that alone has left the second by a change, which an incremental
    run carries, or is not there any more.
    """
    window, context = result.window, result.context
    if not is_contact_id(window.member_id):
        return result.outcome(None, gone=True)
    try:
        member = context.mailchimp.member(context.list_key, window.member_id or "")
        if _is_left_out(window, member):
            return result.outcome(None, gone=True)
        _deliver(result, [member])
    except NotFoundError:
        return result.outcome(None, gone=True)
    except RetriableError as error:
        result.add_dead_letter(window.since, window.until, error, 1, "exactly")
        return result.outcome(None, failed=True)
    return result.outcome(None)


def _is_empty(window: Window) -> bool:
    return window.since is not None and window.since >= window.until


def _is_left_out(window: Window, member: Member) -> bool:
    """Of an empty span: they have not changed since the list leaves them out (see `dead_letter_windows`)."""
    changed = epoch(member.last_changed)
    return _is_empty(window) and changed is not None and changed <= window.until


def _deliver(result: PageResult, members: list[Member]) -> None:
    """Converts, encodes and pushes; empties `members`, so that a page is forgotten as its records come to be.

    Raises RetriableError when Ometria cannot be reached for good.
    """
    result.has_sms = result.has_sms or any(map(has_sms_status, members))
    if result.window.member_id is not None:
        members[:] = [member for member in members if member_id(member) == result.window.member_id]
        result.seen_only = result.seen_only or bool(members)
    with result.context.fetch_missing_tags(members) as late:
        ready = _ready(result, members)
        ometria = result.context.ometria
        if ometria is None:
            _note_taken(result, [*ready, *_ready(result, late())])
            return
        ready.sort(key=_is_open)  # who has to be looked up comes last, and keeps nobody waiting
        full = sum(not _is_open(one) for one in ready) // ometria.batch * ometria.batch
        _push(result, ometria, ready[:full])
        last = {one.who: one for one in (*ready[full:], *_ready(result, late()))}
        del ready
        _push(result, ometria, _settled(result, list(last.values())))
        _push_alone(result, ometria)


def _ready(result: PageResult, members: list[Member]) -> list[EncodedRecord]:
    records: dict[str, EncodedRecord] = {}
    members.reverse()
    with result.context.meter.timed("converting"):
        while members:
            result.members += 1
            _convert(result, members.pop(), records)
    return list(records.values())


def _is_open(one: EncodedRecord) -> bool:
    """What may be sent depends on what Ometria holds."""
    return one.contact is not None


def _settled(result: PageResult, ready: list[EncodedRecord]) -> list[EncodedRecord]:
    held, open_ = result.context.held, [one.contact for one in ready if one.contact is not None]
    if held is None or not open_:
        return ready
    found = held.settled(open_)
    result.note_settled(found)
    by_id = {contact.id: contact for contact in found.contacts}
    return [_closed(one, by_id) for one in ready]


def _closed(one: EncodedRecord, settled: Mapping[str, Contact]) -> EncodedRecord:
    if one.contact is None:
        return one
    contact = settled[one.contact.id]
    record = encode_contact(contact)
    assert isinstance(record, bytes)  # noqa: S101 - it fitted before, and can only have lost a field
    return msgspec.structs.replace(one, record=record, optin=contact.marketing_optin, contact=None)


def _push_alone(result: PageResult, ometria: OmetriaClient) -> None:
    """The consent of who cannot be sent whole; they stay rejected, and their letters open."""
    if not result.alone:
        return
    found = settled_alone(result.alone.values(), result.context.held)
    result.alone.clear()
    result.note_settled(found)
    pushed = ometria.push(
        [msgspec.json.encode(contact) for contact in found.contacts],
        account_known_good=result.context.account_known_good,
    )
    is_no = [contact.marketing_optin == "EXPLICITLY_OPTEDOUT" for contact in found.contacts]
    result.remark("no_carried", sum(is_no[place] for place in pushed.taken))
    result.remark("no_refused", sum(is_no[place] for place, _ in pushed.refused))
    if pushed.error:
        raise pushed.error


def _push(result: PageResult, ometria: OmetriaClient, ready: list[EncodedRecord]) -> None:
    if not ready:
        return
    pushed = ometria.push([one.record for one in ready], account_known_good=result.context.account_known_good)
    _note_taken(result, [ready[place] for place in pushed.taken])
    for place, reason in pushed.refused:
        is_no = ready[place].optin == "EXPLICITLY_OPTEDOUT"
        _set_aside_one(result, ready[place].who, epoch(ready[place].changed), reason, is_no=is_no)
        _keep_consent_of_record(result, ready[place])
    if pushed.error:
        raise pushed.error


def _convert(result: PageResult, member: Member, records: dict[str, EncodedRecord]) -> None:
    """Adds the member's record under its id, so that an id stands in a batch once, the later one."""
    converted = result.context.convert(member, _new_since(result, member))
    if not isinstance(converted, Converted):
        _leave_out(result, member, converted)
        return
    contact, held = converted.contact, result.context.held
    if contact.timestamp_unsubscribed is not None:
        contact = _undated(result, contact, member)
    record = encode_contact(contact)
    if isinstance(record, Unsendable):
        _leave_out(result, member, record, contact)
        return
    records[contact.id] = EncodedRecord(
        who=contact.id[len(result.context.list_key) + 1 :],
        changed=member.last_changed,
        record=record,
        optin=contact.marketing_optin,
        is_event=contact.timestamp_subscribed is not None,
        contact=contact if held is not None and depends(contact) else None,
        lacks=_lacks(contact) if result.context.ometria is None else (),
    )
    if result.alone:
        result.alone.pop(contact.id, None)
    if converted.warnings:
        result.warnings.update(converted.warnings)
    if converted.remarks:
        result.remarks.update(converted.remarks)
    if converted.permissions:
        result.permissions.update(converted.permissions)


def _new_since(result: PageResult, member: Member) -> int | None:
    """Who has an open dead letter, or opted in in a span that has one, was never sent since.

    They are as new as to the run that wrote it.
    """
    new_since, context = result.window.new_since, result.context
    if new_since is None or not (context.watched or context.never_sent):
        return new_since
    opted = epoch(member.timestamp_opt) or epoch(member.timestamp_signup)
    spans = [
        new for since, until, new in context.never_sent if opted is not None and opted <= until and opted > (since or 0)
    ]
    return min([new_since, *spans, context.watched.get(member_id(member) or "", new_since)])


def _leave_out(result: PageResult, member: Member, why: Skipped | Unsendable, contact: Contact | None = None) -> None:
    """`contact`: what the member became, where that is too large to be sent."""
    if isinstance(why, Skipped):
        result.skipped += 1
        return
    _set_aside_one(result, member_id(member), epoch(member.last_changed), why.reason)
    rules = result.context.rules
    if rules is None or result.context.ometria is None:
        return
    alone = consent_part(contact) if contact is not None else consent_alone(member, rules)
    if alone is not None:  # of a member who cannot be sent whole, to be carried all the same
        result.alone[alone.id] = _undated(result, alone, member)


def _keep_consent_of_record(result: PageResult, refused: EncodedRecord) -> None:
    """Of a member whose record Ometria refuses: what it refuses may be anything but the consent."""
    contact = consent_part(_CONTACT.decode(refused.record)) if result.context.rules is not None else None
    if contact is not None:
        result.alone[contact.id] = contact


def _undated(result: PageResult, contact: Contact, member: Member) -> Contact:
    """Who has a dead letter, or is in one's span, was perhaps not carried before, whenever they changed."""
    held = result.context.held
    if held is None or result.window.letter_id is not None:
        return contact
    return held.undated(contact, epoch(member.last_changed))


def _lacks(contact: Contact) -> tuple[str, ...]:
    found = {
        "country": contact.country_id,
        "phone": contact.phone_number,
        "name": contact.firstname or contact.lastname,
    }
    return tuple(name for name, value in found.items() if value is None)


def _note_taken(result: PageResult, taken: list[EncodedRecord]) -> None:
    result.pushed += len(taken)
    result.consents.update(one.optin for one in taken)
    result.events += sum(one.is_event for one in taken)
    if result.context.watched:
        result.delivered.extend(one.who for one in taken if one.who in result.context.watched)
    result.lacking.update(itertools.chain.from_iterable(one.lacks for one in taken))
    result.draw_sample(one.who for one in taken)


def _set_aside_one(
    result: PageResult, who: str | None, moment: int | None, reason: str, *, is_no: bool = False
) -> None:
    """A member whom Ometria will not take becomes a letter of their own."""
    result.rejected += 1
    result.unsendable[reason] += 1
    since = None if moment is None else moment - 1
    result.letters.append(
        NewDeadLetter(
            *("contact", "refusal", result.window.sweep, since, moment, reason, who),
            is_no=is_no,
            members=1,
            precision="exactly",
        )
    )
