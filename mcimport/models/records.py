"""Rows of the state file: frozen values; times in whole epoch seconds, UTC."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from mcimport.models import (
    Bounds,
    Cause,
    DeadLetterKind,
    Precision,
    RunKind,
    RunStatus,
    Sweep,
    Usage,
    Window,
    WindowStatus,
)
from mcimport.models.timestamps import epoch, iso

HANDFUL = 20  # members who are discarded after a yes; for more, their number has to be typed
_SPOT_CHECK_TIMES = ("at", "first_at", "last_at")


class ListRow(Struct, frozen=True):
    """Holds what is remembered of one list at one destination.

    `carried_since`: members who changed last before that were left out on purpose, until a full run imports them.
    `reconciled`: what the last comparison of both sides counted, as JSON.
    `has_sms`: a member has, or had, an SMS status. `permissions`: the texts of its marketing permissions, as JSON.
    `accepted_at`: when the run began in which Ometria first accepted a contact.
    `unchecked_at`: when it was found that the list had been synced before, until the archived were compared.
    `listed_from`, `archived_from`: from when on the sweep's responses had no members; None: from the sync point on.
    `spot_checked_at`: when a spot check was last tried; `spot_check`: the last with contacts missing, as JSON.
    """

    id: int
    client: str
    list_key: str
    collection: str
    destination: str
    sync_point: int | None
    first_sync_at: int | None
    mapping: str | None
    new_since: int | None
    carried_since: int | None
    reconciled_at: int | None
    reconciled: str | None
    has_sms: int
    permissions: str | None
    accepted_at: int | None
    unchecked_at: int | None
    listed_from: int | None
    archived_from: int | None
    spot_checked_at: int | None
    spot_check: str | None

    def shown_until(self, sweep: Sweep) -> int | None:
        """Returns the last second whose changes a response surely showed all; None: there was no such response yet."""
        shown = self.listed_from if sweep == "listed" else self.archived_from
        return self.sync_point if shown is None or self.sync_point is None else min(shown, self.sync_point)

    @property
    def imported_until(self) -> int | None:
        """Returns the earlier `shown_until` of both sweeps."""
        shown = [self.shown_until("listed"), self.shown_until("archived")]
        return min((moment for moment in shown if moment is not None), default=None)


class Run(Usage, frozen=True, kw_only=True):
    """Holds one run of one list, with what it has used.

    Attributes:
        moves_sync_point: its completion moves the list's sync point to `until`.
        warnings: texts for a person, as JSON.
        spot_check: as JSON.
    """

    id: int
    list_id: int
    client: str
    list_key: str
    kind: RunKind
    since: int | None
    until: int | None
    status: RunStatus
    members_total: int
    members_read: int
    members_skipped: int
    contacts_pushed: int
    contacts_rejected: int
    opt_ins: int
    opt_outs: int
    subscription_events: int
    windows_total: int
    windows_dead: int
    started_at: int
    finished_at: int | None
    error: str | None
    moves_sync_point: int
    warnings: str | None = None
    spot_check: str | None = None


class WindowRow(Struct, frozen=True):
    """Holds one window of a run, as the log shows it.

    Attributes:
        begun_at: when its first page was begun.
        seconds: spent on its pages; they need not follow each other at once.
        retries: of its own requests; those for single members' tags are only counted for the run.
    """

    run_id: int
    number: int
    sweep: Sweep
    offset: int
    count: int
    since: int | None
    until: int
    through: int | None
    page: int
    bounds: str
    status: WindowStatus
    attempts: int
    members: int
    pushed: int
    error: str | None
    finished_at: int | None
    letter_id: int | None
    only_member: str | None
    begun_at: int | None = None
    seconds: float = 0.0
    retries: int = 0
    waited_mailchimp: float = 0.0
    waited_ometria: float = 0.0
    waited_limiter: float = 0.0
    converting: float = 0.0
    new_since: int | None = None

    def window(self) -> Window:
        """Returns what is left of it to read."""
        learned = self.bounds.split(",")
        return Window(
            number=self.number,
            sweep=self.sweep,
            since=self.since,
            until=self.until,
            page=self.page,
            offset=self.offset,
            count=self.count,
            through=self.through,
            bounds=Bounds("since" in learned, "before" in learned),
            letter_id=self.letter_id,
            member_id=self.only_member,
            new_since=self.new_since,
        )


class DeadLetter(Struct, frozen=True):
    """One dead letter. `run_id`: the last run in which it failed; `first_run_id`: the run that wrote it.

    `members`: how many it is about, as known when it was written or failed last; None: not known. `list_members`: how
    many the list had when it was last read whole, before that.
    """

    id: int
    list_id: int
    run_id: int
    first_run_id: int
    client: str
    list_key: str
    kind: DeadLetterKind
    cause: Cause
    sweep: Sweep
    since: int | None
    until: int | None
    member_id: str | None
    reason: str
    attempts: int
    status: str
    created_at: int
    updated_at: int
    members: int | None
    precision: Precision
    list_members: int | None


class LettersOfRun(Struct, frozen=True):
    """Counts the dead letters that a run wrote, and of which the same has become since.

    `updated_at`: when it last did. `replayed_in`: the run that replayed them; None: they are open, or it is not known.
    """

    status: str
    number: int
    updated_at: int
    replayed_in: int | None


class Affected(Struct, frozen=True):
    """Says how many members some dead letters are about.

    Attributes:
        letters: how many letters; `spans` of them are about a span of time.
        members: as far as it is known; a member with several letters counts once.
        unknown: letters of which it is not known.
        list_members: how many the list had; None where that is not known, or where there are several lists.
        reasons: why, each once, the most frequent first.
    """

    letters: int = 0
    spans: int = 0
    members: int = 0
    precision: Precision = "exactly"
    unknown: int = 0
    list_members: int | None = None
    reasons: tuple[str, ...] = ()

    @property
    def is_many(self) -> bool:
        return self.unknown > 0 or self.members > HANDFUL

    @property
    def known_members(self) -> int | None:
        """Returns None where the number is not known of one of the letters."""
        return None if self.unknown else self.members


def affected(letters: Iterable[DeadLetter]) -> Affected:
    found = list(letters)
    one_each = {(letter.list_id, letter.member_id or letter.id) for letter in found if letter.kind == "contact"}
    spans = [letter for letter in found if letter.kind == "window"]
    known = [letter for letter in spans if letter.members is not None]
    precise = {letter.precision for letter in known}
    sizes = {letter.list_id: letter.list_members for letter in found}
    return Affected(
        letters=len(found),
        spans=len(spans),
        members=len(one_each) + sum(letter.members or 0 for letter in known),
        precision="about" if "about" in precise else "at least" if "at least" in precise else "exactly",
        unknown=len(spans) - len(known),
        list_members=next(iter(sizes.values())) if len(sizes) == 1 else None,
        reasons=tuple(reason for reason, _ in Counter(letter.reason for letter in found).most_common()),
    )


class Origin(Struct, frozen=True):
    """Holds what a dead letter's first run says of the members whom a replay may import, and send events for.

    Attributes:
        new_since: from when on an opt-in was new to it; None: an earlier version did not write that down.
        sync_point: the list's when it began, as far as the log goes back.
    """

    kind: RunKind
    since: int | None
    until: int | None
    new_since: int | None
    sync_point: int | None


class SampledContact(Struct, frozen=True):
    """A contact that was pushed, by the member's id (without the list), and when, in epoch seconds."""

    member_id: str
    pushed_at: int


class SpotCheck(Struct, frozen=True):
    """Says whether Ometria has a few of the contacts that it accepted. Times in epoch seconds, UTC.

    Attributes:
        at: when that was checked.
        accepted: how many were looked up; the first and the last of them were pushed at `first_at` and `last_at`.
        missing: how many of them Ometria does not have; None where that cannot be told, and `reason` says why.
    """

    at: int
    accepted: int
    first_at: int
    last_at: int
    missing: int | None = None
    reason: str = ""

    @classmethod
    def read(cls, text: str | None) -> SpotCheck | None:
        """Reads a column of the state file; None where there was no check."""
        if text is None:
            return None
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, **{name: epoch(values[name]) for name in _SPOT_CHECK_TIMES}})

    @property
    def document(self) -> dict[str, Any]:
        """Returns it for JSON, with times as ISO 8601 in UTC."""
        return {**asdict(self), **{name: iso(getattr(self, name)) for name in _SPOT_CHECK_TIMES}}

    @property
    def text(self) -> str:
        """Returns what `read` reads."""
        return json.dumps(self.document)
