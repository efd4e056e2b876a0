"""Results of a command for one list: frozen values; times in whole epoch seconds, UTC."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from mcimport.errors import McimportError
from mcimport.models import Sweep
from mcimport.models.records import Affected, Run, SpotCheck


class Difference(Struct, frozen=True):
    """How many contacts or members differ in one way, and a few of their ids (of ours without the list)."""

    count: int = 0
    ids: tuple[str, ...] = ()


class DifferingId(Struct, frozen=True):
    """Names one member or contact that differs, by their id without the list.

    Attributes:
        kind: "missing", "stale", "gone", "said_no", or "unclear" for one that could not be looked at again.
        fields: which fields a mend would change of a stale one, or with --opt-in of one opted out; else empty.
    """

    kind: str
    id: str
    fields: tuple[str, ...] = ()


class Unread(Struct, frozen=True):
    """Names a span `(since, until]` of one sweep that a comparison could not read, and why."""

    sweep: Sweep
    since: int | None
    until: int | None
    reason: str


class Comparison(Struct, frozen=True):
    """Holds what the comparison of a list's members with Ometria's contacts found.

    Attributes:
        missing: on the list, not in Ometria.
        stale: in Ometria, but other than they would be pushed; `fields` counts in which fields.
        gone: opted in in Ometria, deleted from Mailchimp.
        stale_consents: of the stale, how many differ in a consent.
        said_no: subscribed in Mailchimp, opted out in Ometria: an opt-out that stays.
        foreign: in the collection, but not under an id of mcimport.
        agree: members whom Ometria has as they would be pushed.
        later: members who differ, and changed after the sync point: the next sync's.
        left_out: members not in Ometria, and left out on purpose when the list was begun with `--since`.
        on_record: members not in Ometria, for whom a dead letter says why.
        unsendable: members of whom only the consent is compared.
        departed: deleted from Mailchimp, and not opted in in Ometria: as it should be.
        unclear: differences that could not be looked at again.
        held: contacts of this list in Ometria, whatever their consent.
        is_opting_in: members who are opted out in Ometria are opted in again, for that was asked for by name.
        mended: how many of the members to fix were seen in Ometria as they should be, after the pushes.
        not_taken: members who were pushed, but are not as pushed: refused, or not seen so in Ometria for long.
        refusal: why nothing was fixed though that was requested.
        unread: what could not be read of the list; nothing is said of the members there.
        every_id: all who differed, before anything was fixed; None: they were not asked for.
    """

    missing: Difference = Difference()
    stale: Difference = Difference()
    gone: Difference = Difference()
    said_no: Difference = Difference()
    stale_consents: int = 0
    foreign: Difference = Difference()
    fields: Mapping[str, int] = field(default_factory=dict)
    agree: int = 0
    later: int = 0
    left_out: int = 0
    on_record: int = 0
    unsendable: int = 0
    departed: int = 0
    unclear: int = 0
    held: int = 0
    is_opting_in: bool = False
    mended: int = 0
    not_taken: Difference = Difference()
    refusal: str = ""
    unread: tuple[Unread, ...] = ()
    every_id: tuple[DifferingId, ...] | None = None

    @property
    def differing(self) -> int:
        """Counts the members and contacts that should agree and do not."""
        said_no = self.said_no.count if self.is_opting_in else 0
        return self.missing.count + self.stale.count + self.gone.count + said_no

    @property
    def consents(self) -> int:
        """Counts those of them whose consent to e-mails or text messages would change, in whichever direction."""
        return self.stale_consents + (self.said_no.count if self.is_opting_in else 0)

    @property
    def left(self) -> int:
        """Counts those that still differ, or may, after what was fixed; each unread span counts as one."""
        return self.differing - self.mended + self.unclear + len(self.unread)

    @property
    def is_only_unread(self) -> bool:
        """Says whether all agree as far as the list could be read, but a part could not."""
        return bool(self.unread) and self.differing == self.mended


class Permissions(Struct, frozen=True):
    """Holds what is known of a list's marketing permissions (GDPR fields).

    Attributes:
        texts: as the list's owner words them.
        names: those that count, as configured, for a person; empty: none counts.
        lacking: subscribed members who have not given one that counts.
        looked_at: how many subscribed members that was counted among; None: those who were read.
        subscribed: how many there are.
    """

    texts: tuple[str, ...]
    names: str
    lacking: int
    looked_at: int | None = None
    subscribed: int | None = None


class RunCounts(Struct, frozen=True):
    """Holds the counts of runs of one list, named as those of a run."""

    members_total: int = 0
    members_read: int = 0
    members_skipped: int = 0
    contacts_pushed: int = 0
    contacts_rejected: int = 0
    opt_ins: int = 0
    opt_outs: int = 0
    subscription_events: int = 0
    windows_total: int = 0
    windows_dead: int = 0


class ListResult(Struct, frozen=True):
    """Holds what one command did for one list.

    Attributes:
        status: "completed", "skipped" (another process is running for the client), "interrupted" or "failed".
        runs: the finished runs, in order: a resumed one first. Empty when it ended before there was one.
        earlier: what an earlier call had done of the first of them, which was resumed; its totals are what was done.
        windows_done: how many windows this call processed.
        dead_letters: how many these runs wrote, or failed again in them; `affected`: the members they are about.
        error: why it did not complete; None when it did.
        ceiling: contacts a second that the client's Ometria account takes at most.
        warnings: texts for a person, each once.
        news: those of them that none of the list's latest runs had, whatever the numbers in them.
        lacking: of a dry run's contacts, how many have no country, phone, name.
        unsendable: how many members could not be pushed, by reason, the most frequent first.
        permissions: the list's marketing permissions, in a dry run; None where it has none.
        comparison: what `reconcile` found; None for other commands, and where it failed before.
        spot_check: what the check of some contacts pushed earlier found; None where there was none.
        hints: Ometria's latest validation errors, when something was rejected: of all writers, of no one in particular.
    """

    client: str
    list_key: str
    status: str
    runs: tuple[Run, ...] = ()
    earlier: RunCounts = field(default_factory=RunCounts)
    windows_done: int = 0
    dead_letters: int = 0
    affected: Affected = field(default_factory=Affected)
    seconds: float = 0.0
    error: McimportError | None = None
    ceiling: float = 0.0
    dry_run: bool = False
    warnings: tuple[str, ...] = ()
    news: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    lacking: Mapping[str, int] = field(default_factory=dict)
    unsendable: Mapping[str, int] = field(default_factory=dict)
    permissions: Permissions | None = None
    comparison: Comparison | None = None
    spot_check: SpotCheck | None = None
