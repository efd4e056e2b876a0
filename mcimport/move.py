"""One page of a window: fetch, convert, push; frozen values in, an `Outcome` out, no state: any engine can run it.

A page that cannot be read for good is narrowed over the next pieces of work: half of it is asked for without waiting,
then half of what is left under suspicion, until what can be read went through and the smallest span that cannot is
named in a dead letter. Rejections of single records become letters of their own; everything else goes on.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import msgspec

from mcimport import windows
from mcimport.convert import encode_contact, is_contact_id, member_id
from mcimport.costs import Meter
from mcimport.errors import MissingError, RetriableError, TooSlowError, UnreachableError
from mcimport.limits import DESK
from mcimport.mailchimp import Mailchimp, NobodyError
from mcimport.models import (
    Contact,
    Conversion,
    Converted,
    Member,
    NewLetter,
    OptIn,
    Outcome,
    Page,
    Skipped,
    Unsendable,
    Window,
)
from mcimport.ometria import Ometria
from mcimport.times import epoch
from mcimport.trace import Trace
from mcimport.windows import Settled

MOST_DOUBTS = 5  # times that a page short of its own count is looked at again


@dataclass(frozen=True)
class Job:
    """What all windows of one run share; safe to use from many threads.

    Attributes:
        ometria: None in a dry run: everything happens but the push.
        convert: reads the list's fields when it is first called, so it may raise what Mailchimp raises.
        aside: takes out of a page's members those who must be asked about, and gives them back, complete, when it is
            called.
        watched: ids of members (without the list) who have an open dead letter.
        meter: what the client's requests cost.
        trace: where they belong.
    """

    list_key: str
    mailchimp: Mailchimp
    ometria: Ometria | None
    convert: Callable[[Member], Conversion]
    aside: Callable[[list[Member]], AbstractContextManager[Callable[[], list[Member]]]]
    watched: frozenset[str] = frozenset()
    meter: Meter = field(default_factory=Meter)
    trace: Trace = field(default_factory=lambda: Trace(""))


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
    haul = _Haul(window, job)
    if page is not None:
        return _carry(haul, list(windows.settle_whole(window, page)), None)
    try:
        settled, asked = _read(window, job, haul)
    except RetriableError as error:
        return _unread(haul, error)
    if settled.verdict == "crowded":
        return _carry_crowd(haul, settled, asked)
    rest = None if settled.verdict == "over" else _less_suspect(settled.rest, len(settled.kept), asked)
    kept = list(settled.kept)
    del settled  # so that nobody but `kept` holds the page while its records wait for their turn
    return _carry(haul, kept, rest)


class _Ready(msgspec.Struct, frozen=True, gc=False):
    """One member, ready to be sent, without the member: a page is forgotten while its records wait for their turn.

    Attributes:
        who: the member's id of ours, without the list.
        changed: the member's `last_changed`, as it came.
        is_event: the record may start a welcome campaign.
        lacks: what the contact does not have, for the table of a dry run.
    """

    who: str
    changed: object
    record: bytes
    optin: OptIn
    is_event: bool
    lacks: tuple[str, ...] = ()


@dataclass
class _Haul:
    """What one piece of work has carried so far."""

    window: Window
    job: Job
    members: int = 0
    skipped: int = 0
    pushed: int = 0
    rejected: int = 0
    letters: list[NewLetter] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    warnings: set[str] = field(default_factory=set)
    consents: Counter[str] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)
    unsendable: Counter[str] = field(default_factory=Counter)
    events: int = 0
    seen_only: bool = False

    def outcome(self, rest: Window | None, *, failed: bool = False, gone: bool = False) -> Outcome:
        over = rest is not None and rest.through is not None and rest.through >= rest.until
        return Outcome(
            window=self.window,
            rest=None if over else rest,
            members=self.members,
            skipped=self.skipped,
            pushed=self.pushed,
            rejected=self.rejected,
            optins=self.consents["EXPLICITLY_OPTEDIN"],
            optouts=self.consents["EXPLICITLY_OPTEDOUT"],
            events=self.events,
            lacking=tuple(self.lacking.items()),
            unsendable=tuple(self.unsendable.items()),
            letters=tuple(self.letters),
            delivered=tuple(self.delivered),
            gone=gone,
            failed=failed and not self.pushed,
            warnings=tuple(sorted(self.warnings)),
        )

    def bury(self, since: int | None, until: int, error: Exception) -> None:
        self.letters.append(NewLetter("window", "transport", self.window.sweep, since, until, str(error)))


# ---- reading


def _read(window: Window, job: Job, haul: _Haul) -> tuple[Settled, int]:
    """The next page, believed only as far as it should be, and how many members were asked for."""
    window, page, asked = _fetch(window, job)
    settled = windows.settle(window, page, asked)
    for _ in range(MOST_DOUBTS):
        if settled.verdict != "short":
            break
        page, asked = job.mailchimp.doubted(job.list_key, window, page, asked)
        haul.warnings.add("Mailchimp's counts and its members differ")
        settled = windows.settle(window, page, asked)
    if settled.verdict == "short":
        raise RetriableError("Mailchimp's pages and their counts do not come to rest")
    if settled.verdict == "crowded" and window.suspect:
        settled = _perhaps_whole(window, job, settled, asked)
    return settled, asked


def _perhaps_whole(window: Window, job: Job, settled: Settled, asked: int) -> Settled:
    """While narrowing, a second that fills a tiny page may be whole on it: seen by who stands behind it.

    The wide pages of a crowd would only meet the broken member again. The page is read once more after the look
    behind it: members slide to lower offsets alone, so whoever stood on it then does so still. Whoever is dated after
    the window changed while the answer was written, and says nothing.
    """
    try:
        following = job.mailchimp.look_up(job.list_key, window, asked, quick=True)
        if following is not None and not settled.second < following <= window.until:
            return settled
        page = job.mailchimp.next_page(job.list_key, window, asked, quick=True)
    except RetriableError:
        return settled
    if len(page.members) < min(asked, page.total):
        return settled
    kept = windows.up_to(window, page, settled.second)
    return Settled("more", kept, replace(settled.rest, through=settled.second))


def _fetch(window: Window, job: Job) -> tuple[Window, Page, int]:
    """A page of the size that works: a page that is too slow is asked for at half its size, down to 50."""
    if window.suspect:
        size = max(1, window.suspect // 2)
        return window, job.mailchimp.next_page(job.list_key, window, size, quick=True), size
    while True:
        try:
            return window, job.mailchimp.next_page(job.list_key, window, window.page), window.page
        except TooSlowError:
            if window.page <= windows.SMALLEST_PAGE:
                raise
            window = replace(window, page=windows.half(window.page))


def _less_suspect(rest: Window, kept: int, asked: int) -> Window:
    """Half of a suspected page was readable: the cause, if it is still there, is among the others."""
    if not rest.suspect:
        return rest
    return replace(rest, suspect=0 if asked >= rest.suspect else max(1, rest.suspect - kept))


def _unread(haul: _Haul, error: RetriableError) -> Outcome:
    """A page that could not be read: suspect the first half of it, or, once that is one member, set it aside."""
    window = haul.window
    if isinstance(error, UnreachableError | NobodyError):
        haul.bury(window.start, window.until, error)
        return haul.outcome(None, failed=True)
    asked = max(1, window.suspect // 2) if window.suspect else window.page
    if isinstance(error, TooSlowError):
        return _set_aside(haul, min(asked, windows.SMALLEST_PAGE), error)
    if window.suspect == 1:
        return _set_aside(haul, 1, error)
    return haul.outcome(replace(window, suspect=asked))


def _set_aside(haul: _Haul, rows: int, error: RetriableError) -> Outcome:
    """Names the smallest span that holds the window's first `rows` members, and goes on behind it."""
    span = _smallest_span(haul.window, haul.job, rows)
    if span is None:
        return haul.outcome(None)
    haul.bury(*span, error)
    return haul.outcome(replace(haul.window, through=span[1], suspect=0), failed=True)


