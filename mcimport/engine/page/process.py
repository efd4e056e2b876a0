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
from mcimport.engine.page.context import Job
from mcimport.engine.page.fetch import counted, less_suspect, read, unread
from mcimport.engine.page.held import depends, settled_alone
from mcimport.engine.page.result import Haul, Ready
from mcimport.errors import MissingError, RetriableError, TooSlowError
from mcimport.models import Contact, Converted, Member, NewLetter, Outcome, Page, Precision, Skipped, Unsendable, Window
from mcimport.models.timestamps import epoch
from mcimport.services.http.retry import DESK
from mcimport.services.mailchimp import windows
from mcimport.services.mailchimp.windows import Settled
from mcimport.services.ometria.client import Ometria

_CONTACT = msgspec.json.Decoder(Contact)  # before any thread begins: see `mailchimp`


def move(window: Window, job: Job, page: Page | None = None) -> Outcome:
    """Moves one page of a window and says what is left of it. `page`: was read already, and is all there is.

    Raises FatalError and InterruptedRunError; every other failure of a service is in the outcome.
    """
    began, started, before = int(time.time()), time.monotonic(), job.meter.own()
    try:
        with job.trace.window(window.number):
            outcome = _moved(window, job, page)
    finally:
        DESK.leave()
    seconds = time.monotonic() - started
    return replace(outcome, began=began, seconds=seconds, costs=job.meter.own() - before)


def _moved(window: Window, job: Job, page: Page | None) -> Outcome:
    haul = Haul(window, job)
    if page is not None:
        is_all = all(moment is None or moment <= window.until for moment in page.moments)
        return _carry(haul, list(windows.settle_whole(window, page)), None, "exactly" if is_all else "about")
    if window.only is not None and _is_empty(window):
        return _carry_missing(haul)
    try:
        settled, asked = read(window, job, haul)
    except RetriableError as error:
        return unread(haul, error)
    if settled.verdict == "crowded":
        return _carry_crowd(haul, settled, asked)
    rest = None if settled.verdict == "over" else less_suspect(settled.rest, len(settled.kept), asked)
    kept = list(settled.kept)
    del settled  # so that nobody but `kept` holds the page while its records wait for their turn
    return _carry(haul, kept, rest)


def _carry(haul: Haul, members: list[Member], rest: Window | None, precision: Precision = "exactly") -> Outcome:
    """Delivers what was read; what Ometria does not take for good becomes a letter for the page's span.

    `precision`: of their number, as one of the span's members.
    """
    window, many = haul.window, len(members)
    try:
        _deliver(haul, members)
        if rest is None and window.only is not None and not haul.seen_only:
            return _carry_missing(haul)
    except RetriableError as error:
        end = window.until if rest is None or rest.through is None else rest.through
        haul.bury(window.start, end, error, 1 if window.only is not None else haul.left_of(many), precision)
        return haul.outcome(rest, failed=True)
    return haul.outcome(rest)


def _carry_crowd(haul: Haul, settled: Settled, asked: int) -> Outcome:
    """A second larger than a page: its passes are one piece of work."""
    window, second = haul.window, settled.second
    rest = settled.rest if window.suspect else replace(settled.rest, page=asked)
    undated = [member for member in settled.kept if epoch(member.last_changed) is None]
    try:
        failure = _deliver_all(
            haul, itertools.chain([undated], haul.job.mailchimp.crowded_second(haul.job.list_key, rest, second))
        )
    except TooSlowError as error:
        if rest.page > windows.SMALLEST_PAGE:
            return haul.outcome(replace(window, page=windows.half(rest.page)))
        failure = error
    except RetriableError as error:
        failure = error
    if failure is None and second >= window.until and window.only is not None and not haul.seen_only:
        return _carry_missing(haul)
    if failure is not None:
        _bury_crowd(haul, second, failure)
    rest = less_suspect(replace(rest, through=second), haul.members, asked)
    return haul.outcome(rest, failed=failure is not None)


def _bury_crowd(haul: Haul, second: int, error: RetriableError) -> None:
    """As many of the second as Mailchimp counts, less those who were sent; else at least those who were read."""
    span = (second - 1, second)
    many = counted(haul, span)
    if many is None:
        haul.bury(*span, error, haul.left_of(haul.members), "at least")
    else:
        haul.bury(*span, error, haul.left_of(many))


def _deliver_all(haul: Haul, batches: Iterable[list[Member]]) -> RetriableError | None:
    """Delivers batch after batch; returns what kept Ometria from taking one, raises what kept one from being read."""
    for members in batches:
        try:
            _deliver(haul, members)
        except RetriableError as error:
            return error
    return None


