"""What became of the members of one page so far, and the outcome that it comes to."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from mcimport.convert import has_sms_status
from mcimport.engine.page.context import PageContext
from mcimport.models import Contact, Converted, LookUps, Member, NewDeadLetter, OptIn, Outcome, Precision, Sweep, Window
from mcimport.services.ometria.delivery import Pushed


class EncodedRecord(msgspec.Struct, gc=False):
    """Holds one member as it is sent, so that the page can be forgotten while its records wait for the rate limit.

    Attributes:
        who: the member's id, without the list.
        changed: the member's `last_changed`, as Mailchimp sent it.
        record: empty once it is handed over, for it takes most of the memory: the sender keeps it until it is answered.
        is_event: the record may start a welcome campaign.
        contact: only where the record depends on what Ometria holds.
        lacks: what the contact does not have, for the table of a dry run.
        is_unknown: the record may lift an opt-out in Ometria, where it could not be looked up.
    """

    who: str
    changed: object
    record: bytes
    optin: OptIn | None
    is_event: bool
    contact: Contact | None = None
    lacks: tuple[str, ...] = ()
    is_unknown: bool = False


@dataclass
class PageResult:
    """Collects what became of the members of one page, or of some that belong to no window.

    Attributes:
        new_since: see `Window`.
        is_replay: the page is read for a dead letter.
        events: how many records may start a welcome campaign.
        alone: the consent of members who cannot be sent whole, by the contact's id.
        unfinished: pushes that were begun; each ends with its iterator.
    """

    context: PageContext
    sweep: Sweep = "listed"
    new_since: int | None = None
    is_replay: bool = False
    members: int = 0
    skipped: int = 0
    pushed: int = 0
    rejected: int = 0
    letters: list[NewDeadLetter] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    warnings: set[str] = field(default_factory=set)
    remarks: Counter[str] = field(default_factory=Counter)
    permissions: set[str] = field(default_factory=set)
    alone: dict[str, Contact] = field(default_factory=dict)
    unfinished: deque[Generator[None]] = field(default_factory=deque)
    consents: Counter[OptIn | None] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)
    unsendable: Counter[str] = field(default_factory=Counter)
    events: int = 0
    has_sms: bool = False
    looked_up: LookUps = field(default_factory=LookUps)
    sample: list[tuple[float, str]] = field(default_factory=list)

    def outcome(
        self, window: Window | None = None, rest: Window | None = None, *, failed: bool = False, gone: bool = False
    ) -> Outcome:
        """Returns what became of the page; `rest`: what is left of the window, also one that holds nothing more."""
        return Outcome(
            window=window,
            rest=None if rest is None or is_over(rest) else rest,
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
            remarks=tuple(self.remarks.items()),
            has_sms=self.has_sms,
            permissions=tuple(sorted(self.permissions)),
            looked_up=self.looked_up,
            sample=tuple(self.sample),
        )

    def close(self) -> None:
        """Ends the pushes that were begun and are not awaited, because the page ended with an error."""
        while self.unfinished:
            self.unfinished.popleft().close()

    def note_sms(self, members: Iterable[Member]) -> None:
        """Notes whether one of these members has an SMS status."""
        self.has_sms = self.has_sms or any(map(has_sms_status, members))

    def note_conversion(self, converted: Converted) -> None:
        """Adds what the conversion of a member has to tell."""
        if converted.warnings:
            self.warnings.update(converted.warnings)
        if converted.remarks:
            self.remarks.update(converted.remarks)
        if converted.permissions:
            self.permissions.update(converted.permissions)

    def remark(self, key: str, members: int) -> None:
        """Adds a remark on so many members; `key`: one of `remarks.REMARKS`."""
        if members:
            self.remarks[key] += members

    def note_unknown(self, unknown: Sequence[bool], pushed: Pushed) -> None:
        """Adds how many of the records that Ometria accepted, or may have, may have lifted an opt-out.

        `unknown`: of each record, whether what Ometria held could not be looked up. Whoever was certainly not sent is
        looked up again by the run that sends them.
        """
        refused = {place for place, _ in pushed.refused}
        sent = set(range(len(unknown))) - refused if pushed.perhaps_taken else pushed.taken
        self.remark("consent_unknown", sum(unknown[place] for place in sent))

    def draw_sample(self, pushed: Iterable[str]) -> None:
        """Keeps a few ids of all that were pushed, each as likely as any other: those of the lowest random numbers."""
        if self.context.sample_size:
            drawn = ((random.random(), member_id) for member_id in pushed)  # noqa: S311 - nothing is kept secret by it
            self.sample = heapq.nsmallest(self.context.sample_size, [*self.sample, *drawn])

    def left_of(self, read: int) -> int:
        """Returns how many of `read` members were neither pushed nor skipped nor given a dead letter.

        Where none are left, what was not sent is the consent of those who have a dead letter.
        """
        left = read - self.pushed - self.skipped - self.rejected
        return left if left > 0 else max(1, self.rejected)

    def add_dead_letter(
        self, since: int | None, until: int, error: Exception, members: int | None, precision: Precision = "about"
    ) -> None:
        """Adds a dead letter for the span `(since, until]`.

        `members`: how many in it were not sent; None where nothing was seen of it.
        """
        reason = str(error)
        self.letters.append(
            NewDeadLetter("window", "transport", self.sweep, since, until, reason, members=members, precision=precision)
        )


def is_over(rest: Window) -> bool:
    """Says whether nothing is left of a window."""
    return rest.through is not None and rest.through >= rest.until