def _smallest_span(window: Window, job: Job, rows: int) -> tuple[int | None, int] | None:
    """Where the window's first `rows` members lie, as far as tiny requests without a second try can tell.

    None: there is nobody any more.
    """
    start, until = window.start, window.until
    if rows == 1:
        with contextlib.suppress(RetriableError):
            first = job.mailchimp.look_up(job.list_key, window, 0, quick=True)
            if first is None:
                return None
            # Dated after the window: they changed while the answer was written, and say nothing of those behind them.
            if first <= until and (start is None or first > start):
                return first - 1, first
    try:
        following = job.mailchimp.look_up(job.list_key, window, rows, quick=True)
    except RetriableError:
        following = None
    if following is None:
        return start, until
    end = following - 1 if start is None else max(following - 1, start + 1)
    return start, min(end, until)


# ---- carrying


def _carry(haul: _Haul, members: list[Member], rest: Window | None) -> Outcome:
    """Delivers what was read; what Ometria does not take for good becomes a letter for the page's span."""
    window = haul.window
    try:
        _deliver(haul, members)
        if rest is None and window.only is not None and not haul.seen_only:
            return _carry_missing(haul)
    except RetriableError as error:
        end = window.until if rest is None or rest.through is None else rest.through
        haul.bury(window.start, end, error)
        return haul.outcome(rest, failed=True)
    return haul.outcome(rest)


def _carry_crowd(haul: _Haul, settled: Settled, asked: int) -> Outcome:
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
        haul.bury(second - 1, second, failure)
    rest = _less_suspect(replace(rest, through=second), haul.members, asked)
    return haul.outcome(rest, failed=failure is not None)


