"""What was done for a client in a period: frozen sums; times in whole epoch seconds, UTC."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import astuple


class RunSums(Struct, frozen=True):
    """Holds sums over runs, named as those of a run.

    Attributes:
        runs: how many runs; `runs_failed` of them failed.
        members_compared: those of `members_read` that were read by comparisons of both sides.
    """

    runs: int = 0
    runs_failed: int = 0
    members_compared: int = 0
    members_read: int = 0
    members_skipped: int = 0
    contacts_pushed: int = 0
    contacts_rejected: int = 0
    opt_ins: int = 0
    opt_outs: int = 0
    subscription_events: int = 0

    def __add__(self, other: RunSums) -> RunSums:
        return RunSums(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class ListActivity(Struct, frozen=True):
    """Holds what was done for one list in a period, and where it stands now.

    Attributes:
        letters_opened: dead letters that were written in the period.
        letters_open: dead letters that are open now, whenever they were written.
        synced_at: when a sync of the list last completed; None: none ever did.
        compared_at, compared: when both sides were last compared, and the counts of that; None and empty: never.
    """

    list_key: str
    sums: RunSums = RunSums()
    letters_opened: int = 0
    letters_open: int = 0
    synced_at: int | None = None
    compared_at: int | None = None
    compared: Mapping[str, int] = field(default_factory=dict)


class ClientActivity(Struct, frozen=True):
    """Holds what was done for a client in a period, which includes both its ends; a run counts where it began.

    Attributes:
        days: contacts pushed by day in UTC (`2026-11-24`), without a gap from the first day to the last.
        whole_since: of runs that began before that, the log may not hold all any more; None: it holds all.
    """

    client: str
    since: int
    until: int
    lists: tuple[ListActivity, ...]
    days: Mapping[str, int]
    whole_since: int | None = None

    @property
    def sums(self) -> RunSums:
        return sum((one.sums for one in self.lists), RunSums())

    @property
    def letters_opened(self) -> int:
        return sum(one.letters_opened for one in self.lists)

    @property
    def letters_open(self) -> int:
        return sum(one.letters_open for one in self.lists)