def _carry_missing(haul: Haul) -> Outcome:
    """The one member looked for is not in that second any more: ask for them by id; only a 404 says "gone".

    Mailchimp finds nobody by web_id. Who is known by that alone has left the second by a change, which an incremental
    run carries, or is not there any more.
    """
    window, job = haul.window, haul.job
    if not is_contact_id(window.only):
        return haul.outcome(None, gone=True)
    try:
        member = job.mailchimp.member(job.list_key, window.only or "")
        if _is_left_out(window, member):
            return haul.outcome(None, gone=True)
        _deliver(haul, [member])
    except MissingError:
        return haul.outcome(None, gone=True)
    except RetriableError as error:
        haul.bury(window.since, window.until, error, 1, "exactly")
        return haul.outcome(None, failed=True)
    return haul.outcome(None)


def _is_empty(window: Window) -> bool:
    return window.since is not None and window.since >= window.until


def _is_left_out(window: Window, member: Member) -> bool:
    """Of an empty span: they have not changed since the list leaves them out (see `replaying`)."""
    changed = epoch(member.last_changed)
    return _is_empty(window) and changed is not None and changed <= window.until


def _deliver(haul: Haul, members: list[Member]) -> None:
    """Converts, encodes and pushes; empties `members`, so that a page is forgotten as its records come to be.

    Raises RetriableError when Ometria cannot be reached for good.
    """
    haul.has_sms = haul.has_sms or any(map(has_sms_status, members))
    if haul.window.only is not None:
        members[:] = [member for member in members if member_id(member) == haul.window.only]
        haul.seen_only = haul.seen_only or bool(members)
    with haul.job.aside(members) as late:
        ready = _ready(haul, members)
        ometria = haul.job.ometria
        if ometria is None:
            _note_taken(haul, [*ready, *_ready(haul, late())])
            return
        ready.sort(key=_is_open)  # who has to be looked up comes last, and keeps nobody waiting
        full = sum(not _is_open(one) for one in ready) // ometria.batch * ometria.batch
        _push(haul, ometria, ready[:full])
        last = {one.who: one for one in (*ready[full:], *_ready(haul, late()))}
        del ready
        _push(haul, ometria, _settled(haul, list(last.values())))
        _push_alone(haul, ometria)


def _ready(haul: Haul, members: list[Member]) -> list[Ready]:
    records: dict[str, Ready] = {}
    members.reverse()
    with haul.job.meter.timed("converting"):
        while members:
            haul.members += 1
            _convert(haul, members.pop(), records)
    return list(records.values())


def _is_open(one: Ready) -> bool:
    """What may be sent depends on what Ometria holds."""
    return one.contact is not None


def _settled(haul: Haul, ready: list[Ready]) -> list[Ready]:
    held, open_ = haul.job.held, [one.contact for one in ready if one.contact is not None]
    if held is None or not open_:
        return ready
    found = held.settled(open_)
    haul.note_settled(found)
    by_id = {contact.id: contact for contact in found.contacts}
    return [_closed(one, by_id) for one in ready]


def _closed(one: Ready, settled: Mapping[str, Contact]) -> Ready:
    if one.contact is None:
        return one
    contact = settled[one.contact.id]
    record = encode_contact(contact)
    assert isinstance(record, bytes)  # noqa: S101 - it fitted before, and can only have lost a field
    return msgspec.structs.replace(one, record=record, optin=contact.marketing_optin, contact=None)


def _push_alone(haul: Haul, ometria: Ometria) -> None:
    """The consent of who cannot be sent whole; they stay rejected, and their letters open."""
    if not haul.alone:
        return
    found = settled_alone(haul.alone.values(), haul.job.held)
    haul.alone.clear()
    haul.note_settled(found)
    pushed = ometria.push([msgspec.json.encode(contact) for contact in found.contacts])
    is_no = [contact.marketing_optin == "EXPLICITLY_OPTEDOUT" for contact in found.contacts]
    haul.remark("no_carried", sum(is_no[place] for place in pushed.taken))
    haul.remark("no_refused", sum(is_no[place] for place, _ in pushed.refused))
    if pushed.error:
        raise pushed.error


def _push(haul: Haul, ometria: Ometria, ready: list[Ready]) -> None:
    if not ready:
        return
    pushed = ometria.push([one.record for one in ready])
    _note_taken(haul, [ready[place] for place in pushed.taken])
    for place, reason in pushed.refused:
        is_no = ready[place].optin == "EXPLICITLY_OPTEDOUT"
        _set_aside_one(haul, ready[place].who, epoch(ready[place].changed), reason, is_no=is_no)
        _keep_consent_of_record(haul, ready[place])
    if pushed.error:
        raise pushed.error