def _deliver_all(haul: _Haul, batches: Iterable[list[Member]]) -> RetriableError | None:
    """Delivers batch after batch; returns what kept Ometria from taking one, raises what kept one from being read."""
    for members in batches:
        try:
            _deliver(haul, members)
        except RetriableError as error:
            return error
    return None


def _carry_missing(haul: _Haul) -> Outcome:
    """The one member looked for is not in that second any more: ask for them by id; only a 404 says "gone".

    Mailchimp finds nobody by web_id. Who is known by that alone has left the second by a change, which an incremental
    run carries, or is not there any more.
    """
    window, job = haul.window, haul.job
    if not is_contact_id(window.only):
        return haul.outcome(None, gone=True)
    try:
        _deliver(haul, [job.mailchimp.member(job.list_key, window.only or "")])
    except MissingError:
        return haul.outcome(None, gone=True)
    except RetriableError as error:
        haul.bury(window.since, window.until, error)
        return haul.outcome(None, failed=True)
    return haul.outcome(None)


def _deliver(haul: _Haul, members: list[Member]) -> None:
    """Converts, encodes and pushes; empties `members`, so that a page is forgotten as its records come to be.

    Raises RetriableError when Ometria cannot be reached for good.
    """
    if haul.window.only is not None:
        members[:] = [member for member in members if member_id(member) == haul.window.only]
        haul.seen_only = haul.seen_only or bool(members)
    with haul.job.aside(members) as late:
        ready = _ready(haul, members)
        ometria = haul.job.ometria
        if ometria is None:
            _note_taken(haul, [*ready, *_ready(haul, late())])
            return
        full = len(ready) // ometria.batch * ometria.batch
        _push(haul, ometria, ready[:full])
        last = {one.who: one for one in (*ready[full:], *_ready(haul, late()))}
        _push(haul, ometria, list(last.values()))


def _ready(haul: _Haul, members: list[Member]) -> list[_Ready]:
    records: dict[str, _Ready] = {}
    members.reverse()
    with haul.job.meter.timed("converting"):
        while members:
            haul.members += 1
            _convert(haul, members.pop(), records)
    return list(records.values())


def _push(haul: _Haul, ometria: Ometria, ready: list[_Ready]) -> None:
    if not ready:
        return
    pushed = ometria.push([one.record for one in ready])
    _note_taken(haul, [ready[place] for place in pushed.taken])
    for place, reason in pushed.refused:
        _set_aside_one(haul, ready[place].who, epoch(ready[place].changed), reason)
    if pushed.error:
        raise pushed.error


def _convert(haul: _Haul, member: Member, records: dict[str, _Ready]) -> None:
    """Adds the member's record under its id, so that an id stands in a batch once, the later one."""
    converted = haul.job.convert(member)
    if not isinstance(converted, Converted):
        _leave_out(haul, member, converted)
        return
    contact = converted.contact
    record = encode_contact(contact)
    if isinstance(record, Unsendable):
        _leave_out(haul, member, record)
        return
    records[contact.id] = _Ready(
        who=contact.id[len(haul.job.list_key) + 1 :],
        changed=member.last_changed,
        record=record,
        optin=contact.marketing_optin,
        is_event=contact.timestamp_subscribed is not None,
        lacks=_lacks(contact) if haul.job.ometria is None else (),
    )
    if converted.warnings:
        haul.warnings.update(converted.warnings)


def _leave_out(haul: _Haul, member: Member, why: Skipped | Unsendable) -> None:
    if isinstance(why, Skipped):
        haul.skipped += 1
    else:
        _set_aside_one(haul, member_id(member), epoch(member.last_changed), why.reason)


def _lacks(contact: Contact) -> tuple[str, ...]:
    found = {
        "country": contact.country_id,
        "phone": contact.phone_number,
        "name": contact.firstname or contact.lastname,
    }
    return tuple(name for name, value in found.items() if value is None)


def _note_taken(haul: _Haul, taken: list[_Ready]) -> None:
    haul.pushed += len(taken)
    haul.consents.update(one.optin for one in taken)
    haul.events += sum(one.is_event for one in taken)
    if haul.job.watched:
        haul.delivered.extend(one.who for one in taken if one.who in haul.job.watched)
    haul.lacking.update(itertools.chain.from_iterable(one.lacks for one in taken))


def _set_aside_one(haul: _Haul, who: str | None, moment: int | None, reason: str) -> None:
    """A member whom Ometria will not take becomes a letter of their own."""
    haul.rejected += 1
    haul.unsendable[reason] += 1
    since = None if moment is None else moment - 1
    haul.letters.append(NewLetter("contact", "refusal", haul.window.sweep, since, moment, reason, member_id=who))
