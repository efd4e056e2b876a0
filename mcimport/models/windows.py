"""Windows of a list, their pages, and the outcomes of these: frozen values.

Times are whole seconds since the epoch, UTC, unless a name says otherwise: that is Mailchimp's resolution.
A span of time is `(since, until]`: after `since` (None: from the beginning), up to and including `until`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from mcimport.models.contacts import Member
from mcimport.models.timestamps import epoch

Sweep = Literal["listed", "archived"]
SWEEPS: tuple[Sweep, ...] = ("listed", "archived")
RunKind = Literal["full", "incremental", "replay", "reconcile"]
RunStatus = Literal["running", "completed", "interrupted", "failed", "abandoned"]
WindowStatus = Literal["pending", "done", "dead"]
DeadLetterKind = Literal["window", "contact"]
Cause = Literal["transport", "refusal"]
Precision = Literal["exactly", "about", "at least"]


class Bounds(Struct, frozen=True):
    """Says which of Mailchimp's bounds were seen to include the second they name: `since_last_changed` and its like.

    False: not seen yet, so that a second more is requested.
    """

    since_includes: bool = False
    before_includes: bool = False

    def __or__(self, other: Bounds) -> Bounds:
        return Bounds(self.since_includes or other.since_includes, self.before_includes or other.before_includes)


NO_NUMBER = -1


class Window(Struct, frozen=True):
    """A span `(since, until]` of one sweep to read: it means the same now and in a year.

    Attributes:
        number: its place in the run, from 0; `NO_NUMBER`: it is read beside the run's own windows.
        sweep: the members on the list, or the archived.
        offset, count: where it was cut and about how many members it had then; for readers of the log.
        through: the members of `(since, through]` are done: pushed, skipped or dead letters.
        page: how many members are requested at once.
        suspect_count: a page failed, and its cause is among the next so many members; 0: none failed.
        bounds: what was learned of the API's bounds.
        letter_id: the dead letter that this window replays.
        member_id: only this member is imported (mcimport's id, without the list).
        new_since: of its members only those who opted in at this second or later are new; None: as in the whole run.
    """

    number: int
    sweep: Sweep
    since: int | None
    until: int
    page: int = 1000
    suspect_count: int = 0
    offset: int = 0
    count: int = 0
    through: int | None = None
    bounds: Bounds = Bounds()
    letter_id: int | None = None
    member_id: str | None = None
    new_since: int | None = None

    @property
    def start(self) -> int | None:
        """Returns the second after which its members are still to be read."""
        return self.since if self.through is None else self.through

    @property
    def is_by_id(self) -> bool:
        """Says whether its member is requested by id at once: see `by_id`."""
        return self.member_id is not None and self.since is not None and self.until <= max(self.since, 0)

    def by_id(self, left_out_until: int | None = None) -> Window:
        """Returns the window with a span that holds no member, so that its one member is asked for by id.

        State files and messages know it by the span alone: `(-1, 0]`, before any list's first change, or `(n, n]` where
        a member who has not changed after the second `n` (`left_out_until`) is left out.
        """
        since, until = (-1, 0) if left_out_until is None else (left_out_until, left_out_until)
        return replace(self, since=since, until=until)


class Page(Struct, frozen=True):
    """Holds one response of Mailchimp: members, how many the filter matches, and the server's clock.

    Attributes:
        asked: how many members were requested.
        settled: the last second that was surely over, by the server's clock, when the page was requested.
        at_most: the server's second, at the latest, when the page was requested: a later opt-in is new.
        is_probe: it has the number of members alone: the first page could not be read.
        clock_warning: how the clocks differ; empty where they do not.
        moments: the members' `last_changed`, one by one, in epoch seconds; None where that is no time.
    """

    members: tuple[Member, ...]
    total: int
    asked: int = 0
    settled: int = 0
    at_most: int = 0
    clock_warning: str = ""
    is_probe: bool = False
    moments: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        # Computed once: all decisions about a page depend on these.
        force_setattr(self, "moments", tuple(epoch(member.last_changed) for member in self.members))


CANNOT = "cannot be converted"
"""How the reason begins of a dead letter that a mistake of mcimport caused: an upgrade may fix it."""

UnsentSpan = tuple[int | None, int, int]
"""A span `(since, until]` that was not pushed, and the second from which on an opt-in in it is new."""


class NewDeadLetter(Struct, frozen=True):
    """A dead letter to write: a span that could not be read, or a member who could not be pushed.

    `is_no`: an opt-out was refused, which is tried again first. `members`: how many it is about; None: not known.
    """

    kind: DeadLetterKind
    cause: Cause
    sweep: Sweep
    since: int | None
    until: int | None
    reason: str
    member_id: str | None = None
    is_no: bool = False
    members: int | None = None
    precision: Precision = "about"


class Usage(Struct, frozen=True):
    """Counts requests by service, and seconds by what they were spent on, summed over threads.

    Retries are among the requests; throttled is a response that said "too many" or "queue full". A wait for a service
    includes that for a free connection and between two tries; `waited_limiter`: for permits of the rate limiter.
    """

    mailchimp_requests: int = 0
    mailchimp_retries: int = 0
    mailchimp_throttled: int = 0
    ometria_requests: int = 0
    ometria_retries: int = 0
    ometria_throttled: int = 0
    waited_mailchimp: float = 0.0
    waited_ometria: float = 0.0
    waited_limiter: float = 0.0
    converting: float = 0.0

    def __sub__(self, before: Usage) -> Usage:
        return Usage(*(getattr(self, name) - getattr(before, name) for name in self.__struct_fields__))


class LookUps(Struct, frozen=True):
    """Counts look-ups in Ometria: `consents` for an opt-out that must not be lifted, `dates` for one's date to keep."""

    consents: int = 0
    dates: int = 0

    def __add__(self, more: LookUps) -> LookUps:
        return LookUps(self.consents + more.consents, self.dates + more.dates)

    def less(self, used: LookUps) -> LookUps:
        """Returns what is left; never less than 0."""
        return LookUps(max(0, self.consents - used.consents), max(0, self.dates - used.dates))


Sample = tuple[tuple[float, str], ...]
"""A few of the members who were pushed: a random number (the lowest are kept), and the id without the list."""


class Outcome(Struct, frozen=True):
    """Says what became of one page of a window. The thread that owns the state file records it.

    Attributes:
        window: the window before this page, with the bounds that the page has shown; None for members who were pushed
            one by one.
        rest: what is left of the window; None when it is over.
        delivered: ids of members with an open dead letter who were pushed this time.
        gone: the one member whom this window seeks does not exist any more.
        lacking: of a dry run's contacts, how many have no country, phone, name: pairs of a word and a number.
        unsendable: how many members could not be pushed: pairs of a reason and a number.
        failed: the page could not be processed; many in a row tell that a service is down.
        warnings: texts, each of which is shown once a run.
        remarks: on how many members a remark was made: pairs of a key of `remarks.REMARKS` and a number.
        permissions: the texts of the marketing permissions that the members have, given or not.
        sample: a few of the members who were pushed, by chance, for a spot check.
        began: when the work on this page began; epoch seconds, UTC.
        costs: what requests and waits it took, in the thread that did it.
    """

    window: Window | None = None
    rest: Window | None = None
    members: int = 0
    skipped: int = 0
    pushed: int = 0
    rejected: int = 0
    optins: int = 0
    optouts: int = 0
    events: int = 0
    lacking: tuple[tuple[str, int], ...] = ()
    unsendable: tuple[tuple[str, int], ...] = ()
    letters: tuple[NewDeadLetter, ...] = ()
    delivered: tuple[str, ...] = ()
    gone: bool = False
    failed: bool = False
    warnings: tuple[str, ...] = ()
    remarks: tuple[tuple[str, int], ...] = ()
    has_sms: bool = False
    permissions: tuple[str, ...] = ()
    looked_up: LookUps = LookUps()
    sample: Sample = ()
    began: int = 0
    seconds: float = 0.0
    costs: Usage = Usage()

    @property
    def letter_id(self) -> int | None:
        return None if self.window is None else self.window.letter_id

    @property
    def member_id(self) -> str | None:
        return None if self.window is None else self.window.member_id