def _convert(haul: Haul, member: Member, records: dict[str, Ready]) -> None:
    """Adds the member's record under its id, so that an id stands in a batch once, the later one."""
    converted = haul.job.convert(member, _new_since(haul, member))
    if not isinstance(converted, Converted):
        _leave_out(haul, member, converted)
        return
    contact, held = converted.contact, haul.job.held
    if contact.timestamp_unsubscribed is not None:
        contact = _undated(haul, contact, member)
    record = encode_contact(contact)
    if isinstance(record, Unsendable):
        _leave_out(haul, member, record, contact)
        return
    records[contact.id] = Ready(
        who=contact.id[len(haul.job.list_key) + 1 :],
        changed=member.last_changed,
        record=record,
        optin=contact.marketing_optin,
        is_event=contact.timestamp_subscribed is not None,
        contact=contact if held is not None and depends(contact) else None,
        lacks=_lacks(contact) if haul.job.ometria is None else (),
    )
    if haul.alone:
        haul.alone.pop(contact.id, None)
    if converted.warnings:
        haul.warnings.update(converted.warnings)
    if converted.remarks:
        haul.remarks.update(converted.remarks)
    if converted.permissions:
        haul.permissions.update(converted.permissions)


def _new_since(haul: Haul, member: Member) -> int | None:
    """Who has an open dead letter, or opted in in a span that has one, was never sent since.

    They are as new as to the run that wrote it.
    """
    new_since, job = haul.window.new_since, haul.job
    if new_since is None or not (job.watched or job.never_sent):
        return new_since
    opted = epoch(member.timestamp_opt) or epoch(member.timestamp_signup)
    spans = [
        new for since, until, new in job.never_sent if opted is not None and opted <= until and opted > (since or 0)
    ]
    return min([new_since, *spans, job.watched.get(member_id(member) or "", new_since)])


def _leave_out(haul: Haul, member: Member, why: Skipped | Unsendable, contact: Contact | None = None) -> None:
    """`contact`: what the member became, where that is too large to be sent."""
    if isinstance(why, Skipped):
        haul.skipped += 1
        return
    _set_aside_one(haul, member_id(member), epoch(member.last_changed), why.reason)
    rules = haul.job.rules
    if rules is None or haul.job.ometria is None:
        return
    alone = consent_part(contact) if contact is not None else consent_alone(member, rules)
    if alone is not None:  # of a member who cannot be sent whole, to be carried all the same
        haul.alone[alone.id] = _undated(haul, alone, member)


def _keep_consent_of_record(haul: Haul, refused: Ready) -> None:
    """Of a member whose record Ometria refuses: what it refuses may be anything but the consent."""
    contact = consent_part(_CONTACT.decode(refused.record)) if haul.job.rules is not None else None
    if contact is not None:
        haul.alone[contact.id] = contact


def _undated(haul: Haul, contact: Contact, member: Member) -> Contact:
    """Who has a dead letter, or is in one's span, was perhaps not carried before, whenever they changed."""
    held = haul.job.held
    if held is None or haul.window.letter_id is not None:
        return contact
    return held.undated(contact, epoch(member.last_changed))


def _lacks(contact: Contact) -> tuple[str, ...]:
    found = {
        "country": contact.country_id,
        "phone": contact.phone_number,
        "name": contact.firstname or contact.lastname,
    }
    return tuple(name for name, value in found.items() if value is None)


def _note_taken(haul: Haul, taken: list[Ready]) -> None:
    haul.pushed += len(taken)
    haul.consents.update(one.optin for one in taken)
    haul.events += sum(one.is_event for one in taken)
    if haul.job.watched:
        haul.delivered.extend(one.who for one in taken if one.who in haul.job.watched)
    haul.lacking.update(itertools.chain.from_iterable(one.lacks for one in taken))
    haul.draw_sample(one.who for one in taken)


def _set_aside_one(haul: Haul, who: str | None, moment: int | None, reason: str, *, is_no: bool = False) -> None:
    """A member whom Ometria will not take becomes a letter of their own."""
    haul.rejected += 1
    haul.unsendable[reason] += 1
    since = None if moment is None else moment - 1
    haul.letters.append(
        NewLetter(
            *("contact", "refusal", haul.window.sweep, since, moment, reason, who),
            is_no=is_no,
            members=1,
            precision="exactly",
        )
    )
